// One listener: its state from the event stream, and values derived from it.

import { drawn, fromName } from "./palette.js";
import { decoded, inWords } from "./timeline.js";
import { at, count, genreInWords, lasting, level, percent, stateInWords } from "./words.js";

export const HOURS = 6;
const RUNS = 600;
const SILENCE = 0;
const UNKNOWN = 1;
const QUIET = 15;
const HOT = 80;
const SEEN = 0.005;

export class Listener {
  constructor(node) {
    this.node = node;
    this.labels = { names: [], order: [] };
    this.status = { online: null, since: null };
    this.now = null;
    this.songs = [];
    this.health = { at: 0 };
    this.info = {};
    /** Runs of one genre: [start, end, number of the genre], in the order of time. */
    this.numbered = [];
  }

  /** Apply parts of the state; returns their names. */
  merge(state) {
    const parts = Object.keys(state).filter((part) => part !== "node");
    for (const part of parts) {
      if (part === "timeline") this.numbered = decoded(state.timeline, (number) => number);
      else this[part] = state[part];
    }
    if (state.now && !state.timeline) this.extend(state.now);
    return parts;
  }

  // The end of the timeline is not sent: it follows from the current estimate.
  extend({ since, time, genre }) {
    const last = this.numbered.at(-1);
    if (last && last[0] === since) {
      last[1] = time;
    } else if (time > since && (!last || since > last[0])) {
      if (last) last[1] = Math.min(last[1], since);
      this.numbered.push([since, time, genre]);
      if (this.numbered.length > RUNS) this.numbered.shift();
    }
  }

  /** Runs of one genre: [start, end, genre]. */
  get runs() {
    return this.numbered.map(([start, end, number]) => [start, end, this.name(number)]);
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

  name(number) {
    return this.labels.names[number]?.[0] ?? "?";
  }

  /** The colour of a genre, by its name. */
  colour(genre) {
    return drawn(this.labels.names.find(([name]) => name === genre)?.[1] ?? fromName(genre));
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
      ["Level", estimate && level(estimate.level)],
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

  /** The probability of each genre, from 0 to 1, in the order of the model: [genre, share, colour]. */
  get shares() {
    const bars = this.offline ? [] : (this.now?.bars ?? []);
    return this.labels.order.map((number, place) => {
      const name = this.name(number);
      return [name, (bars[place] ?? 0) / 1000, this.colour(name)];
    });
  }

  /** The most probable genres, the most probable first. */
  top(number) {
    const seen = this.shares.filter(([, share]) => share >= SEEN);
    return seen.sort((one, other) => other[1] - one[1]).slice(0, number);
  }

  /** Why the genre is named, or none is. */
  get reason() {
    if (!this.now || this.offline) return "";
    const [first, second] = this.top(2);
    const limit = this.info.certainty > 0 ? ` of ${percent(this.info.certainty)}` : "";
    switch (this.now.held_by) {
      case "silence":
        return "The room is silent.";
      case "steady_noise":
        return "Steady noise, such as a fan, counts as silence.";
      case "starting":
        return "The first seconds of sound are not classified yet.";
      case "not_music":
        return "Recognised as speech or another sound that is not music.";
      case "threshold":
        return `No genre is probable enough: ${first?.[0] ?? "the best"} is below the threshold${limit}.`;
      case "lead": {
        // While no genre is named, the answer that stays is "not music".
        if (!this.named) return `Sound that is not music stays: ${first?.[0]} is more probable, but not by enough.`;
        const [other, share] = this.top(2).find(([name]) => name !== this.name(this.now.genre)) ?? ["", 0];
        const notMusic = 1 - this.shares.reduce((sum, [, each]) => sum + each, 0);
        const leads = share >= notMusic ? other : "sound that is not music";
        return `${this.genre} stays: ${leads} is more probable, but not by enough.`;
      }
    }
    if (!this.named || !first) return "";
    const ahead = second ? Math.round(100 * (first[1] - second[1])) : 0;
    const above = limit ? `Above the threshold${limit}` : "Probable enough";
    return second && ahead > 0 ? `${above}, and ${count(ahead, "point")} ahead of ${second[0]}.` : `${above}.`;
  }

  /** The most probable tags. */
  get tags() {
    return this.playing ? (this.now.tags ?? []) : [];
  }

  /** The bars in words: the three highest. */
  get barsInWords() {
    if (!this.playing) return "Probability of each genre: nothing plays";
    return `Probability of each genre: ${this.top(3).map(([name, share]) => `${name} ${percent(share)}`).join(", ")}`;
  }

  /** The timeline in words: the duration of each genre, the longest first. */
  timelineInWords(now) {
    return `The last ${HOURS} hours: ${inWords(this.runs, now - HOURS * 3600, now)}`;
  }
}
