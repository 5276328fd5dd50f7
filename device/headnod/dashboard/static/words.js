// Text for times, probabilities and states.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

const STATES = {
  starting: "starting",
  waiting_for_microphone: "waiting for its microphone",
  listening: "listening",
  deaf: "microphone muted",
  clipping: "microphone overdriven",
  behind: "too slow, sound is lost",
  stopping: "stopping",
};

const HELD = {
  not_music: "recognised as speech or another sound that is not music",
  threshold: "no genre is probable enough",
  lead: "another genre is more probable, but not by enough",
};

/** Why the most probable genre is not named. */
export function heldInWords(held) {
  return HELD[held] ?? "";
}

/** A state of the listener in words. */
export function stateInWords(state) {
  return STATES[state] ?? state.replaceAll("_", " ");
}

/** A genre in words. */
export function genreInWords(label) {
  return label === "unknown" ? "not sure" : label;
}

/** A time of day, with its date if that is not today. */
export function at(seconds, now) {
  const then = new Date(seconds * 1000);
  const today = then.toDateString() === new Date(now * 1000).toDateString();
  return (today ? clock : dayAndClock).format(then);
}

/** A duration in its two largest units. */
export function lasting(seconds) {
  const minutes = Math.floor(Math.max(0, seconds) / 60);
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** A share in percent. */
export function percent(share) {
  return `${Math.round(100 * share)}\u202f%`;
}

/** A number of things, in the singular or the plural. */
export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
