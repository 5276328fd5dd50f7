// One listener: what the dashboard told of it, and what follows from that.

import { at, count, genreInWords, heldInWords, lasting, percent, stateInWords } from "./words.js";

export const HOURS = 6;
const RUNS = 600;
const SILENCE = 0;
const UNKNOWN = 1;
const QUIET = 15;
const HOT = 80;

export class Listener {
  constructor(node) {
    this.node = node;
    this.labels = { names: [], order: [] };
    this.status = { online: null, since: null };
    this.now = null;
    this.songs = [];
    this.health = { at: 0 };
    this.info = {};
    /** Runs of one genre: [start, end, genre], in the order of time. */
    this.runs = [];
  }

  /** Take over the parts that were told; gives their names. */
  merge(told) {
    const parts = Object.keys(told).filter((part) => part !== "node");
    for (const part of parts) {
      if (part === "ribbon") this.runs = decoded(told.ribbon);
      else this[part] = told[part];
    }
    if (told.now && !told.ribbon) this.extend(told.now);
    return parts;
  }

  // The end of the ribbon is not told: it follows from what plays since when.
  extend({ since, heard, genre }) {
    const last = this.runs.at(-1);
    if (last && last[0] === since) {
      last[1] = heard;
    } else if (heard > since && (!last || since > last[0])) {
      if (last) last[1] = Math.min(last[1], since);
      this.runs.push([since, heard, genre]);
      if (this.runs.length > RUNS) this.runs.shift();
    }
  }

  get offline() {
    return this.status.online === false;
  }

  /** Music plays, whether its genre is known or not. */
  get playing() {
    return !this.offline && this.now !== null && this.now.genre !== SILENCE;
  }

  get named() {
    return this.playing && this.now.genre !== UNKNOWN;
  }

  get state() {
    if (!this.now || this.health.at >= this.now.heard) return this.health.state || "";
    return this.now.state;
  }

  name(genre) {
    return this.labels.names[genre]?.[0] ?? "?";
  }

  colour(genre) {
    return this.labels.names[genre]?.[1] ?? "#a0a0a0";
  }

  /** It says nothing although it should: seconds since it did, or 0. */
  quiet(now) {
    const last = Math.max(this.now?.heard ?? 0, this.health.at);
    const patience = Math.max(QUIET, 5 * (this.info.every_s ?? 3));
    return this.state === "listening" && last && now - last > patience ? now - last : 0;
  }

  /** How it fares, in one word for order and colour: offline, stale (there is no broker), paused, care or well. */
  kind(now, stale) {
    if (this.offline) return "offline";
    if (stale) return "stale";
    if (this.info.paused || !this.state || this.state === "starting") return "paused";
    return this.state === "listening" && !this.quiet(now) ? "well" : "care";
  }

  /** How it fares, in words for a person. */
  fare(now, stale) {
    if (stale && !this.offline) {
      const last = Math.max(this.now?.heard ?? 0, this.health.at);
      return last ? `last heard ${at(last, now)}` : "not heard of yet";
    }
    if (this.offline) {
      const since = this.status.since ?? this.now?.heard;
      const how = this.status.since ? "offline since" : "offline, last heard";
      return since ? `${how} ${at(since, now)}` : "offline";
    }
    if (this.info.paused) return "paused";
    const quiet = this.quiet(now);
    if (quiet) return `no word for ${lasting(quiet)}`;
    if (this.state) return stateInWords(this.state);
    return this.status.online ? "nothing heard yet" : "not heard of yet";
  }

  get message() {
    return this.offline || this.state === "listening" ? "" : (this.health.message ?? "");
  }

  /** Its health is one to look at. */
  get ailing() {
    const { at: told, discarded, temperature_c: heat } = this.health;
    return told > 0 && (discarded > 0 || this.unsynchronised || heat >= HOT);
  }

  /** Its clock is known not to be synchronised; a system that does not say is no trouble. */
  get unsynchronised() {
    return this.health.clock_synchronised === false && this.health.clock !== "unknown";
  }

  /** What it is and how it fares: what is asked for first comes first. */
  facts(now) {
    const { health, info, now: heard } = this;
    const told = health.at > 0;
    return [
      ["Temperature", health.temperature_c == null ? "" : `${Math.round(health.temperature_c)}\u202f°C`],
      ["Processor", told && percent(health.cpu_percent / 100)],
      ["Memory", told && `${Math.round(health.memory_mb)} MiB`],
      ["Up", told && lasting(health.uptime_s)],
      ["Waiting for the broker", health.queued > 0 && count(health.queued, "message")],
      ["Lost, the queue was full", health.discarded > 0 && count(health.discarded, "message")],
      ["Sound lost", health.dropped_s >= 1 && `${Math.round(health.dropped_s)} s`],
      ["Clock", this.unsynchronised && "not synchronised"],
      ["Level", heard && `${Math.round(heard.level)} dBFS`],
      ["Model", info.model],
      ["Microphone", info.microphone],
      ["Board", info.board],
      ["headnod", info.version],
      ["Told", told && at(health.at, now)],
    ].filter(([, fact]) => fact);
  }

  /** What plays, in one word. */
  get genre() {
    return this.now ? genreInWords(this.name(this.now.genre)) : "";
  }

  since(now, stale) {
    if (!this.now) return "";
    if (this.offline || stale) return `until ${at(this.now.heard, now)}`;
    return `since ${at(this.now.since, now)}, ${lasting(now - this.now.since)}`;
  }

  /** What holds a genre back, in words; nothing where one is named and likeliest. */
  get held() {
    return this.playing ? heldInWords(this.now.held_by) : "";
  }

  /** The surest tags of what plays. */
  get tags() {
    return this.playing ? (this.now.tags ?? []) : [];
  }

  /** The bars in words: the three likeliest. */
  get barsInWords() {
    if (!this.playing) return "Likelihood of each genre: nothing plays";
    const ranked = this.labels.order
      .map((genre, place) => [this.name(genre), (this.now.bars[place] ?? 0) / 1000])
      .sort((one, other) => other[1] - one[1])
      .slice(0, 3);
    return `Likelihood of each genre: ${ranked.map(([name, share]) => `${name} ${percent(share)}`).join(", ")}`;
  }

  /** The ribbon in words: how long each genre was heard, the longest first. */
  ribbonInWords(now) {
    const first = now - HOURS * 3600;
    const sums = new Map();
    for (const [start, end, genre] of this.runs) {
      const seconds = end - Math.max(start, first);
      if (seconds > 0) sums.set(genre, (sums.get(genre) ?? 0) + seconds);
    }
    const ranked = [...sums].sort((one, other) => other[1] - one[1]);
    const told = ranked.map(([genre, seconds]) => `${genreInWords(this.name(genre))} ${lasting(seconds)}`);
    return `The last ${HOURS} hours: ${told.join(", ") || "nothing was heard"}`;
  }
}

function decoded(told) {
  const runs = [];
  let time = 0;
  for (let place = 0; place + 2 < told.length; place += 3) {
    const start = time + told[place];
    time = start + told[place + 1];
    runs.push([start, time, told[place + 2]]);
  }
  return runs;
}
