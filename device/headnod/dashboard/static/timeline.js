// Timelines. Runs of one genre are drawn as CSS backgrounds: gradients with hard edges, because a canvas or an element
// for each run would be a layer to compose in each frame.

import { element, set, write } from "./elements.js";
import { at, genreInWords, hourOf, lasting } from "./words.js";

const HOUR = 3600;

/**
 * Backgrounds of a timeline, the uppermost first: genres, unknown (half as tall) and silence (a line).
 * @param {Array<[number, number, string]>} runs Start, end and genre of each.
 */
export function backgrounds(runs, first, last, colour) {
  const stops = { genres: [], unknown: [], silence: [] };
  for (const [start, end, genre] of runs) {
    if (end <= first || start >= last) continue;
    const from = place(start, first, last);
    const to = place(end, first, last);
    const kind = genre === "silence" ? "silence" : genre === "unknown" ? "unknown" : "genres";
    const drawn = kind === "genres" ? colour(genre) : `var(--${kind})`;
    stops[kind].push(`transparent ${from}%`, `${drawn} ${from}% ${to}%`, `transparent ${to}%`);
  }
  return Object.values(stops).map((stop) => (stop.length ? `linear-gradient(90deg, ${stop.join(", ")})` : "none"));
}

/** Seconds of each genre within a time, the longest first. */
export function durations(runs, first, last) {
  const sums = new Map();
  for (const [start, end, genre] of runs) {
    const seconds = Math.min(end, last) - Math.max(start, first);
    if (seconds > 0) sums.set(genre, (sums.get(genre) ?? 0) + seconds);
  }
  return [...sums].sort((one, other) => other[1] - one[1]);
}

/** A timeline in words. */
export function inWords(runs, first, last) {
  const parts = durations(runs, first, last).map(([genre, seconds]) => `${genreInWords(genre)} ${lasting(seconds)}`);
  return parts.join(", ") || "no estimates";
}

/** Start, length and genre of each run, from numbers that are each relative to the one before. */
export function decoded(numbers, nameOf) {
  const runs = [];
  let time = 0;
  for (let index = 0; index + 2 < numbers.length; index += 3) {
    const start = time + numbers[index];
    time = start + numbers[index + 1];
    runs.push([start, time, nameOf(numbers[index + 2])]);
  }
  return runs;
}

/** A wide timeline with hours, which pointer and keyboard can read run by run. */
export class Ribbon {
  /** @param {function(number, number, string): void} [chosen] Called with the run that is chosen. */
  constructor(place, chosen) {
    this.track = element("div", { class: "timeline", tabindex: 0, role: "slider", "aria-label": "Timeline", "aria-valuenow": 0 });
    this.marker = element("i", { class: "marker", hidden: true });
    this.hours = element("div", { class: "hours", "aria-hidden": "true" });
    this.pointed = element("p", { class: "pointed", "aria-hidden": "true" });
    place.replaceChildren(element("div", { class: "track" }, this.track, this.marker), this.hours, this.pointed);
    this.runs = [];
    this.index = -1;
    this.chosen = chosen;
    this.track.addEventListener("pointermove", (event) => this.point(event));
    this.track.addEventListener("pointerleave", () => this.mark(-1));
    this.track.addEventListener("blur", () => this.mark(-1));
    this.track.addEventListener("focus", () => this.mark(this.runs.length - 1));
    this.track.addEventListener("keydown", (event) => this.key(event));
    this.track.addEventListener("click", (event) => {
      this.point(event);
      this.choose();
    });
  }

  draw(runs, first, last, colour) {
    this.runs = runs.filter(([start, end]) => end > first && start < last);
    Object.assign(this, { first, last, colour });
    const layers = backgrounds(this.runs, first, last, colour).join(", ");
    if (this.layers !== layers) this.track.style.backgroundImage = this.layers = layers;
    set(this.track, "aria-valuemin", 0);
    set(this.track, "aria-valuemax", Math.max(0, this.runs.length - 1));
    this.describe();
    this.drawHours();
  }

  drawHours() {
    const span = (this.last - this.first) / HOUR;
    const step = [1, 2, 3, 4, 6].find((hours) => span / hours <= Math.max(4, this.track.clientWidth / 70)) ?? 6;
    const marks = [];
    const begin = new Date(this.first * 1000);
    begin.setMinutes(0, 0, 0);
    for (let time = begin; time / 1000 < this.last; time = new Date(+time + HOUR * 1000)) {
      const share = (100 * (time / 1000 - this.first)) / (this.last - this.first);
      if (time.getHours() % step || share < 0) continue;
      marks.push([share.toFixed(2), hourOf(+time / 1000)]);
    }
    const key = marks.join();
    if (this.marks === key) return;
    this.marks = key;
    this.hours.replaceChildren(
      ...marks.map(([share, text]) => element("span", { "--x": `${share}%`, class: share > 97 ? "last" : "" }, text)),
    );
  }

  describe() {
    const run = this.runs[this.index];
    set(this.track, "aria-valuenow", Math.max(0, this.index));
    set(this.track, "aria-valuetext", run ? this.text(run) : inWords(this.runs, this.first, this.last));
  }

  text([start, end, genre]) {
    const now = Date.now() / 1000;
    return `${at(start, now)} to ${at(end, now)}: ${genreInWords(genre)}, ${lasting(end - start)}`;
  }

  point(event) {
    const time = this.first + (event.offsetX / this.track.clientWidth) * (this.last - this.first);
    this.mark(this.runs.findLastIndex(([start, end]) => start <= time && time < end));
  }

  mark(index) {
    this.index = index;
    const run = this.runs[index];
    this.marker.hidden = !run;
    write(this.pointed, run ? this.text(run) : "");
    if (run) {
      this.marker.style.left = `${place(run[0], this.first, this.last)}%`;
      this.marker.style.right = `${100 - place(run[1], this.first, this.last)}%`;
    }
    this.describe();
  }

  key(event) {
    const end = this.runs.length - 1;
    const to = { ArrowLeft: this.index - 1, ArrowRight: this.index + 1, Home: 0, End: end }[event.key];
    if (to !== undefined) this.mark(Math.max(0, Math.min(end, to)));
    else if (event.key === "Enter" || event.key === " ") this.choose();
    else return;
    event.preventDefault();
  }

  choose() {
    const run = this.runs[this.index];
    if (run && this.chosen) this.chosen(...run);
  }
}

// Rounded to less than a pixel, because an unchanged text is not painted again.
function place(time, first, last) {
  return Math.min(100, Math.max(0, Math.round((2000 * (time - first)) / (last - first)) / 20));
}
