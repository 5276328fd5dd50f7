// The card of one listener in the grid. It writes to the page only what has changed.

import { Bars, set, style, write, writeOrHide } from "./elements.js";
import { HOURS } from "./listener.js";
import { backgrounds } from "./timeline.js";
import { percent } from "./words.js";

const template = document.getElementById("card");
const SHOWN = 3;

export class Card {
  constructor(listener, clock, address) {
    this.listener = listener;
    this.clock = clock;
    this.item = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.item.querySelector(selector);
    this.article = find(".card");
    this.link = find(".node");
    this.place = { condition: find(".condition"), genre: find(".genre"), probability: find(".probability"), since: find(".since") };
    this.message = find(".message");
    this.bars = new Bars(find(".bars"));
    this.timeline = find(".timeline");
    this.visible = false;
    /** Parts that are not drawn yet. */
    this.due = new Set(["labels", "now"]);
    // A card outside the view is drawn later, and has its labels before.
    set(this.bars.place, "aria-label", "Probability of each genre");
    set(this.timeline, "aria-label", "Timeline");
    const { node } = listener;
    this.link.textContent = node;
    this.link.id = `listener-${node}`;
    this.link.href = address;
    const now = find(".now");
    now.id = `now-${node}`;
    this.article.dataset.node = node;
    this.article.setAttribute("aria-labelledby", this.link.id);
    this.link.setAttribute("aria-describedby", now.id);
  }

  /** Draw the head, and the other parts that are due once the card is visible. */
  draw() {
    this.drawHead();
    if (!this.visible) return;
    const due = this.due;
    this.due = new Set();
    if (["labels", "now", "status"].some((part) => due.has(part))) this.drawBars();
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
    style(this.article, "--genre", listener.named ? listener.colour(listener.genre) : "transparent");
    writeOrHide(this.message, listener.message);
  }

  drawBars() {
    const top = this.listener.top(SHOWN);
    this.bars.update(top, top[0]?.[1]);
    this.bars.place.hidden = top.length === 0;
    set(this.bars.place, "aria-label", this.listener.barsInWords);
  }

  drawTimeline() {
    const { listener } = this;
    const now = this.clock.now();
    const layers = backgrounds(listener.runs, now - HOURS * 3600, now, (genre) => listener.colour(genre)).join(", ");
    if (this.layers !== layers) this.timeline.style.backgroundImage = this.layers = layers;
    set(this.timeline, "aria-label", listener.timelineInWords(now));
  }
}
