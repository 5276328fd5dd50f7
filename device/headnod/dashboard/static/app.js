// The page: passes events of the stream and of the user to the board.

import { Board } from "./board.js";
import { open } from "./stream.js";
import { at, count } from "./words.js";

const find = (id) => document.getElementById(id);

/** The dashboard's clock, from its difference to the clock of this machine. */
const clock = { skew: 0, stale: false, now: () => Date.now() / 1000 + clock.skew };
const board = new Board(find("listeners"), clock);
const filter = find("filter");

const LOST = "The dashboard does not answer; the page is out of date. It reconnects by itself.";
const SUMMARY_EVERY = 10_000;
const REFRESH_EVERY = 15_000;

let known = new Set();
let broker = "";
let ready = false;

open({
  hello({ now, began, reason }) {
    clock.skew = now - Date.now() / 1000;
    known = new Set();
    find("began").textContent = `The dashboard was started ${at(began, now)}; earlier estimates are not shown.`;
    broker = reason;
    trouble();
  },
  listeners(states) {
    for (const state of states) {
      known.add(state.node);
      board.update(state);
    }
  },
  ready() {
    for (const { node } of board.listeners) if (!known.has(node)) board.remove(node);
    ready = true;
    summarise();
  },
  changes(states) {
    for (const state of states) board.update(state);
    if (states.some((state) => "status" in state)) summarise();
  },
  gone(nodes) {
    for (const node of nodes) board.remove(node);
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

function trouble(message = broker && `No broker: ${broker}. The page is out of date.`) {
  const place = find("trouble");
  if (clock.stale !== Boolean(message)) {
    clock.stale = Boolean(message);
    board.redraw();
    if (ready) summarise();
  }
  place.hidden = !message;
  if (place.textContent !== message) place.textContent = message;
}

function summarise() {
  const listeners = board.listeners;
  const playing = listeners.filter((one) => one.playing).length;
  const offline = listeners.filter((one) => one.offline).length;
  const music = clock.stale ? "what plays now is unknown" : `${count(playing, "hears", "hear")} music`;
  const parts = [count(listeners.length, "listener"), listeners.length && music, offline && `${offline} offline`];
  const summary = parts.filter(Boolean).join(" · ");
  // Written only when it differs, because a screen reader reads every change.
  if (find("summary").textContent !== summary) find("summary").textContent = summary;
  const empty = find("empty");
  empty.hidden = !ready || listeners.length > 0;
  empty.textContent = "No listener has published yet. A listener that uses this broker appears here by itself.";
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
