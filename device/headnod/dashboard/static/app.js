// The page: what the stream tells goes to the board, and what a person asks for too.

import { Board } from "./board.js";
import { open } from "./stream.js";
import { at, count } from "./words.js";

const find = (id) => document.getElementById(id);

/** The dashboard's clock, whatever this machine's own says. */
const clock = { skew: 0, stale: false, now: () => Date.now() / 1000 + clock.skew };
const board = new Board(find("listeners"), clock);
const filter = find("filter");

const LOST = "The dashboard does not answer; this page tries again by itself, and what it shows is old.";
const SUMMARY_EVERY = 10_000;
const REFRESH_EVERY = 15_000;

let known = new Set();
let broker = "";
let ready = false;

open({
  hello({ now, began, reason }) {
    clock.skew = now - Date.now() / 1000;
    known = new Set();
    find("began").textContent = `Heard since ${at(began, now)}: what was before is not on this page.`;
    broker = reason;
    trouble();
  },
  listeners(told) {
    for (const one of told) {
      known.add(one.node);
      board.tell(one);
    }
  },
  ready() {
    for (const { node } of board.listeners) if (!known.has(node)) board.forget(node);
    ready = true;
    summarise();
  },
  changes(told) {
    for (const one of told) board.tell(one);
    if (told.some((one) => "status" in one)) summarise();
  },
  gone(nodes) {
    for (const node of nodes) board.forget(node);
    summarise();
  },
  link({ reason }) {
    broker = reason;
    trouble();
  },
  lost() {
    trouble(LOST);
  },
});

function trouble(words = broker && `No broker: ${broker}. What the page shows is old.`) {
  const place = find("trouble");
  if (clock.stale !== Boolean(words)) {
    clock.stale = Boolean(words);
    board.redraw();
    if (ready) summarise();
  }
  place.hidden = !words;
  if (place.textContent !== words) place.textContent = words;
}

function summarise() {
  const listeners = board.listeners;
  const playing = listeners.filter((one) => one.playing).length;
  const offline = listeners.filter((one) => one.offline).length;
  const music = clock.stale ? "what plays now is unknown" : `${count(playing, "hears", "hear")} music`;
  const words = [count(listeners.length, "listener"), listeners.length && music, offline && `${offline} offline`];
  const summary = words.filter(Boolean).join(" · ");
  // A screen reader says it aloud, so it is written only when it differs.
  if (find("summary").textContent !== summary) find("summary").textContent = summary;
  const empty = find("empty");
  empty.hidden = !ready || listeners.length > 0;
  empty.textContent = "No listener was heard of yet. One that runs with this broker shows up here by itself.";
}

filter.addEventListener("input", () => board.filter(filter.value));
find("sort").addEventListener("change", (event) => board.sort(event.target.value));
document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select")) return;
  filter.focus();
  event.preventDefault();
});
setInterval(summarise, SUMMARY_EVERY);
setInterval(() => board.refresh(), REFRESH_EVERY);
