// The moving picture of the sound: one column of log-mel bands about five times a second, and the level.

import { FLOOR, drawMeter } from "./elements.js";
import { isDark, onScheme } from "./palette.js";

const COLUMNS = 300;
const FALL = 12;
const STALE = 3;
const AHEAD = 6;
// From silence to loud, as red, green and blue.
const ON_LIGHT = [[239, 237, 231], [190, 211, 222], [96, 148, 190], [52, 78, 150], [58, 26, 92], [24, 6, 30]];
const ON_DARK = [[22, 24, 29], [38, 40, 82], [96, 44, 122], [190, 66, 104], [246, 150, 82], [255, 236, 178]];

export class Spectrum {
  constructor(canvas, meter, clock) {
    this.canvas = canvas;
    this.meter = meter;
    this.clock = clock;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.columns = [];
    /** Columns that have arrived and are not shown yet: a block of the microphone brings several at once. */
    this.pending = [];
    this.peak = FLOOR;
    this.level = null;
    this.at = 0;
    this.glide = 1;
    this.running = false;
    this.buffer = document.createElement("canvas");
    this.buffer.width = COLUMNS;
    onScheme(() => this.paintAll());
  }

  /** Add a column: bytes of the mel bands in base64, the lowest first, and the level. */
  add({ level, mel, seconds }) {
    const bands = Uint8Array.from(atob(mel), (letter) => letter.charCodeAt(0));
    if (!bands.length) return;
    if (this.buffer.height !== bands.length) {
      this.buffer.height = bands.length;
      this.columns = [];
    }
    this.pending.push({ bands, level, seconds });
    this.at = performance.now();
    this.run();
  }

  next() {
    const { bands, level, seconds } = this.pending.shift();
    this.stretch(bands);
    this.columns.push(bands);
    if (this.columns.length > COLUMNS) this.columns.shift();
    const context = this.buffer.getContext("2d");
    context.drawImage(this.buffer, -1, 0);
    this.paint(context, bands, COLUMNS - 1);
    this.seconds = seconds;
    this.show(level);
  }

  /** Show a level in dBFS. */
  show(level) {
    this.level = level;
    this.peak = Math.max(level, this.peak - FALL / 5);
    drawMeter(this.meter, level, this.peak);
    const rounded = Math.round(level);
    if (Math.abs(rounded - (this.said ?? 99)) >= 2) {
      this.said = rounded;
      this.meter.setAttribute("aria-valuenow", Math.max(FLOOR, Math.min(0, rounded)));
      this.meter.setAttribute("aria-valuetext", `${rounded} dBFS`);
    }
  }

  /** Whether columns arrive. */
  get live() {
    return this.at > 0 && performance.now() - this.at < 1000 * STALE;
  }

  // The colours cover what there is: music fills a part of the range of a band only.
  stretch(bands) {
    const sorted = bands.toSorted();
    this.low = towards(this.low, sorted[Math.floor(0.15 * sorted.length)] - 24);
    this.high = towards(this.high, Math.max(sorted.at(-1), this.low + 60));
  }

  paint(context, bands, x) {
    const ramp = isDark() ? ON_DARK : ON_LIGHT;
    const picture = context.createImageData(1, bands.length);
    bands.forEach((value, band) => {
      const place = Math.max(0, Math.min(0.999, (value - this.low) / (this.high - this.low))) * (ramp.length - 1);
      const below = Math.floor(place);
      const rest = place - below;
      const start = 4 * (bands.length - 1 - band);
      for (let channel = 0; channel < 3; channel += 1) {
        picture.data[start + channel] = ramp[below][channel] * (1 - rest) + ramp[below + 1][channel] * rest;
      }
      picture.data[start + 3] = 255;
    });
    context.putImageData(picture, x, 0);
  }

  paintAll() {
    const context = this.buffer.getContext("2d");
    context.clearRect(0, 0, COLUMNS, this.buffer.height);
    this.columns.forEach((bands, index) => this.paint(context, bands, COLUMNS - this.columns.length + index));
    this.draw();
  }

  run() {
    if (this.running) return;
    this.running = true;
    let before = performance.now();
    const step = () => {
      const now = performance.now();
      this.advance((now - before) / 1000);
      before = now;
      this.running = this.live && !this.canvas.closest("[hidden]");
      if (this.running) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // The picture glides at the pace of the sound, and faster while many columns wait.
  advance(passed) {
    this.glide += (passed / (this.seconds || 0.2)) * (1 + Math.max(0, this.pending.length - AHEAD) / AHEAD);
    while (this.glide >= 1 && this.pending.length) {
      this.next();
      this.glide -= 1;
    }
    this.glide = Math.min(1, this.glide);
    this.draw();
  }

  draw() {
    const { canvas, buffer } = this;
    const context = canvas.getContext("2d");
    const wide = canvas.width / (COLUMNS - 1);
    const glide = this.still.matches ? 1 : this.glide;
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(buffer, -glide * wide, 0, canvas.width + wide, canvas.height);
  }
}

// A value that is reached by half in ten columns.
function towards(before, now) {
  return before === undefined ? now : before + (now - before) * 0.067;
}
