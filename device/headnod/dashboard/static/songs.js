// The list of songs: start, genre, length, stability and tags, and a way to correct each.

import { chip, element } from "./elements.js";
import { at, genreInWords, length, percent } from "./words.js";

const SHOWN = 12;

/**
 * A table of songs, the latest first.
 * @param {{colour: function(string): string, correct?: function(object): void, now: number, all?: Set<string>}} options
 *   Where `all` is not empty, every song is listed; the button for that fills it.
 */
export function songTable(songs, { colour, correct, now, all = new Set() }) {
  const body = element("tbody");
  const ordered = songs.toReversed();
  const tagged = songs.some((song) => song.tags?.length);
  const add = (some) => body.append(...some.map((song) => row(song, { colour, correct, now, tagged })));
  const shown = all.size ? ordered.length : SHOWN;
  add(ordered.slice(0, shown));
  const heads = ["Start", "Genre", "Length", "Stability", ...(tagged ? ["Tags"] : []), ...(correct ? [""] : [])];
  const table = element(
    "table",
    { class: "songs" },
    element("thead", {}, element("tr", {}, ...heads.map((text) => element(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
    body,
  );
  const rest = ordered.slice(shown);
  const showRest = (event) => {
    all.add("songs");
    add(rest);
    event.target.remove();
    body.children[SHOWN].querySelector("button")?.focus();
  };
  const more = rest.length > 0 && element("button", { type: "button", class: "more", onclick: showRest }, `Show ${rest.length} earlier songs`);
  return element("div", { class: "song-list" }, table, more);
}

function row(song, { colour, correct, now, tagged }) {
  const sure = song.confidence == null ? "" : `, probability ${percent(song.confidence)}`;
  const share = song.stability ?? 0;
  return element(
    "tr",
    { class: song.playing ? "present" : "" },
    element("th", { scope: "row" }, song.clock_synchronised === false ? `${at(song.start, now)} ?` : at(song.start, now)),
    element("td", {}, chip(genreInWords(song.genre), colour(song.genre))),
    element("td", { class: "number" }, length(song.end - song.start)),
    element(
      "td",
      { class: "stability" },
      song.playing
        ? element("span", { class: "plays" }, "playing")
        : element("span", { class: "share", "--share": share, "--c": colour(song.genre), title: `Stability ${percent(share)}${sure}` }, percent(share)),
    ),
    tagged && element("td", { class: "song-tags" }, (song.tags ?? []).join(", ")),
    correct &&
      element(
        "td",
        {},
        element(
          "button",
          { type: "button", class: "quiet", "aria-label": `Correct ${song.genre} at ${at(song.start, now)}`, onclick: () => correct(song) },
          "Correct",
        ),
      ),
  );
}
