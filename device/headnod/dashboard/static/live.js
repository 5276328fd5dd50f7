// The view of one listener: what plays now and why, the sound, the timeline, the songs of today, and its health.

import { get, hasHistory, mayChange, send, who } from "./api.js";
import { Bars, chip, element, set, style, write, writeOrHide } from "./elements.js";
import { songTable } from "./songs.js";
import { Spectrum } from "./spectrum.js";
import { Ribbon, decoded, durations } from "./timeline.js";
import { at, count, genreInWords, lasting, level, percent } from "./words.js";

const WHY = 3;
const HOUR = 3600;
const LEGEND = 12;

export class Live {
  /** @param {{clock: object, listener: function(): Listener, correct: function(object): void, failed: function(Error): void}} context */
  constructor(root, context) {
    const { clock } = context;
    this.root = root;
    this.clock = clock;
    this.context = context;
    const find = (selector) => root.querySelector(selector);
    this.hero = find(".hero");
    this.place = Object.fromEntries(
      ["condition", "genre", "probability", "since", "message", "reason", "tags"].map((name) => [name, find(`.hero .${name}`)]),
    );
    this.three = new Bars(find(".three"));
    this.all = new Bars(find(".all .bars"));
    this.sound = find(".sound");
    this.spoken = find("#spoken");
    this.level = find("#level");
    this.spectrum = new Spectrum(find("#spectrum"), find("#meter"), clock);
    this.ribbon = new Ribbon(find("#ribbon"), (start, end, genre) => this.correctable && context.correct({ start, end, genre }));
    this.legend = find("#legend");
    this.songs = find("#songs");
    this.sum = find("#today-sum");
    this.facts = find(".health dl");
    this.correctNow = find(".correct-now");
    this.pauseNow = find(".pause-now");
    this.hours = 6;
    this.past = [];
    this.today = null;
    this.allSongs = new Set();
    this.listener = null;
    this.songsDue = false;
    for (const button of root.querySelectorAll("[data-hours]")) button.addEventListener("click", () => this.span(button));
    this.correctNow.addEventListener("click", () => {
      const { now, runs } = this.listener;
      context.correct({ start: runs.at(-1)?.[0] ?? now.since, end: now.time, genre: this.listener.name(now.genre) });
    });
    this.pauseNow.addEventListener("click", () => this.pause());
    addEventListener("resize", () => this.draw());
  }

  /** Show the listener of the context. */
  show() {
    const listener = this.context.listener();
    if (listener !== this.listener) {
      this.listener = listener;
      this.past = [];
      this.today = null;
    }
    this.draw({ songs: true });
    this.readPast();
    this.readSongs();
  }

  get correctable() {
    return mayChange() && who().local === this.listener.node;
  }

  /** Parts of the state of the listener have changed. */
  changed(parts) {
    if (parts.includes("songs") && this.today) this.readSongs();
    this.draw({ songs: parts.includes("songs") || parts.includes("labels") });
  }

  /** Draw once in the next frame; the songs only if they, their colours or their times have changed. */
  draw({ songs = false } = {}) {
    this.songsDue ||= songs;
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      if (this.listener) this.frame();
    });
  }

  frame() {
    this.drawHero();
    this.drawBars();
    this.drawTimeline();
    if (this.songsDue) this.drawSongs();
    this.songsDue = false;
    this.drawHealth();
  }

  drawHero() {
    const { listener, place } = this;
    const now = this.clock.now();
    const { stale } = this.clock;
    const named = listener.named && !stale;
    set(this.root, "data-condition", listener.kind(now, stale));
    set(this.hero, "data-playing", stale ? "nothing" : listener.named ? "named" : listener.playing ? "unknown" : "nothing");
    style(this.root, "--genre", named ? listener.colour(listener.genre) : "transparent");
    write(place.condition, listener.condition(now, stale));
    write(place.genre, listener.genre || "—");
    set(place.genre, "data-length", listener.genre.length > 8 ? "long" : "short");
    write(place.probability, listener.named ? percent(listener.now.confidence) : "");
    write(place.since, listener.since(now, stale));
    write(place.reason, listener.reason);
    writeOrHide(place.message, listener.message);
    const joined = listener.tags.join("\n");
    if (this.joined !== joined) {
      this.joined = joined;
      place.tags.replaceChildren(...listener.tags.map((tag) => element("li", {}, tag)));
      place.tags.hidden = !joined;
    }
    this.correctNow.hidden = !this.correctable || !listener.now;
    this.pauseNow.hidden = !this.correctable;
    write(this.pauseNow, listener.info.paused ? "Resume" : "Pause");
    // A screen reader reads every change.
    if (listener.now) write(this.spoken, `${listener.genre} since ${at(listener.now.since, now)}`);
  }

  drawBars() {
    const { listener } = this;
    const top = listener.top(WHY);
    const best = top[0]?.[1];
    style(this.root, "--threshold", listener.info.certainty ?? 0);
    this.root.classList.toggle("thresholded", listener.info.certainty > 0);
    this.three.update(top, best);
    this.all.update(listener.shares, best);
    for (const bars of [this.three, this.all]) set(bars.place, "aria-label", listener.barsInWords);
    const live = this.spectrum.live;
    set(this.sound, "data-picture", live ? "live" : this.spectrum.at ? "still" : "none");
    if (listener.now && !live) this.spectrum.show(listener.offline ? -120 : listener.now.level);
    write(this.level, listener.now ? level((live && this.spectrum.level) || listener.now.level) : "");
  }

  /** Add a column of the spectrum. */
  showSpectrum(column) {
    this.spectrum.add(column);
    if (this.sound.dataset.picture !== "live") set(this.sound, "data-picture", "live");
    write(this.level, level(this.spectrum.level ?? column.level));
  }

  drawTimeline() {
    const { listener } = this;
    const last = this.clock.now();
    const first = last - this.hours * HOUR;
    const runs = this.joinedRuns();
    const colour = (genre) => listener.colour(genre);
    this.ribbon.draw(runs, first, last, colour);
    const sums = durations(runs, first, last);
    const key = `${listener.labels.names}${sums.map(([genre, seconds]) => genre + lasting(seconds))}`;
    if (this.legendKey === key) return;
    this.legendKey = key;
    const shown = sums.slice(0, LEGEND);
    const rest = sums.slice(LEGEND).reduce((sum, [, seconds]) => sum + seconds, 0);
    this.legend.replaceChildren(
      ...shown.map(([genre, seconds]) =>
        element("li", { "data-kind": genre }, chip(genreInWords(genre), colour(genre)), element("b", {}, lasting(seconds))),
      ),
      ...(rest ? [element("li", {}, `${count(sums.length - LEGEND, "other")} `, element("b", {}, lasting(rest)))] : []),
    );
  }

  // The history where the stream does not reach back to, and then the stream.
  joinedRuns() {
    const live = this.listener.runs;
    const begin = live[0]?.[0] ?? Infinity;
    return [...this.past.filter(([start]) => start < begin).map(([start, end, genre]) => [start, Math.min(end, begin), genre]), ...live];
  }

  drawSongs() {
    const { listener } = this;
    const now = this.clock.now();
    // The keyboard's place is kept.
    if (this.songs.contains(document.activeElement)) return;
    if (this.today) {
      const songs = [...this.today];
      const playing = listener.named && !this.clock.stale && listener.now;
      if (playing && playing.since > (songs.at(-1)?.end ?? 0) && now - playing.since > 15) {
        songs.push({ start: playing.since, end: playing.time, genre: listener.genre, playing: true, tags: listener.tags });
      }
      const seconds = songs.reduce((sum, song) => sum + song.end - song.start, 0);
      write(this.sum, songs.length ? `${count(songs.length, "song")}, ${lasting(seconds)}` : "");
      this.songs.replaceChildren(
        songs.length
          ? songTable(songs, { colour: (genre) => listener.colour(genre), correct: this.correctable ? this.context.correct : undefined, now, all: this.allSongs })
          : element("p", { class: "empty" }, "No songs yet today. A song is listed when it has ended."),
      );
      return;
    }
    const number = listener.songs.reduce((sum, song) => sum + song[1], 0);
    write(this.sum, number ? count(number, "song") : "");
    const counts = listener.songs.map(([genre, songs, seconds]) =>
      element("li", {}, chip(listener.name(genre), listener.colour(listener.name(genre))), element("b", {}, count(songs, "song")), element("span", {}, lasting(seconds))),
    );
    this.songs.replaceChildren(
      counts.length ? element("ul", { class: "counts" }, ...counts) : element("p", { class: "empty" }, "No songs yet today."),
      this.historyError ? element("p", { class: "note" }, this.historyError) : "",
    );
  }

  drawHealth() {
    const facts = this.listener.facts(this.clock.now());
    const key = facts.flat().join("|");
    if (this.factsKey === key) return;
    this.factsKey = key;
    set(this.facts.parentElement, "data-ailing", this.listener.ailing);
    this.facts.replaceChildren(...facts.flatMap(([term, fact]) => [element("dt", {}, term), element("dd", {}, fact)]));
  }

  span(button) {
    this.hours = Number(button.dataset.hours);
    for (const each of this.root.querySelectorAll("[data-hours]")) set(each, "aria-pressed", each === button);
    this.readPast();
    this.draw();
  }

  /** Why no history of the listener is requested; empty if one is. */
  withoutHistory() {
    const { node, info, offline } = this.listener;
    if (who().local === node) return "";
    if (!hasHistory(node)) return "The list of songs is on the listener's own page.";
    if (offline) return "The list of songs comes from the listener, which is offline.";
    if (info?.history) return "";
    return info?.history === false ? "This listener keeps no history (history.path in its configuration)." : "There is no list of songs: the headnod of this listener is older than histories by MQTT.";
  }

  async readPast() {
    const { listener } = this;
    if (this.withoutHistory()) return;
    const now = this.clock.now();
    try {
      const { names, runs } = await get(`listeners/${listener.node}/timeline?from=${Math.floor(now - this.hours * HOUR)}&to=${Math.ceil(now)}`);
      if (listener !== this.listener) return;
      this.past = decoded(runs, (index) => names[index]);
      this.draw();
    } catch {
      // Then there is what the stream has.
    }
  }

  async readSongs() {
    const { listener } = this;
    this.historyError = this.withoutHistory();
    if (this.historyError) return;
    const midnight = new Date(this.clock.now() * 1000).setHours(0, 0, 0, 0) / 1000;
    try {
      const today = await get(`listeners/${listener.node}/songs?from=${midnight}&to=${Math.ceil(this.clock.now()) + 60}`);
      if (listener !== this.listener) return;
      this.today = today;
    } catch (error) {
      if (listener !== this.listener) return;
      this.today = null;
      this.historyError = error.status === 404 ? "This listener keeps no history (history.path in its configuration)." : error.message;
    }
    this.draw({ songs: true });
  }

  async pause() {
    try {
      await send("PATCH", "controls", { paused: !this.listener.info.paused });
    } catch (error) {
      this.context.failed(error);
    }
  }
}
