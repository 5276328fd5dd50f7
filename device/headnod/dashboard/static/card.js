// The card of one listener. It writes to the page only what has changed.

import { backgrounds, runAt } from "./timeline.js";
import { at, count, genreInWords, lasting, percent } from "./words.js";

const template = document.getElementById("card");
const PER_MILLE = 1000;
const SHOWN = 5;

export class Card {
  constructor(listener, clock) {
    this.listener = listener;
    this.clock = clock;
    this.item = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.item.querySelector(selector);
    this.article = find(".card");
    this.place = { condition: find(".condition"), genre: find(".genre"), probability: find(".probability"), since: find(".since") };
    this.message = find(".message");
    this.held = find(".held");
    this.tags = find(".tags");
    this.bars = find(".bars");
    this.timeline = find(".timeline");
    this.pointed = find(".pointed");
    this.songs = { heading: find(".songs h3"), list: find(".songs ul") };
    this.details = find("details");
    this.summary = find("summary");
    this.facts = find("dl");
    this.rows = [];
    this.visible = false;
    /** Parts that are not drawn yet. */
    this.due = new Set(["labels", "now", "songs", "health"]);
    this.name(listener.node);
    this.timeline.addEventListener("pointermove", (event) => this.point(event));
    this.timeline.addEventListener("pointerleave", () => write(this.pointed, ""));
    this.details.addEventListener("toggle", () => this.drawHealth());
  }

  name(node) {
    const heading = this.item.querySelector(".node");
    heading.textContent = node;
    heading.id = `listener-${node}`;
    const now = this.item.querySelector(".now");
    now.id = `now-${node}`;
    this.article.dataset.node = node;
    this.article.setAttribute("aria-labelledby", heading.id);
    this.article.setAttribute("aria-describedby", now.id);
  }

  /** Draw the head, and the other parts that are due once the card is visible. */
  draw() {
    this.drawHead();
    if (!this.visible) return;
    const due = this.due;
    this.due = new Set();
    const has = (...parts) => parts.some((part) => due.has(part));
    if (has("labels")) this.makeBars();
    if (has("labels", "now", "status")) this.drawBars();
    if (has("labels", "songs")) this.drawSongs();
    if (has("health", "info")) this.drawHealth();
    this.drawTimeline();
  }

  drawHead() {
    const listener = this.listener;
    const now = this.clock.now();
    const { stale } = this.clock;
    set(this.article, "data-condition", listener.kind(now, stale));
    set(this.article, "data-playing", stale ? "nothing" : listener.named ? "named" : listener.playing ? "unknown" : "nothing");
    write(this.place.condition, listener.condition(now, stale));
    write(this.place.genre, listener.genre || "—");
    write(this.place.probability, listener.named ? percent(listener.now.confidence) : "");
    write(this.place.since, listener.since(now, stale));
    const colour = listener.now ? listener.colour(listener.now.genre) : "";
    if (this.colour !== colour) this.article.style.setProperty("--genre", (this.colour = colour));
    write(this.message, listener.message);
    this.message.hidden = !listener.message;
    write(this.held, listener.held);
    this.held.hidden = !listener.held;
    this.drawTags();
  }

  drawTags() {
    const { tags } = this.listener;
    const joined = tags.join("\n");
    if (this.joinedTags === joined) return;
    this.joinedTags = joined;
    this.tags.replaceChildren(...tags.map((tag) => element("li", tag)));
    this.tags.hidden = tags.length === 0;
  }

  makeBars() {
    const listener = this.listener;
    this.rows = listener.labels.order.map((genre) => {
      const row = { label: element("span", listener.name(genre)), track: element("i"), share: element("b"), value: 0 };
      row.track.style.setProperty("--c", listener.colour(genre));
      return row;
    });
    this.bars.replaceChildren(...this.rows.flatMap(({ label, track, share }) => [label, track, share]));
    this.bars.hidden = this.rows.length === 0;
  }

  drawBars() {
    const { now, offline } = this.listener;
    const values = this.rows.map((_, place) => (offline ? 0 : (now?.bars[place] ?? 0)));
    const best = Math.max(1, ...values);
    this.rows.forEach((row, place) => {
      const value = values[place];
      set(row.label, "class", value === best ? "best" : "");
      if (row.value === value) return;
      row.value = value;
      row.track.style.setProperty("--share", value / PER_MILLE);
      write(row.share, value >= SHOWN ? percent(value / PER_MILLE) : "");
    });
    set(this.bars, "aria-label", this.listener.barsInWords);
  }

  drawTimeline() {
    const now = this.clock.now();
    const layers = backgrounds(this.listener, now).join(", ");
    if (this.layers !== layers) this.timeline.style.backgroundImage = this.layers = layers;
    set(this.timeline, "aria-label", this.listener.timelineInWords(now));
  }

  drawSongs() {
    const listener = this.listener;
    const items = listener.songs.map(([genre, number, seconds]) => {
      const item = element("li", `${genreInWords(listener.name(genre))} `);
      item.style.setProperty("--c", listener.colour(genre));
      item.append(element("b", String(number)));
      item.title = `${count(number, "song")}, ${lasting(seconds)}`;
      return item;
    });
    const number = listener.songs.reduce((sum, song) => sum + song[1], 0);
    write(this.songs.heading, number ? `${count(number, "song")} today` : "No songs yet today");
    this.songs.list.replaceChildren(...items);
  }

  drawHealth() {
    const facts = this.listener.facts(this.clock.now());
    const { health, ailing } = this.listener;
    const brief = facts.slice(0, 3).map(([, fact]) => fact);
    write(this.summary, health.at ? `Health: ${ailing ? "needs attention" : "good"} · ${brief.join(" · ")}` : "Health: no report yet");
    set(this.summary, "class", ailing ? "bad" : "");
    if (!this.details.open) return;
    this.facts.replaceChildren(...facts.flatMap(([term, fact]) => [element("dt", term), element("dd", fact)]));
  }

  point(event) {
    const now = this.clock.now();
    const run = runAt(this.listener, event.offsetX / this.timeline.clientWidth, now);
    const words = run && `${at(run[0], now)}–${at(run[1], now)} ${genreInWords(this.listener.name(run[2]))}`;
    write(this.pointed, words ?? "");
  }
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function set(place, attribute, value) {
  if (place.getAttribute(attribute) !== value) place.setAttribute(attribute, value);
}
