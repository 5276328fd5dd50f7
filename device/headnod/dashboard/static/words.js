// Text for times, probabilities and states.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

const dayYearAndClock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

const STATES = {
  starting: "starting",
  waiting_for_microphone: "waiting for its microphone",
  listening: "listening",
  deaf: "microphone muted",
  clipping: "microphone overdriven",
  behind: "too slow, sound is lost",
  stopping: "stopping",
};

/** A state of the listener in words. */
export function stateInWords(state) {
  return STATES[state] ?? state.replaceAll("_", " ");
}

/** A genre in words. */
export function genreInWords(label) {
  return label === "unknown" ? "not sure" : label;
}

/** A time of day, with its date if that is not today, and the year if that is another one. */
export function at(seconds, now) {
  const then = new Date(seconds * 1000);
  const present = new Date(now * 1000);
  if (then.toDateString() === present.toDateString()) return clock.format(then);
  return (then.getFullYear() === present.getFullYear() ? dayAndClock : dayYearAndClock).format(then);
}

const date = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const dateAndYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

const hourOnly = new Intl.DateTimeFormat(undefined, { hour: "numeric" });

/** An hour of the day, as an axis shows it. */
export function hourOf(seconds) {
  return hourOnly.format(new Date(seconds * 1000));
}

/** A date, short or with its year. */
export function on(seconds, { long = false } = {}) {
  return (long ? dateAndYear : date).format(new Date(seconds * 1000));
}

/** A length in minutes and seconds, or hours and minutes. */
export function length(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
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

/** A level in dBFS. */
export function level(decibels) {
  return `${Math.round(decibels)} dBFS`.replace("-", "\u2212");
}

/** A number of things, in the singular or the plural. */
export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** A date as the history names it: 2026-11-27. */
export function dateOf(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
