// Settings of the listener that serves the page: listening, outputs, models, microphone, configuration and log.

import { get, mayChange, send } from "./api.js";
import { action, confirmed } from "./buttons.js";
import { element, panel, set, write } from "./elements.js";
import { Placement } from "./placement.js";
import { at, count, percent, stateInWords } from "./words.js";

const HOUR = 3600;
const PLACEMENT_EVERY = 5000;
const SETTLED = 300;
const TESTING = new Set(["received", "verified", "tested"]);
const TRIES = 30;

/** Build the view into an element. */
export function view(root, context) {
  return new Settings(root, context);
}

class Settings {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.controls = {};
    this.wanted = "";
    this.note = element("p", { class: "panel span-12 note", role: "status", hidden: true });
    this.begun = {};
    this.place = {};
    for (const name of ["listening", "outputs", "models", "microphone", "configuration", "log"]) this.place[name] = element("div");
    this.placement = new Placement();
    this.place.listening.addEventListener("focusout", () => {
      if (!this.behind) return;
      this.behind = false;
      setTimeout(() => this.drawListening());
    });
    root.classList.add("columns");
    root.replaceChildren(
      this.note,
      this.panel("Listening", "listening", "span-6"),
      this.panel("Outputs", "outputs", "span-6"),
      this.panel("Model", "models", "span-6"),
      this.panel("Microphone", "microphone", "span-6", this.placement.root),
      this.panel("Configuration", "configuration", "span-12"),
      this.panel("Log", "log", "span-12"),
    );
  }

  panel(title, name, span, ...more) {
    return panel(title, `${name}-title`, span, this.place[name], ...more);
  }

  show() {
    this.say("");
    this.read("controls", (controls) => this.update(controls));
    this.read("models", (answer) => this.drawModels(answer));
    this.read("microphones", (answer) => this.drawMicrophones(answer));
    this.read("configuration", (answer) => this.drawConfiguration(answer));
    this.readLog(this.logHours ?? 2);
    this.polling ??= setInterval(() => this.poll(), PLACEMENT_EVERY);
  }

  // The help with placing the microphone is live while it is shown.
  async poll() {
    if (this.root.hidden || document.hidden || this.place.microphone.contains(document.activeElement)) return;
    this.read("microphones", (answer) => this.drawMicrophones(answer));
  }

  /** A column of the spectrum, for the help with placing the microphone. */
  showSpectrum(column) {
    this.placement.add(column);
  }

  say(text) {
    this.note.hidden = !text;
    write(this.note, text);
  }

  async read(part, draw) {
    const place = this.place[part] ?? this.place[{ controls: "listening", microphones: "microphone" }[part]];
    const latest = this.begin(part);
    try {
      const answer = await get(part);
      if (latest()) draw(answer);
      return answer;
    } catch (error) {
      if (latest()) place.replaceChildren(element("p", { class: "empty" }, error.message));
    }
  }

  // Answers come in any order: one that was requested before a change must not be drawn after it.
  begin(part) {
    const number = (this.begun[part] ?? 0) + 1;
    this.begun[part] = number;
    return () => this.begun[part] === number;
  }

  /** Send a change, and show what the listener answers. */
  async change(method, path, body, done = "") {
    this.begin(path);
    try {
      const answer = await send(method, path, body);
      this.say(done);
      return answer ?? {};
    } catch (error) {
      this.say(error.message);
      this.read("controls", (controls) => this.update(controls));
      return null;
    }
  }

  // The listener applies a change in its own loop, and then sends the controls as they are.
  async patch(part) {
    const answer = await this.change("PATCH", "controls", part);
    if (!answer) return;
    const outputs = (this.controls.outputs ?? []).map((each) => ({ ...each, ...part.outputs?.find(({ name }) => name === each.name) }));
    this.update({ ...this.controls, ...part, outputs });
  }

  /** Show the controls as the listener has them. */
  update(controls) {
    const before = this.controls.model?.active;
    this.controls = controls;
    if (before && before !== controls.model?.active) this.read("models", (answer) => this.drawModels(answer));
    // A field in which a person is typing or moving stays as it is.
    if (this.place.listening.contains(document.activeElement) && document.activeElement.matches("input")) this.behind = true;
    else this.drawListening();
    this.drawOutputs();
  }

  drawListening() {
    const { paused, pause_reason: reason, threshold, model_threshold: own, brightness, outputs } = this.controls;
    const now = this.context.clock.now();
    const resting = paused || Boolean(reason);
    const rows = [
      setting("Pause", reason || (paused ? "paused" : "The listener makes no estimates while it is paused."), [
        action(resting ? "Resume" : "Pause", () => this.patch({ paused: !resting, pause_reason: undefined }), "pause"),
        !resting && action("For an hour", () => this.patch({ paused_until: Math.round(now + HOUR) })),
      ]),
      this.quietHours(),
      slider("Threshold", "threshold", threshold, `A genre is named from this probability on${own ? `; the model's own is ${percent(own)}` : ""}.`, (value) => this.patch({ threshold: value })),
      (outputs ?? []).some(({ name }) => name.startsWith("leds")) && slider("Brightness of the lights", "brightness", brightness, "", (value) => this.patch({ brightness: value })),
      setting("Restart", "The listener starts again; a song that plays is ended.", [
        confirmed("Restart", "Really restart?", () => this.change("POST", "restart", {}, "The listener restarts. This page reconnects by itself.")),
      ]),
    ];
    redraw(this.place.listening, rows.filter(Boolean));
  }

  quietHours() {
    const hours = this.controls.quiet_hours ?? [];
    const inputs = hours.map(([begin, end], index) => {
      const change = () => {
        const next = hours.map((each) => [...each]);
        next[index] = [from.value, to.value];
        if (from.value && to.value && from.value !== to.value) this.patch({ quiet_hours: next });
      };
      const from = element("input", { type: "time", value: begin, "aria-label": "Quiet from", onchange: change, disabled: !mayChange() });
      const to = element("input", { type: "time", value: end, "aria-label": "Quiet to", onchange: change, disabled: !mayChange() });
      const remove = action("×", () => this.patch({ quiet_hours: hours.filter((_, each) => each !== index) }));
      remove.setAttribute("aria-label", `Remove the quiet hours from ${begin} to ${end}`);
      return element("span", { class: "row" }, from, "to", to, remove);
    });
    const add = action("Add", () => this.patch({ quiet_hours: [...hours, ["22:00", "07:00"]] }));
    return setting("Quiet hours", "Every day the listener pauses between these times.", [...inputs, hours.length < 4 && add]);
  }

  drawOutputs() {
    const outputs = this.controls.outputs ?? [];
    redraw(this.place.outputs, [
      ...outputs.map(({ name, kind, on }) => {
        const box = element("input", { type: "checkbox", id: `output-${name}`, role: "switch", checked: on, disabled: !mayChange(), "data-key": name });
        box.addEventListener("change", () => this.patch({ outputs: [{ name, on: box.checked }] }));
        return element("div", { class: "setting" }, element("div", {}, element("label", { for: box.id }, name), kind && kind !== name && element("p", { class: "note" }, kind)), element("div", { class: "value" }, box));
      }),
      outputs.length ? "" : element("p", { class: "empty" }, "This listener has no output that can be switched."),
    ]);
  }

  drawModels({ models, agreement, step }) {
    const again = (left = TRIES) =>
      setTimeout(async () => {
        const next = await this.read("models", (answer) => this.drawModels(answer));
        if (next && left && (!next.step || TESTING.has(next.step.stage) || describe(next.step) === describe(step ?? {}))) again(left - 1);
      }, 2000);
    const rows = models.map(({ model, serial, origin, active, offered, probation, previous, shadow }) => {
      const badges = [
        active && "active",
        probation > 0 && `on probation, ${count(probation, "window")} left`,
        offered && "offered",
        shadow && "shadow",
        previous && "previous",
      ].filter(Boolean);
      const activate = async () => {
        if (await this.change("POST", "models/activate", { model }, `${model} is tried. If it passes its self-test, it is active from then on.`)) again();
      };
      return setting(model, serial ? `${origin}, serial ${serial}` : origin, [
        ...badges.map((badge) => element("span", { class: badge === "active" ? "badge on" : "badge" }, badge)),
        !active && confirmed("Activate", "Really activate?", activate, `activate ${model}`),
      ]);
    });
    const rollback = async () => {
      if (await this.change("POST", "models/rollback", {}, "The previous model is activated.")) again();
    };
    redraw(this.place.models, [
      ...rows,
      step ? setting("Last change", `${step.model}: ${stateInWords(step.stage)}: ${step.message}`, []) : "",
      agreement ? setting("Agreement of the shadow", describe(agreement), []) : "",
      models.some(({ previous }) => previous) ? setting("Roll back", "The previous model is active again.", [confirmed("Roll back", "Really roll back?", rollback)]) : "",
    ]);
  }

  drawMicrophones(answer) {
    const { chosen, replaced, devices, unavailable } = answer;
    const choice = element("select", { "aria-label": "Microphone", disabled: !mayChange() || replaced });
    const known = devices.some(({ name, others }) => name === chosen || others.includes(chosen));
    choice.append(
      element("option", { value: "" }, "The likeliest one"),
      ...(chosen && !known ? [element("option", { value: chosen, selected: true }, `${chosen} (not found)`)] : []),
      ...devices.map(({ name, others }) => element("option", { value: name, selected: name === chosen || others.includes(chosen) }, name)),
    );
    choice.addEventListener("change", () => this.change("POST", "microphone", { device: choice.value }, "The microphone is changed; the listener opens it now."));
    const note = replaced ? "The configuration names a command or an address in place of a microphone." : devices.length ? "" : "No microphone was found.";
    this.place.microphone.replaceChildren(
      setting("Device", note, [choice]),
      ...unavailable.map(({ names, reason }) => setting(names[0], reason, [])),
    );
    this.placement.report(answer);
  }

  drawConfiguration({ file, values }) {
    this.local = file;
    const search = element("input", { type: "search", placeholder: "Filter keys", "aria-label": "Filter keys", value: this.wanted });
    const rows = values.map((each) => this.keyRow(each));
    const filter = () => {
      this.wanted = search.value;
      const text = search.value.trim().toLowerCase();
      rows.forEach((row, index) => (row.hidden = !`${values[index].key} ${values[index].origin}`.toLowerCase().includes(text)));
    };
    search.addEventListener("input", filter);
    filter();
    this.place.configuration.replaceChildren(
      element("p", { class: "note" }, `What is changed here is written to ${file}; your own file stays as it is.`),
      element("div", { class: "row" }, search),
      element(
        "div",
        { class: "scroll keys", tabindex: 0, role: "region", "aria-label": "Keys of the configuration" },
        element("table", { class: "table" }, element("thead", {}, element("tr", {}, ...["Key", "Value", "Origin"].map((text) => element("th", { scope: "col" }, text)))), element("tbody", {}, ...rows)),
      ),
    );
  }

  keyRow({ key, value, origin, changeable }) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("code", {}, key)),
      element("td", {}, changeable && mayChange() ? this.keyInput(key, value, text) : element("code", {}, text === "" ? "(empty)" : text)),
      element("td", {}, origin, " ", changeable && mayChange() && origin.startsWith(this.local) && action("Undo", () => this.configure({ [key]: null }, `${key} has the value of your own file, or its default, again.`))),
    );
  }

  keyInput(key, value, text) {
    const kind = typeof value;
    const input =
      kind === "boolean"
        ? element("input", { type: "checkbox", role: "switch", checked: value, "aria-label": key })
        : element("input", { type: kind === "number" ? "number" : "text", step: "any", value: text, "aria-label": key });
    input.addEventListener("change", async () => {
      const next = { boolean: () => input.checked, number: () => input.valueAsNumber, string: () => input.value }[kind]?.() ?? parsed(input.value);
      await this.configure({ [key]: next }, `${key} is changed.`);
    });
    return input;
  }

  async configure(values, done) {
    const answer = await this.change("PATCH", "configuration", { values }, done);
    if (answer) this.drawConfiguration(answer);
    else this.read("configuration", (configuration) => this.drawConfiguration(configuration));
  }

  async readLog(hours) {
    this.logHours = hours;
    const choice = element(
      "div",
      { class: "choice", role: "group", "aria-label": "Hours of the log" },
      ...[1, 2, 12, 24].map((each) => element("button", { type: "button", "aria-pressed": String(each === hours), onclick: () => this.readLog(each) }, `${each} h`)),
    );
    let body;
    try {
      const answer = await get(`log?hours=${hours}`);
      const now = this.context.clock.now();
      const texts = answer.lines.map(({ time, level, message }) => [at(time, now), level === "info" ? "" : level.toUpperCase(), message].filter(Boolean).join("  "));
      body = element("pre", { class: "log", tabindex: 0, role: "region", "aria-label": "Lines of the log" }, texts.join("\n") || "Nothing was logged in this time.");
    } catch (error) {
      body = element("p", { class: "empty" }, error.message);
    }
    this.place.log.replaceChildren(element("div", { class: "row" }, choice), body);
    body.scrollTop = body.scrollHeight;
  }
}

function setting(name, note, parts) {
  return element("div", { class: "setting" }, element("div", {}, element("p", { class: "name" }, name), note && element("p", { class: "note" }, note)), element("div", { class: "value" }, ...parts));
}

// Draw again, and keep the place of the keyboard.
function redraw(place, parts) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...parts);
  if (key) [...place.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key)?.focus();
}

function slider(name, id, value, note, send) {
  const output = element("output", { for: id });
  const range = element("input", { type: "range", id, min: 0, max: 1, step: 0.01, value: value ?? 0, disabled: !mayChange() });
  const show = () => {
    write(output, percent(range.valueAsNumber));
    set(range, "aria-valuetext", output.textContent);
  };
  show();
  range.addEventListener("input", show);
  // Each key is a change; one is sent for many.
  let waiting;
  range.addEventListener("change", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => send(range.valueAsNumber), SETTLED);
  });
  return element("div", { class: "setting" }, element("div", {}, element("label", { for: id }, name), note && element("p", { class: "note" }, note)), element("div", { class: "value" }, range, output));
}

function describe(state) {
  return Object.entries(state)
    .map(([name, value]) => `${stateInWords(name)} ${value}`)
    .join(", ");
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
