// The board: all cards, sorted, filtered, and drawn a few per frame.

import { Card } from "./card.js";
import { Listener } from "./listener.js";

// Limits of one frame: milliseconds, visible cards, and cards that appear, disappear or move. The last two, because
// the browser's style, layout and paint take several times as long as the script.
const BUDGET = 4;
const SEEN = 4;
const MOVES = 8;

const byName = (one, other) => one.node.localeCompare(other.node, undefined, { numeric: true });
const CARE = { care: 0, offline: 1, stale: 2, paused: 3, well: 4 };

const ORDERS = {
  name: () => byName,
  genre: () => (one, other) =>
    Number(other.named) - Number(one.named) || one.genre.localeCompare(other.genre) || byName(one, other),
  change: () => (one, other) => (other.now?.since ?? 0) - (one.now?.since ?? 0) || byName(one, other),
  care: (now, stale) => (one, other) => CARE[one.kind(now, stale)] - CARE[other.kind(now, stale)] || byName(one, other),
};

export class Board {
  /** @param {function(string): string} addressOf The address of a listener. */
  constructor(list, clock, addressOf) {
    this.list = list;
    this.addressOf = addressOf;
    this.clock = clock;
    this.cards = new Map();
    this.due = new Set();
    /** Cards to which the filter was not applied yet. */
    this.unfiltered = new Set();
    this.order = "name";
    this.wanted = "";
    this.unsorted = false;
    this.waiting = false;
    this.active = null;
    this.observer = new IntersectionObserver((entries) => this.observe(entries), { rootMargin: "300px" });
    list.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("focusin", (event) => this.activate(event.target));
  }

  /** One listener; undefined if it is not known. */
  listener(node) {
    return this.cards.get(node)?.listener;
  }

  get listeners() {
    return [...this.cards.values()].map((card) => card.listener);
  }

  /** Apply some parts of the state of a listener. */
  update(state) {
    let card = this.cards.get(state.node);
    if (!card) {
      card = new Card(new Listener(state.node), this.clock, this.addressOf(state.node));
      this.cards.set(state.node, card);
      this.unsorted = true;
    }
    const parts = card.listener.merge(state);
    for (const part of parts) card.due.add(part);
    this.draw(card);
    return parts;
  }

  remove(node) {
    const card = this.cards.get(node);
    if (!card) return;
    this.cards.delete(node);
    this.due.delete(card);
    this.unfiltered.delete(card);
    this.observer.unobserve(card.item);
    card.item.remove();
    this.keepReachable();
  }

  /** Redraw visible cards, whose times have changed. */
  refresh() {
    for (const card of this.cards.values()) if (card.visible || card.listener.quiet(this.clock.now())) this.draw(card);
  }

  /** Redraw every card. */
  redraw() {
    for (const card of this.cards.values()) {
      card.due.add("now");
      this.draw(card);
    }
    this.unsorted = true;
  }

  sort(order) {
    this.order = order;
    this.unsorted = true;
    this.ask();
  }

  filter(wanted) {
    this.wanted = wanted.trim().toLowerCase();
    // From the end, so that no card scrolls into view only to be hidden.
    this.unfiltered = new Set([...this.list.children].reverse().map((item) => this.cardOf(item)));
    this.ask();
  }

  draw(card) {
    this.due.add(card);
    this.ask();
  }

  ask() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.frame());
  }

  frame() {
    this.waiting = false;
    const end = performance.now() + BUDGET;
    let seen = 0;
    let moves = this.applyFilter(MOVES);
    for (const card of this.due) {
      if (seen >= SEEN || moves <= 0 || performance.now() > end) break;
      this.due.delete(card);
      card.draw();
      seen += card.visible;
      moves -= this.hide(card);
      if (!card.item.isConnected) {
        this.enter(card);
        moves -= 1;
      }
    }
    if (!this.due.size && this.unsorted) this.unsorted = !this.arrange(moves);
    this.keepReachable();
    if (this.due.size || this.unfiltered.size || this.unsorted) this.ask();
  }

  // Returns the remaining moves.
  applyFilter(moves) {
    for (const card of this.unfiltered) {
      if (moves <= 0) break;
      this.unfiltered.delete(card);
      moves -= this.hide(card);
    }
    return moves;
  }

  enter(card) {
    this.list.append(card.item);
    this.observer.observe(card.item);
    if (!this.active) this.activate(card.link);
  }

  hide(card) {
    const { node, genre, offline } = card.listener;
    const text = `${node} ${offline ? "offline" : genre}`.toLowerCase();
    const hidden = this.wanted !== "" && !text.includes(this.wanted);
    if (card.item.hidden === hidden) return 0;
    card.item.hidden = hidden;
    return 1;
  }

  // Returns whether all cards are in order.
  arrange(moves) {
    const sorted = this.listeners.sort(ORDERS[this.order](this.clock.now(), this.clock.stale));
    let next = this.list.firstElementChild;
    for (const { node } of sorted) {
      const { item } = this.cards.get(node);
      if (item === next) {
        next = next.nextElementSibling;
      } else {
        if (moves-- <= 0) return false;
        this.list.insertBefore(item, next);
      }
    }
    return true;
  }

  observe(entries) {
    for (const { target, isIntersecting } of entries) {
      const card = this.cardOf(target);
      if (!card) continue;
      card.visible = isIntersecting;
      if (isIntersecting) this.draw(card);
    }
  }

  cardOf(item) {
    return this.cards.get(item.querySelector(".card").dataset.node);
  }

  // A card that the filter hides, or that is removed, is not reached by the Tab key.
  keepReachable() {
    if (this.active?.isConnected && !this.active.closest("li").hidden) return;
    const next = this.list.querySelector("li:not([hidden]) .node");
    if (next) this.activate(next);
  }

  // One card is in the order of the Tab key; the arrows reach the others.
  activate(link) {
    if (link === this.active) return;
    if (this.active) this.active.tabIndex = -1;
    link.tabIndex = 0;
    this.active = link;
  }

  key(event) {
    if (!event.target.classList.contains("node") || event.altKey || event.ctrlKey || event.metaKey) return;
    const columns = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity };
    if (!(event.key in step)) return;
    const shown = [...this.list.children].filter((item) => !item.hidden);
    const place = shown.indexOf(event.target.closest("li")) + step[event.key];
    const next = shown[Math.max(0, Math.min(shown.length - 1, place))];
    next.querySelector(".node").focus();
    event.preventDefault();
  }
}
