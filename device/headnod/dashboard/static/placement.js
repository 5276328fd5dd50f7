// Is the microphone placed well? Measured over half a minute from the levels of the sound.

import { element, set, write } from "./elements.js";

const KEPT = 150;
const ENOUGH = 25;
const FLOOR = -70;
const LOUD = -6;
const FAINT = -45;
const APART = 12;

/** What levels in dBFS say about the place of a microphone. */
export function judge(levels) {
  if (levels.length < ENOUGH) return { kind: "paused", text: "Listening… play music as loud as usual." };
  const sorted = levels.toSorted((one, other) => one - other);
  const quiet = sorted[Math.floor(0.1 * sorted.length)];
  const loud = sorted[Math.floor(0.95 * sorted.length)];
  const kind = "care";
  if (loud <= -100) return { kind, quiet, loud, text: "The microphone sends nothing. Is it muted, or its gain at zero?" };
  if (loud > LOUD) return { kind, quiet, loud, text: "Too loud: lower its gain, or move it away from the loudspeaker." };
  if (loud < FAINT) return { kind, quiet, loud, text: "Very faint. If music plays now, raise the gain or move the microphone closer." };
  if (loud - quiet < APART && quiet > FAINT) {
    return { kind: "paused", quiet, loud, text: "The level hardly changes. Pause the music for some seconds to measure the noise of the room." };
  }
  return { kind: "well", quiet, loud, text: `Placed well: music is up to ${Math.round(loud - quiet)} dB above the quiet moments.` };
}

export class Placement {
  constructor() {
    this.levels = [];
    this.meter = element("div", { class: "meter", "aria-hidden": "true" }, element("i"), element("u"));
    this.advice = element("p", { class: "condition", role: "status" });
    this.figures = element("p", { class: "note" });
    this.root = element("div", { class: "placement" }, element("h3", {}, "Is it placed well?"), this.meter, this.advice, this.figures);
    this.draw();
  }

  add({ level }) {
    this.levels.push(level);
    if (this.levels.length > KEPT) this.levels.shift();
    this.meter.style.setProperty("--level", share(level));
    this.meter.style.setProperty("--peak", share(Math.max(...this.levels)));
    this.draw();
  }

  draw() {
    const { kind, text, quiet, loud } = judge(this.levels);
    set(this.root, "data-condition", kind);
    // A screen reader reads every change.
    write(this.advice, text);
    write(this.figures, quiet === undefined ? "" : `Quiet moments ${Math.round(quiet)} dBFS, loud moments ${Math.round(loud)} dBFS`);
  }
}

function share(level) {
  return Math.max(0, Math.min(1, 1 - level / FLOOR)).toFixed(3);
}
