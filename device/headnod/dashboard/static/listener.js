// One listener: its state from the dashboard, and values derived from it.

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

  /** Apply parts of the state; returns their names. */
  merge(state) {
    const parts = Object.keys(state).filter((part) => part !== "node");
    for (const part of parts) {
      if (part === "timeline") this.runs = decoded(state.timeline);
      else this[part] = state[part];
    }
    if (state.now && !state.timeline) this.extend(state.now);
    return parts;
  }

  // The end of the timeline is not sent: it follows from the current estimate.
  extend({ since, time, genre }) {
    const last = this.runs.at(-1);
    if (last && last[0] === since) {
      last[1] = time;
    } else if (time > since && (!last || since > last[0])) {
      if (last) last[1] = Math.min(last[1], since);
      this.runs.push([since, time, genre]);
      if (this.runs.length > RUNS) this.runs.shift();
    }
  }

  get offline() {
    return this.status.online === false;
  }

  /** Whether music plays, with or without a named genre. */
  get playing() {
    return !this.offline && this.now !== null && this.now.genre !== SILENCE;
  }

  get named() {
    return this.playing && this.now.genre !== UNKNOWN;
  }

  get state() {
    if (!this.now || this.health.at >= this.now.time) return this.health.state || "";
    return this.now.state;
  }

  name(genre) {
    return this.labels.names[genre]?.[0] ?? "?";
  }

  colour(genre) {
    return this.labels.names[genre]?.[1] ?? "#a0a0a0";
  }

  /** Seconds since the last message where one is overdue, or 0. */
  quiet(now) {
    const last = Math.max(this.now?.time ?? 0, this.health.at);
    const limit = Math.max(QUIET, 5 * (this.info.every_s ?? 3));
    return this.state === "listening" && last && now - last > limit ? now - last : 0;
  }

  /** Condition for order and colour: offline, stale (no broker), paused, care or well. */
  kind(now, stale) {
    if (this.offline) return "offline";
    if (stale) return "stale";
    if (this.info.paused || !this.state || this.state === "starting") return "paused";
    return this.state === "listening" && !this.quiet(now) ? "well" : "care";
  }

  /** Condition in words. */
  condition(now, stale) {
    if (stale && !this.offline) {
      const last = Math.max(this.now?.time ?? 0, this.health.at);
      return last ? `last message ${at(last, now)}` : "no message yet";
    }
    if (this.offline) {
      const since = this.status.since ?? this.now?.time;
      const how = this.status.since ? "offline since" : "offline, last message";
      return since ? `${how} ${at(since, now)}` : "offline";
    }
    if (this.info.paused) return "paused";
    const quiet = this.quiet(now);
    if (quiet) return `no message for ${lasting(quiet)}`;
    if (this.state) return stateInWords(this.state);
    return this.status.online ? "no estimate yet" : "no message yet";
  }

  get message() {
    return this.offline || this.state === "listening" ? "" : (this.health.message ?? "");
  }

  /** Whether its health report needs attention. */
  get ailing() {
    const { at: reported, discarded, temperature_c: heat } = this.health;
    return reported > 0 && (discarded > 0 || this.unsynchronised || heat >= HOT);
  }

  /** Whether its clock is known not to be synchronised. */
  get unsynchronised() {
    return this.health.clock_synchronised === false && this.health.clock !== "unknown";
  }

  /** Health and description, the most important first. */
  facts(now) {
    const { health, info, now: estimate } = this;
    const reported = health.at > 0;
    return [
      ["Temperature", health.temperature_c == null ? "" : `${Math.round(health.temperature_c)}\u202f°C`],
      ["Processor", reported && percent(health.cpu_percent / 100)],
      ["Memory", reported && `${Math.round(health.memory_mb)} MiB`],
      ["Up", reported && lasting(health.uptime_s)],
      ["Waiting for the broker", health.queued > 0 && count(health.queued, "message")],
      ["Lost, the queue was full", health.discarded > 0 && count(health.discarded, "message")],
      ["Sound lost", health.dropped_s >= 1 && `${Math.round(health.dropped_s)} s`],
      ["Clock", this.unsynchronised && "not synchronised"],
      ["Level", estimate && `${Math.round(estimate.level)} dBFS`],
      ["Model", info.model],
      ["Microphone", info.microphone],
      ["Board", info.board],
      ["headnod", info.version],
      ["Reported", reported && at(health.at, now)],
    ].filter(([, fact]) => fact);
  }

  /** The current genre. */
  get genre() {
    return this.now ? genreInWords(this.name(this.now.genre)) : "";
  }

  since(now, stale) {
    if (!this.now) return "";
    if (this.offline || stale) return `until ${at(this.now.time, now)}`;
    return `since ${at(this.now.since, now)}, ${lasting(now - this.now.since)}`;
  }

  /** Why the most probable genre is not named. */
  get held() {
    return this.playing ? heldInWords(this.now.held_by) : "";
  }

  /** The most probable tags. */
  get tags() {
    return this.playing ? (this.now.tags ?? []) : [];
  }

  /** The bars in words: the three highest. */
  get barsInWords() {
    if (!this.playing) return "Probability of each genre: nothing plays";
    const ranked = this.labels.order
      .map((genre, place) => [this.name(genre), (this.now.bars[place] ?? 0) / 1000])
      .sort((one, other) => other[1] - one[1])
      .slice(0, 3);
    return `Probability of each genre: ${ranked.map(([name, share]) => `${name} ${percent(share)}`).join(", ")}`;
  }

  /** The timeline in words: the duration of each genre, the longest first. */
  timelineInWords(now) {
    const first = now - HOURS * 3600;
    const sums = new Map();
    for (const [start, end, genre] of this.runs) {
      const seconds = end - Math.max(start, first);
      if (seconds > 0) sums.set(genre, (sums.get(genre) ?? 0) + seconds);
    }
    const ranked = [...sums].sort((one, other) => other[1] - one[1]);
    const parts = ranked.map(([genre, seconds]) => `${genreInWords(this.name(genre))} ${lasting(seconds)}`);
    return `The last ${HOURS} hours: ${parts.join(", ") || "no estimates"}`;
  }
}

function decoded(numbers) {
  const runs = [];
  let time = 0;
  for (let place = 0; place + 2 < numbers.length; place += 3) {
    const start = time + numbers[place];
    time = start + numbers[place + 1];
    runs.push([start, time, numbers[place + 2]]);
  }
  return runs;
}
