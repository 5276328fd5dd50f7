// The page: passes events of the stream and of the user to the grid of listeners, or to the view of one.

import { hasHistory, mayChange, onSession, readSession, who } from "./api.js";
import { Board } from "./board.js";
import { set, write } from "./elements.js";
import { Live } from "./live.js";
import { onScheme } from "./palette.js";
import { open } from "./stream.js";
import { at, count } from "./words.js";

const find = (id) => document.getElementById(id);
const base = new URL("./", location.href);
const TABS = ["now", "history", "corrections", "settings"];
// Addresses that the server uses itself.
const TAKEN = new Set(["api", "events", "metrics"]);

/** The clock of the server, from its difference to the clock of this machine. */
const clock = { skew: 0, stale: false, now: () => Date.now() / 1000 + clock.skew };
const board = new Board(find("listeners"), clock, addressOf);
const context = { clock, listener: () => shown, correct, failed };
const live = new Live(find("now"), context);
const filter = find("filter");

const LOST = "The listener's page does not answer, and what is shown is out of date. It reconnects by itself.";
const SUMMARY_EVERY = 10_000;
const REFRESH_EVERY = 15_000;

let known = new Set();
let broker = "";
let ready = false;
/** The listener that is shown; null for the grid. */
let shown = null;
let tab = "";
/** What is shown and to whom: a view is drawn afresh where this changes, so that a question on it stays open. */
let drawn = "";
const views = new Map([["now", live]]);
let stream = null;

function connect() {
  stream = open({
    hello({ now, began, reason }) {
      clock.skew = now - Date.now() / 1000;
      known = new Set();
      write(find("began"), `This page has listened since ${at(began, now)}. ${who().local || who().remote_history ? "Earlier music comes from the history." : "Earlier estimates are not shown."}`);
      broker = reason;
      trouble();
    },
    listeners(states) {
      for (const state of states) {
        known.add(state.node);
        update(state);
      }
    },
    ready() {
      for (const { node } of board.listeners) if (!known.has(node)) board.remove(node);
      ready = true;
      route();
      summarise();
    },
    changes(states) {
      const before = board.cards.size;
      for (const state of states) update(state);
      if (board.cards.size !== before) route();
      if (states.some((state) => "status" in state)) summarise();
    },
    gone(nodes) {
      for (const node of nodes) board.remove(node);
      route();
      summarise();
    },
    link({ reason }) {
      broker = reason;
      trouble();
    },
    spectrum(column) {
      if (shown?.node === who().local) views.get(tab)?.showSpectrum?.(column);
    },
    controls(controls) {
      views.get("settings")?.update?.(controls);
    },
    lost() {
      trouble(LOST);
      // It may have changed meanwhile.
      drawn = "";
    },
  });
}

function update(state) {
  const parts = board.update(state);
  if (shown?.node !== state.node) return;
  views.get(tab)?.changed?.(parts);
}

// Without a broker the other listeners are out of date; the listener that serves the page is not.
function trouble(message = broker && !(shown && shown.node === who().local) && `No broker: ${broker}. The page is out of date.`) {
  const place = find("trouble");
  if (clock.stale !== Boolean(message)) {
    clock.stale = Boolean(message);
    document.body.classList.toggle("stale", clock.stale);
    board.redraw();
    live.draw();
    if (ready) summarise();
  }
  place.hidden = !message;
  write(place, message || "");
}

function summarise() {
  const { listeners } = board;
  const playing = listeners.filter((one) => one.playing).length;
  const offline = listeners.filter((one) => one.offline).length;
  const music = clock.stale ? "what plays now is unknown" : `music at ${playing}`;
  const parts = [count(listeners.length, "listener"), listeners.length && music, offline && `${offline} offline`];
  write(find("summary"), shown ? "" : parts.filter(Boolean).join(" · "));
  const empty = find("empty");
  const missing = ready && !shown && wanted() && !board.listener(wanted());
  empty.hidden = !(ready && !shown && (missing || !listeners.length));
  write(empty, missing ? `There is no listener "${wanted()}" yet. It appears here when it publishes.` : "No listener has published yet. A listener that uses this broker appears here by itself.");
}

/** The listener that the address names; "" for none. */
function wanted() {
  const name = location.pathname.slice(base.pathname.length);
  return decodeURIComponent(name) || new URLSearchParams(location.search).get("listener") || "";
}

function addressOf(node) {
  return TAKEN.has(node) || node.includes(".") ? `./?listener=${node}` : `./${node}`;
}

/** Show what the address says: the grid, or a tab of one listener. A listener that is alone needs no address. */
function route() {
  if (!ready) return;
  const name = wanted() || (board.cards.size === 1 ? board.listeners[0].node : "");
  const listener = name ? board.listener(name) : undefined;
  const local = listener !== undefined && listener.node === who().local;
  shown = listener ?? null;
  tab = !shown ? "" : TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "now";
  set(document.body, "data-view", shown ? "one" : "grid");
  write(find("title"), shown ? shown.node : "headnod");
  document.title = shown ? `${shown.node} · headnod` : "headnod";
  find("tabs").hidden = !shown || !hasHistory(name);
  find("search").hidden = Boolean(shown) || board.cards.size < 2;
  find("listeners").hidden = Boolean(shown) || Boolean(wanted());
  for (const id of TABS) find(id).hidden = id !== tab;
  for (const link of find("tabs").children) {
    link.hidden = link.dataset.tab === "history" ? !hasHistory(name) : link.dataset.tab !== "now" && !(local && mayChange());
    if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  stream?.watch(local && ["now", "settings"].includes(tab) && !document.hidden);
  const next = shown ? `${tab} ${shown.node} ${who().role}` : "";
  if (next && next !== drawn) show(tab);
  drawn = next;
  trouble();
  summarise();
}

// Views that are seldom used are loaded when they are.
async function show(name) {
  if (!views.has(name)) {
    const { view } = await import(`./${name}.js`);
    views.set(name, view(find(name), context));
  }
  views.get(name).show();
}

async function correct(song) {
  const { ask } = await import("./corrections.js");
  ask(song, shown, clock);
}

function failed(error) {
  trouble(error.message);
  setTimeout(() => trouble(), 6000);
}

async function account() {
  const { dialog } = await import("./login.js");
  dialog();
}

onSession(({ role, password, logged_in: loggedIn }) => {
  const button = find("account");
  button.hidden = !password;
  write(button, loggedIn ? "Log out" : "Log in");
  document.body.classList.toggle("reader", !mayChange());
  if (!role && password) account();
  else if (!stream) connect();
  else stream.reconnect();
});
find("account").addEventListener("click", account);
filter.addEventListener("input", () => board.filter(filter.value));
find("sort").addEventListener("change", (event) => board.sort(event.target.value));
find("search").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const own = link && link.origin === base.origin && link.pathname.startsWith(base.pathname) && !link.hasAttribute("download");
  if (!own || event.ctrlKey || event.metaKey || event.shiftKey || link.getAttribute("href").startsWith("#") || link.pathname.startsWith(`${base.pathname}api/`)) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  route();
  scrollTo(0, 0);
  find("main").focus({ preventScroll: true });
});
addEventListener("popstate", route);
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", route);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select, textarea") || find("search").hidden) return;
  filter.focus();
  event.preventDefault();
});
onScheme(() => {
  board.redraw();
  live.draw({ songs: true });
});
setInterval(summarise, SUMMARY_EVERY);
setInterval(() => {
  board.refresh();
  if (tab === "now") live.draw({ songs: true });
}, REFRESH_EVERY);
readSession();
