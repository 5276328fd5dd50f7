// Is the microphone placed well? The live level, and what the listener measured of the last minutes.

import { drawMeter, element, set, write } from "./elements.js";
import { level } from "./words.js";

const KEPT = 50;

export class Placement {
  constructor() {
    this.levels = [];
    this.meter = element("div", { class: "meter", "aria-hidden": "true" }, element("i"), element("u"));
    this.advice = element("p", { class: "condition", role: "status" });
    this.figures = element("p", { class: "note" });
    this.root = element("div", { class: "placement" }, element("h3", {}, "Is it placed well?"), this.meter, this.advice, this.figures);
    this.report({});
  }

  /** A column of the spectrum. */
  add({ level: now }) {
    this.levels.push(now);
    if (this.levels.length > KEPT) this.levels.shift();
    drawMeter(this.meter, now, Math.max(...this.levels));
  }

  /** Levels in dBFS, the proposed change of the gain in decibels, and advice. */
  report({ advice, noise_floor: floor, loud, gain }) {
    set(this.root, "data-condition", !advice || loud == null ? "paused" : advice === "placed well" ? "well" : "care");
    // A screen reader reads every change.
    write(this.advice, advice ? `${advice[0].toUpperCase()}${advice.slice(1)}.` : "There are no estimates yet.");
    const figures = [
      floor != null && `noise floor ${level(floor)}`,
      loud != null && `loud music ${level(loud)}`,
      gain ? `gain ${gain > 0 ? "+" : ""}${Math.round(gain)} dB` : "",
    ];
    write(this.figures, figures.filter(Boolean).join(", "));
  }
}
