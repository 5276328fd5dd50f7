// The timeline of one listener as CSS backgrounds: gradients with hard edges, because a canvas or an element for each
// run would be a layer to compose in each frame.

import { HOURS } from "./listener.js";

const SPAN = HOURS * 3600;
const SILENCE = 0;
const UNKNOWN = 1;

/** Backgrounds of a timeline, the uppermost first: genres, unknown (half as tall) and silence (a line). */
export function backgrounds(listener, now) {
  const first = now - SPAN;
  const stops = { genres: [], unknown: [], silence: [] };
  for (const [start, end, genre] of listener.runs) {
    if (end <= first) continue;
    const from = place(start - first);
    const to = place(end - first);
    const kind = genre === SILENCE ? "silence" : genre === UNKNOWN ? "unknown" : "genres";
    const colour = genre === SILENCE ? "var(--silence)" : listener.colour(genre);
    stops[kind].push(`transparent ${from}%`, `${colour} ${from}% ${to}%`, `transparent ${to}%`);
  }
  return Object.values(stops).map((stop) => (stop.length ? `linear-gradient(90deg, ${stop.join(", ")})` : "none"));
}

/** The run under a place of the timeline (0 its left end, 1 its right), or undefined. */
export function runAt(listener, place, now) {
  const time = now - SPAN + place * SPAN;
  return listener.runs.find(([start, end]) => start <= time && time < end);
}

// Rounded to less than a pixel, because an unchanged text is not painted again.
function place(seconds) {
  return Math.max(0, Math.round((2000 * seconds) / SPAN) / 20);
}
