// Corrections: the dialog that asks what was played, and the list of what was corrected.

import { get, mayChange, send } from "./api.js";
import { confirmed } from "./buttons.js";
import { chip, element, panel, write } from "./elements.js";
import { at, count, genreInWords, length, on } from "./words.js";

const NOT_MUSIC = "not music";
const KEPT =
  "A correction keeps the label, and what the network computed from this time and from some other windows for comparison: one embedding for each window. It keeps no audio, and none can be made from it. It stays in the state folder of this listener until you delete it.";

/** Ask which genre a song or a moment has, and send the answer. */
export function ask(song, listener, clock) {
  const labels = listener.labels.order.map((number) => listener.name(number));
  const error = element("p", { class: "error", role: "alert" });
  const other = element("input", { type: "text", name: "other", maxlength: 128, autocomplete: "off", "aria-label": "A new label", placeholder: "A new label", list: "known-labels" });
  const choice = (value, ...content) =>
    element("label", {}, element("input", { type: "radio", name: "label", value, checked: value === song.genre, required: true }), ...content);
  const start = element("input", { type: "time", step: 1, name: "start", value: clockTime(song.start), required: true });
  const end = element("input", { type: "time", step: 1, name: "end", value: clockTime(song.end), required: true });
  const save = element("button", { type: "submit", class: "main" }, "Save the correction");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "ask-title" }, "What was it?"),
    element("p", {}, `${listener.node}, ${at(song.start, clock.now())} to ${at(song.end, clock.now())} (${length(song.end - song.start)}): named ${genreInWords(song.genre)}.`),
    element(
      "div",
      { class: "genres", role: "radiogroup", "aria-labelledby": "ask-title" },
      ...labels.map((label) => choice(label, chip(label, listener.colour(label)))),
      choice(NOT_MUSIC, "Not music"),
      choice("", "Something else"),
    ),
    other,
    element("div", { class: "row" }, element("label", {}, "From", start), element("label", {}, "To", end)),
    element("p", { class: "note" }, KEPT),
    error,
    element("div", { class: "row" }, save, element("button", { type: "button", onclick: () => box.close() }, "Cancel")),
  );
  const box = element("dialog", { class: "ask", "aria-labelledby": "ask-title" }, form);
  const radios = [...form.querySelectorAll("[name=label]")];
  const follow = () => (other.hidden = !radios.at(-1).checked);
  form.addEventListener("change", follow);
  follow();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const label = radios.find((radio) => radio.checked)?.value || other.value.trim();
    if (!label) {
      write(error, "Choose a genre, or type a new label.");
      return;
    }
    save.disabled = true;
    try {
      await send("POST", "corrections", { start: moment(song.start, start.value), end: moment(song.end, end.value), label });
      box.close();
      document.dispatchEvent(new Event("corrected"));
    } catch (refused) {
      write(error, refused.message);
    }
    save.disabled = false;
  });
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

/** Build the view into an element. */
export function view(root, context) {
  const list = element("div");
  const sum = element("p", { class: "note" });
  const clear = confirmed("Delete all", "Really delete all?", () => remove("corrections"), "delete all corrections");
  clear.hidden = true;
  const suggested = element("div");
  const teach = element("button", { type: "button", class: "main" }, "Teach a model");
  const taught = element("div", { class: "note", role: "status" });
  const all = panel("Corrections", "list-title", "span-8", list, element("div", { class: "row" }, clear));
  all.firstElementChild.append(sum);
  root.classList.add("columns");
  root.replaceChildren(
    all,
    panel("What is kept", "kept-title", "span-4", element("p", {}, KEPT), element("p", {}, "To take it to a workstation, or to delete it there:"), element("pre", { class: "log" }, "headnod corrections export corrections.npz\nheadnod corrections delete")),
    panel("Most useful to correct", "suggested-title", "span-8", element("p", { class: "note" }, "Moments of the last hours about which the model was least sure. Confirming a right genre helps too."), suggested),
    panel("Teach", "teach-title", "span-4", element("p", {}, "The last layer of the network learns from your corrections, here on the listener. The new model is tested, and runs on probation before it stays."), element("div", { class: "row" }, teach), taught),
  );
  teach.addEventListener("click", start);
  document.addEventListener("corrected", () => read());

  async function read() {
    await show(list, "corrections", draw);
    await show(suggested, "suggestions", drawSuggestions);
    await show(taught, "teach", drawTeaching);
  }

  async function show(place, part, drawn) {
    try {
      drawn(await get(part));
    } catch (error) {
      place.replaceChildren(element("p", { class: "empty" }, error.message));
    }
  }

  function drawSuggestions({ suggestions }) {
    const listener = context.listener();
    const now = context.clock.now();
    suggested.replaceChildren(
      suggestions.length
        ? element(
            "ul",
            { class: "firsts" },
            ...suggestions.map(({ start, end, answer }) =>
              element(
                "li",
                {},
                element("span", {}, `${at(start, now)}, ${length(end - start)}: `, answer === NOT_MUSIC ? answer : chip(answer, listener.colour(answer))),
                element("button", { type: "button", class: "quiet", "aria-label": `Correct ${answer} at ${at(start, now)}`, onclick: () => context.correct({ start, end, genre: answer }) }, "Correct"),
              ),
            ),
          )
        : element("p", { class: "empty" }, "There is nothing to suggest yet: music must play first."),
    );
  }

  function drawTeaching({ running, result }) {
    teach.disabled = running || !mayChange();
    const lines = running ? ["A model is being taught…"] : [result?.error || (result?.model && `${result.model} is on probation.`), ...(result?.summary ?? [])].filter(Boolean);
    taught.replaceChildren(...lines.map((line) => element("p", {}, line)));
    if (running) setTimeout(() => show(taught, "teach", drawTeaching), 3000);
  }

  async function start() {
    try {
      await send("POST", "teach");
    } catch (error) {
      context.failed(error);
    }
    show(taught, "teach", drawTeaching);
  }

  function draw(answer) {
    const all = answer.corrections;
    write(sum, answer.count ? count(answer.count, "correction") : "");
    clear.hidden = !all.length || !mayChange();
    if (!all.length) {
      list.replaceChildren(element("p", { class: "empty" }, "Nothing was corrected yet."));
      return;
    }
    const listener = context.listener();
    list.replaceChildren(
      element(
        "table",
        { class: "songs" },
        element("thead", {}, element("tr", {}, ...["When", "Label", "Length", "Windows", ""].map((text) => element(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
        element("tbody", {}, ...all.map((each) => row(each, listener))),
      ),
    );
  }

  function row(each, listener) {
    const when = `${on(each.start)}, ${clockTime(each.start).slice(0, 5)}`;
    const button = confirmed("Delete", "Really delete?", () => remove(`corrections/${each.id}`), `delete correction ${each.id}`);
    button.classList.add("quiet");
    button.title = `Delete the correction of ${when}`;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, when),
      element("td", {}, each.label === NOT_MUSIC ? "not music" : chip(each.label, listener.colour(each.label))),
      element("td", { class: "number" }, length(each.end - each.start)),
      element("td", { class: "windows" }, String(each.windows)),
      mayChange() && element("td", {}, button),
    );
  }

  async function remove(path) {
    try {
      await send("DELETE", path);
      await read();
    } catch (error) {
      context.failed(error);
    }
  }

  return { show: read };
}

function clockTime(seconds) {
  return new Date(seconds * 1000).toTimeString().slice(0, 8);
}

// The given time of day, next to a moment.
function moment(near, text) {
  const [hours, minutes, seconds = 0] = text.split(":").map(Number);
  if (clockTime(near) === clockTime(new Date(near * 1000).setHours(hours, minutes, seconds) / 1000)) return near;
  const found = new Date(near * 1000).setHours(hours, minutes, seconds, 0) / 1000;
  const day = 86_400;
  return [found - day, found, found + day].reduce((one, other) => (Math.abs(other - near) < Math.abs(one - near) ? other : one));
}
