// The history of a listener: a day or a week, a calendar of a year, first songs, and the card of the week.

import { get, mayChange, who } from "./api.js";
import { chip, element, panel, set, write } from "./elements.js";
import { songTable } from "./songs.js";
import { Calendar, StackChart } from "./charts.js";
import { Ribbon, decoded } from "./timeline.js";
import { at, count, dateOf, genreInWords, hourOf, lasting, on } from "./words.js";

const HOUR = 3600;
// The last moment that the interface takes; a clock that was wrong has dated songs in the future.
const END = 4e9;
const STEP = { day: 1, week: 7 };

/** Build the view into an element. */
export function view(root, context) {
  return new History(root, context);
}

class History {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.unit = "day";
    this.day = midnight(context.clock.now());
    this.days = new Map();
    this.build();
  }

  build() {
    const button = (text, label, run) => element("button", { type: "button", "aria-label": label, onclick: run }, text);
    const units = ["day", "week"].map((unit) =>
      element("button", { type: "button", "data-unit": unit, onclick: () => this.use(unit) }, unit === "day" ? "Day" : "Week"),
    );
    this.picker = element("input", { type: "date", "aria-label": "Date", onchange: () => this.picked() });
    this.csv = element("a", { class: "button", download: true }, "CSV");
    this.json = element("a", { class: "button", download: true }, "JSON");
    this.everything = element("a", { class: "button", download: true }, "All songs as CSV");
    this.bar = element(
      "div",
      { class: "row span-12" },
      button("‹", "Earlier", () => this.move(-1)),
      this.picker,
      button("›", "Later", () => this.move(1)),
      button("Today", "Today", () => this.go(midnight(this.context.clock.now()))),
      element("div", { class: "choice", role: "group", "aria-label": "Length" }, ...units),
      element("span", { class: "grow" }),
      element("span", { class: "note" }, "Download songs:"),
      this.csv,
      this.json,
      this.everything,
    );
    this.chart = new StackChart((start) => this.unit === "week" && this.open(start));
    this.sums = element("ul", { class: "legend", "aria-label": "Time of each genre" });
    this.chartPanel = panel("", "chart-title", "span-8", this.chart.root, this.sums);
    this.card = element("img", { class: "week", alt: "Card of the last seven days", loading: "lazy", width: 1200, height: 630 });
    this.saved = element("a", { class: "button", download: true }, "Download SVG");
    this.share = element("button", { type: "button", hidden: !navigator.canShare, onclick: () => this.shareCard() }, "Share…");
    const card = panel("Card of the week", "week-title", "span-4", this.card, element("div", { class: "row" }, this.saved, this.share));
    const ribbon = element("div", { class: "ribbon" });
    this.ribbonPanel = panel("Timeline of the day", "day-title", "span-12", ribbon);
    this.ribbon = new Ribbon(ribbon, (start, end, genre) => this.correctable && this.context.correct({ start, end, genre }));
    this.years = element("select", { "aria-label": "Year", onchange: () => this.useYear(this.years.value) });
    this.calendar = new Calendar((start) => this.open(start));
    this.hovered = element("p", { class: "pointed" });
    this.calendar.onpoint = (text) => write(this.hovered, text);
    const calendar = panel("Calendar", "calendar-title", "span-12", this.calendar.root, element("p", { class: "note" }, "Colour: the genre played longest on a day. Strength: how long music played."), this.hovered);
    calendar.firstElementChild.append(this.years);
    this.songs = element("div");
    this.songsPanel = panel("Songs", "songs-title", "span-7", this.songs);
    this.firsts = element("ul", { class: "firsts" });
    const firsts = panel("First time", "firsts-title", "span-5", this.firsts);
    this.error = element("p", { class: "panel span-12 empty", hidden: true });
    this.root.classList.add("columns");
    this.root.replaceChildren(this.error, this.bar, this.chartPanel, card, this.ribbonPanel, calendar, this.songsPanel, firsts);
  }

  get listener() {
    return this.context.listener();
  }

  get correctable() {
    return mayChange() && who().local === this.listener.node;
  }

  get path() {
    return `listeners/${this.listener.node}`;
  }

  show() {
    if (this.shown !== this.listener) {
      this.shown = this.listener;
      this.day = midnight(this.context.clock.now());
      this.latest = 0;
      this.days = new Map();
      this.year = "";
      this.read();
    }
    this.draw();
  }

  /** Parts of the state of the listener have changed. */
  changed(parts) {
    if (parts.includes("songs")) {
      this.readYear();
      this.draw();
    }
  }

  async read() {
    const { node } = this.listener;
    const address = `api/v1/${this.path}/week.svg`;
    this.card.src = address;
    this.saved.href = `${address}?download`;
    this.everything.href = `api/v1/${this.path}/songs?from=0&to=${END}&format=csv&download`;
    try {
      await this.readYear();
      const firsts = await get(`${this.path}/firsts`);
      if (node !== this.listener?.node) return;
      const now = this.context.clock.now();
      this.firsts.replaceChildren(
        ...firsts.map(({ genre, time }) =>
          element("li", {}, chip(genreInWords(genre), this.listener.colour(genre)), element("time", { datetime: new Date(time * 1000).toISOString() }, at(time, now))),
        ),
      );
      const future = who().local === node ? await get(`${this.path}/songs?from=${Math.ceil(now)}&to=${END}`) : [];
      if (node !== this.listener?.node) return;
      this.latest = Math.max(now, future.at(-1)?.end ?? 0, firsts[0]?.time ?? 0);
      this.picker.max = dateOf(this.lastDay);
      this.drawYears(firsts.at(-1)?.time ?? now, this.latest);
      this.fail("");
    } catch (error) {
      this.fail(error.message);
    }
  }

  async readYear() {
    const days = await get(`${this.path}/days${this.year && `?year=${this.year}`}`);
    for (const day of days) this.days.set(day.date, day);
    this.drawCalendar();
    if (this.unit === "week") this.drawChart();
  }

  fail(message) {
    this.error.hidden = !message;
    write(this.error, message && `The history of ${this.listener.node} cannot be shown: ${message}`);
    for (const each of this.root.children) if (each !== this.error) each.hidden = Boolean(message) || (each === this.ribbonPanel && this.unit === "week");
  }

  use(unit) {
    this.unit = unit;
    this.draw();
  }

  /** The last day with music, or today. */
  get lastDay() {
    return midnight(Math.max(this.latest, this.context.clock.now()));
  }

  go(day) {
    this.day = Math.min(day, this.lastDay);
    this.draw();
  }

  open(day) {
    this.unit = "day";
    this.go(day);
    this.bar.scrollIntoView({ block: "nearest" });
  }

  move(steps) {
    this.go(shifted(this.day, steps * STEP[this.unit]));
  }

  picked() {
    const [year, month, day] = this.picker.value.split("-").map(Number);
    if (year) this.go(new Date(year, month - 1, day).getTime() / 1000);
  }

  /** The first second that is shown, and the one after the last. */
  get span() {
    if (this.unit === "day") return [this.day, shifted(this.day, 1)];
    const weekday = (new Date(this.day * 1000).getDay() + 6) % 7;
    const monday = shifted(this.day, -weekday);
    return [monday, shifted(monday, 7)];
  }

  draw() {
    const [first, last] = this.span;
    this.picker.value = dateOf(this.day);
    this.picker.max = dateOf(this.lastDay);
    for (const each of this.bar.querySelectorAll("[data-unit]")) set(each, "aria-pressed", each.dataset.unit === this.unit);
    for (const [link, form] of [[this.csv, "csv"], [this.json, "json"]]) {
      link.href = `api/v1/${this.path}/songs?from=${first}&to=${last}&format=${form}&download`;
    }
    this.ribbonPanel.hidden = this.unit === "week" || !this.error.hidden;
    this.calendar.select(dateOf(this.day));
    this.drawChart();
    this.drawSongs(first, last);
    if (this.unit === "day") this.drawDay(first, last);
  }

  async drawChart() {
    const [first, last] = this.span;
    const title = this.unit === "day" ? on(first, { long: true }) : `Week from ${on(first, { long: true })}`;
    write(this.chartPanel.querySelector("h2"), title);
    const buckets = [];
    if (this.unit === "week") {
      for (let day = first; day < last; day = shifted(day, 1)) buckets.push({ start: day, seconds: this.days.get(dateOf(day))?.seconds ?? {} });
    } else {
      const found = await this.ask(`hours?from=${first}&to=${last}`);
      if (!found || first !== this.span[0]) return;
      for (let hour = first; hour < last; hour += HOUR) buckets.push({ start: hour, seconds: {} });
      // Hours of a listener in another time zone may begin at half past.
      for (const { start, seconds } of found) {
        const sums = buckets[Math.max(0, Math.floor((start - first) / HOUR))].seconds;
        for (const [genre, time] of Object.entries(seconds)) sums[genre] = (sums[genre] ?? 0) + time;
      }
    }
    const colour = (genre) => this.listener.colour(genre);
    this.chart.draw(buckets, {
      colour,
      most: this.unit === "day" ? HOUR : undefined,
      foot: ({ start }, index) => (this.unit === "week" ? on(start).split(/[ ,]/)[0] : index % 3 ? "" : hourOf(start)),
      name: ({ start }) => (this.unit === "week" ? on(start, { long: true }) : `${hourOf(start)} to ${hourOf(start + HOUR)}`),
      label: title,
    });
    const sums = new Map();
    for (const { seconds } of buckets) for (const [genre, time] of Object.entries(seconds)) sums.set(genre, (sums.get(genre) ?? 0) + time);
    const ranked = [...sums].sort((one, other) => other[1] - one[1]);
    this.sums.replaceChildren(...ranked.map(([genre, time]) => element("li", {}, chip(genreInWords(genre), colour(genre)), element("b", {}, lasting(time)))));
    if (!ranked.length) this.sums.replaceChildren(element("li", { class: "note" }, "No songs in this time."));
  }

  async drawSongs(first, last) {
    const songs = await this.ask(`songs?from=${first}&to=${last}`);
    if (!songs || first !== this.span[0] || last !== this.span[1]) return;
    write(this.songsPanel.querySelector("h2"), songs.length ? count(songs.length, "song") : "Songs");
    const options = { colour: (genre) => this.listener.colour(genre), now: this.unit === "day" ? this.day : 0, correct: this.correctable ? this.context.correct : undefined };
    this.songs.replaceChildren(songs.length ? songTable(songs, options) : element("p", { class: "empty" }, "No songs in this time."));
  }

  async drawDay(first, last) {
    const found = await this.ask(`timeline?from=${first}&to=${last}`);
    if (!found || first !== this.span[0]) return;
    this.ribbon.draw(decoded(found.runs, (index) => found.names[index]), first, last, (genre) => this.listener.colour(genre));
  }

  drawCalendar() {
    const now = this.context.clock.now();
    const end = this.year ? new Date(Number(this.year), 11, 31).getTime() / 1000 : midnight(now);
    const begin = this.year ? new Date(Number(this.year), 0, 1).getTime() / 1000 : shifted(end, -364);
    this.calendar.draw(this.days, begin, end, (genre) => this.listener.colour(genre));
    this.calendar.select(dateOf(this.day));
  }

  drawYears(earliest, latest) {
    const years = [];
    for (let year = new Date(latest * 1000).getFullYear(); year >= new Date(earliest * 1000).getFullYear(); year -= 1) years.push(String(year));
    this.years.hidden = years.length < 2;
    this.years.replaceChildren(...["", ...years].map((year) => element("option", { value: year, selected: year === this.year }, year || "Last 12 months")));
  }

  useYear(year) {
    this.year = year;
    this.ask("", () => this.readYear());
  }

  async ask(part, read = () => get(`${this.path}/${part}`)) {
    try {
      return await read();
    } catch (error) {
      this.fail(error.message);
      return null;
    }
  }

  async shareCard() {
    const svg = await (await fetch(this.card.src)).blob();
    const file = new File([svg], `${this.listener.node}.svg`, { type: "image/svg+xml" });
    if (navigator.canShare({ files: [file] })) await navigator.share({ files: [file] }).catch(() => {});
    else this.saved.click();
  }
}

function midnight(seconds) {
  return new Date(seconds * 1000).setHours(0, 0, 0, 0) / 1000;
}

// Midnight some days later; a day may have 23 or 25 hours.
function shifted(seconds, days) {
  const date = new Date(seconds * 1000);
  date.setDate(date.getDate() + days);
  return date.getTime() / 1000;
}
