// Charts of the history: stacked columns, and a calendar of a year.

import { element, set, write } from "./elements.js";
import { dateOf, genreInWords, lasting, on } from "./words.js";

const HOUR = 3600;
const STEPS = [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR, 16 * HOUR, 24 * HOUR];
const STRENGTHS = [38, 62, 82, 100];
const month = new Intl.DateTimeFormat(undefined, { month: "short" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });

/** Columns of seconds by genre. */
export class StackChart {
  /** @param {function(number): void} chosen Called with the start of a column that is chosen. */
  constructor(chosen) {
    this.chosen = chosen;
    this.scale = element("div", { class: "scale", "aria-hidden": "true" });
    this.stacks = element("div", { class: "stacks", role: "group" });
    this.feet = element("div", { class: "feet", "aria-hidden": "true" });
    this.pointed = element("p", { class: "pointed", "aria-hidden": "true" });
    this.root = element("div", { class: "chart" }, this.scale, this.stacks, this.feet, this.pointed);
  }

  draw(buckets, { colour, most, foot, name, label }) {
    const sums = buckets.map(({ seconds }) => total(seconds));
    const top = most ?? STEPS.find((step) => step >= Math.max(...sums)) ?? STEPS.at(-1);
    this.scale.replaceChildren(...[1, 0.75, 0.5, 0.25, 0].map((share) => element("span", {}, scaled(top * share, top))));
    set(this.stacks, "aria-label", label);
    const wide = buckets.length <= STEPS.length;
    this.stacks.replaceChildren(...buckets.map((bucket, index) => this.stack(bucket, sums[index], { top, colour, name, clickable: wide })));
    this.feet.replaceChildren(...buckets.map((bucket, index) => element("span", {}, foot(bucket, index))));
    write(this.pointed, "");
  }

  stack({ start, seconds }, sum, { top, colour, name, clickable }) {
    const ranked = Object.entries(seconds);
    const parts = ranked.map(([genre, time]) => `${genreInWords(genre)} ${lasting(time)}`).join(", ");
    const text = `${name({ start })}: ${parts || "no songs"}`;
    const point = () => write(this.pointed, sum ? text : "");
    const attributes = { class: "stack", "aria-label": text, onpointerenter: point, onfocus: point };
    const bars = ranked.map(([genre, time]) => element("i", { "--share": (time / top).toFixed(4), "--c": colour(genre) }));
    if (!clickable) return element("div", { ...attributes, role: "img", tabindex: sum ? 0 : false }, ...bars);
    return element("button", { ...attributes, type: "button", onclick: () => this.chosen(start) }, ...bars);
  }
}

/** Days of a year: a column for each week. */
export class Calendar {
  constructor(chosen) {
    this.chosen = chosen;
    this.root = element("div", { class: "calendar", role: "group", "aria-label": "Days of a year" });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.cells = new Map();
    this.onpoint = () => {};
  }

  /** Draw the days from `begin` to `end`, both included, from a map of dates. */
  draw(days, begin, end, colour) {
    const monday = new Date(begin * 1000);
    monday.setHours(12, 0, 0, 0);
    monday.setDate(monday.getDate() - ((monday.getDay() + 6) % 7));
    const most = Math.max(HOUR, ...[...days.values()].map(({ seconds }) => total(seconds)));
    const parts = [];
    for (const row of [0, 2, 4, 6]) {
      const name = element("span", { "aria-hidden": "true" }, weekday.format(new Date(2024, 0, 1 + row)));
      name.style.gridArea = `${row + 2} / 1`;
      parts.push(name);
    }
    this.cells = new Map();
    let column = 2;
    let labelled = -9;
    for (const date = monday; date.getTime() / 1000 <= end + 13 * HOUR; date.setDate(date.getDate() + 1)) {
      const row = (date.getDay() + 6) % 7;
      const noon = date.getTime() / 1000;
      if (noon >= begin) {
        const cell = this.cell(noon, days.get(dateOf(noon)), most, colour);
        cell.style.gridArea = `${row + 2} / ${column}`;
        this.cells.set(dateOf(noon), cell);
        parts.push(cell);
      }
      if (date.getDate() <= 7 && row === 0 && column - labelled > 2) {
        const name = element("span", { "aria-hidden": "true" }, month.format(date));
        name.style.gridArea = `1 / ${column}`;
        parts.push(name);
        labelled = column;
      }
      if (row === 6) column += 1;
    }
    this.root.replaceChildren(...parts);
    this.root.scrollLeft = this.root.scrollWidth;
    this.select(this.selected);
  }

  cell(noon, day, most, colour) {
    const ranked = Object.entries(day?.seconds ?? {});
    const sum = total(day?.seconds ?? {});
    const text = `${on(noon, { long: true })}: ${sum ? `${lasting(sum)}, mostly ${genreInWords(ranked[0][0])}` : "no songs"}`;
    const strength = STRENGTHS[Math.min(STRENGTHS.length - 1, Math.floor(STRENGTHS.length * Math.sqrt(sum / most)))];
    const point = () => this.onpoint(text);
    return element("button", {
      type: "button",
      tabindex: -1,
      "aria-label": text,
      "--c": sum ? colour(ranked[0][0]) : "",
      "--strength": sum ? `${strength}%` : "",
      onpointerenter: point,
      onfocus: point,
      onclick: () => this.chosen(new Date(noon * 1000).setHours(0, 0, 0, 0) / 1000),
    });
  }

  /** Mark a date. */
  select(date) {
    this.selected = date;
    for (const [each, cell] of this.cells) {
      if (each === date) cell.setAttribute("aria-current", "date");
      else cell.removeAttribute("aria-current");
      cell.tabIndex = -1;
    }
    const reachable = this.cells.get(date) ?? [...this.cells.values()].at(-1);
    if (reachable) reachable.tabIndex = 0;
  }

  key(event) {
    const cells = [...this.cells.values()];
    const place = cells.indexOf(event.target);
    const step = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -7, ArrowRight: 7, Home: -Infinity, End: Infinity }[event.key];
    if (place < 0 || step === undefined) return;
    event.preventDefault();
    const next = cells[Math.max(0, Math.min(cells.length - 1, place + step))];
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

function total(seconds) {
  return Object.values(seconds).reduce((sum, each) => sum + each, 0);
}

function scaled(seconds, top) {
  if (!seconds) return "0";
  return top <= HOUR ? `${Math.round(seconds / 60)} min` : `${Number((seconds / HOUR).toFixed(1))} h`;
}
