// Settings of the listener that serves the page: listening, outputs, models, microphone, configuration and log.

import { get, mayChange, send } from "./api.js";
import { element, set, write } from "./elements.js";
import { Placement } from "./placement.js";
import { at, percent, stateInWords } from "./words.js";

const HOUR = 3600;

/** Build the view into an element. */
export function view(root, context) {
  return new Settings(root, context);
}

class Settings {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.controls = {};
    this.note = element("p", { class: "panel span-12 note", role: "status", hidden: true });
    this.place = {};
    for (const name of ["listening", "outputs", "models", "microphone", "configuration", "log"]) this.place[name] = element("div");
    this.placement = new Placement();
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
    const id = `${name}-title`;
    return element("section", { class: `panel ${span}`, "aria-labelledby": id }, element("header", {}, element("h2", { id }, title)), this.place[name], ...more);
  }

  show() {
    this.say(mayChange() ? "" : "These settings can be changed by the owner. You are reading.");
    this.read("controls", (controls) => this.update(controls));
    this.read("models", (answer) => this.drawModels(answer));
    this.read("microphones", (answer) => this.drawMicrophones(answer));
    this.read("configuration", (answer) => this.drawConfiguration(answer));
    this.readLog(this.logHours ?? 2);
  }

  /** A column of the spectrum, for the help with placing the microphone. */
  hear(column) {
    this.placement.add(column);
  }

  say(text) {
    this.note.hidden = !text;
    write(this.note, text);
  }

  async read(part, draw) {
    const place = this.place[part] ?? this.place[{ controls: "listening", microphones: "microphone" }[part]];
    try {
      draw(await get(part));
    } catch (error) {
      place.replaceChildren(element("p", { class: "empty" }, error.message));
    }
  }

  /** Send a change, and show what the listener answers. */
  async change(method, path, body, done = "") {
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

  async patch(part) {
    const answer = await this.change("PATCH", "controls", part);
    if (answer) this.update({ ...this.controls, ...part, ...answer });
  }

  /** Show the controls as the listener has them. */
  update(controls) {
    this.controls = controls;
    // What a person is typing in stays as it is.
    if (this.place.listening.contains(document.activeElement) && document.activeElement.matches("input")) return;
    this.drawListening();
    this.drawOutputs();
  }

  drawListening() {
    const { paused, paused_until: until, threshold, brightness } = this.controls;
    const now = this.context.clock.now();
    const rows = [
      setting("Pause", paused ? (until ? `paused until ${at(until, now)}` : "paused until it is resumed") : "The listener makes no estimates while it is paused.", [
        action(paused ? "Resume" : "Pause", () => this.patch({ paused: !paused, paused_until: null })),
        !paused && action("For an hour", () => this.patch({ paused: true, paused_until: Math.round(now + HOUR) })),
      ]),
      this.quietHours(),
      slider("Threshold", "threshold", threshold, "A genre is named from this probability on; 0 takes that of the model.", (value) => this.patch({ threshold: value })),
      brightness != null && slider("Brightness of the lights", "brightness", brightness, "", (value) => this.patch({ brightness: value })),
      setting("Restart", "The listener starts again; a song that plays is ended.", [
        confirmed("Restart", "Really restart?", async () => (await this.change("POST", "restart", {}, "The listener restarts. This page reconnects by itself.")) && undefined),
      ]),
    ];
    this.place.listening.replaceChildren(...rows.filter(Boolean));
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
    this.place.outputs.replaceChildren(
      ...outputs.map(({ name, kind, on }) => {
        const box = element("input", { type: "checkbox", id: `output-${name}`, role: "switch", checked: on, disabled: !mayChange() });
        box.addEventListener("change", () => this.patch({ outputs: [{ name, on: box.checked }] }).then(() => this.read("controls", (controls) => this.update(controls))));
        return element("div", { class: "setting" }, element("div", {}, element("label", { for: box.id }, name), kind && kind !== name && element("p", { class: "note" }, kind)), element("div", { class: "value" }, box));
      }),
      outputs.length ? "" : element("p", { class: "empty" }, "This listener has no output that can be switched."),
    );
  }

  drawModels(answer) {
    const models = Array.isArray(answer) ? answer : (answer.models ?? []);
    const again = () => this.read("models", (next) => this.drawModels(next));
    const rows = models.map((model) => {
      const badges = [
        model.active && "active",
        model.probation && "on probation",
        model.offered && "offered",
        model.shadow && "shadow",
      ].filter(Boolean);
      const detail = [model.title ?? model.description, model.message].filter(Boolean).join(" ");
      return element(
        "div",
        { class: "setting" },
        element("div", {}, element("p", { class: "name" }, model.name), detail && element("p", { class: "note" }, detail)),
        element(
          "div",
          { class: "value" },
          ...badges.map((badge) => element("span", { class: badge === "active" ? "badge on" : "badge" }, badge)),
          !model.active &&
            confirmed("Activate", `Really activate?`, async () => {
              if (await this.change("POST", "models/activate", { model: model.name }, `${model.name} is tried; if it passes its self-test it listens from then on.`)) setTimeout(again, 2000);
            }),
        ),
      );
    });
    const state = Array.isArray(answer) ? {} : answer;
    const facts = [
      state.probation && typeof state.probation === "object" && ["Probation", describe(state.probation)],
      state.shadow && typeof state.shadow === "object" && ["Shadow", describe(state.shadow)],
      state.message && ["Last step", state.message],
    ].filter(Boolean);
    this.place.models.replaceChildren(
      ...(rows.length ? rows : [element("p", { class: "empty" }, "No model can be chosen here.")]),
      ...facts.map(([name, text]) => setting(name, text, [])),
      setting("Roll back", "The model before the active one listens again.", [
        confirmed("Roll back", "Really roll back?", async () => {
          if (await this.change("POST", "models/rollback", {}, "The previous model is activated.")) setTimeout(again, 2000);
        }),
      ]),
    );
  }

  drawMicrophones(answer) {
    const found = Array.isArray(answer) ? answer : (answer.microphones ?? []);
    const chosen = (Array.isArray(answer) ? this.controls.microphone?.device : (answer.configured ?? answer.device)) ?? "";
    const choice = element("select", { "aria-label": "Microphone", disabled: !mayChange() });
    choice.append(
      element("option", { value: "" }, "The likeliest one"),
      ...found.map((each) => {
        const device = each.device ?? each.id ?? each.name ?? each;
        const name = each.name && each.name !== device ? `${each.name} (${device})` : device;
        return element("option", { value: device, selected: device === chosen || each.selected === true }, name);
      }),
    );
    choice.addEventListener("change", () => this.change("POST", "microphone", { device: choice.value }, "The microphone is changed."));
    this.place.microphone.replaceChildren(setting("Device", found.length ? "" : "No microphone was found.", [choice]));
  }

  drawConfiguration(answer) {
    const keys = Array.isArray(answer) ? answer : (answer.keys ?? []);
    const search = element("input", { type: "search", placeholder: "Filter keys", "aria-label": "Filter keys" });
    const rows = keys.map((each) => this.keyRow(each));
    search.addEventListener("input", () => {
      const text = search.value.trim().toLowerCase();
      rows.forEach((row, index) => (row.hidden = !`${keys[index].key} ${keys[index].origin}`.toLowerCase().includes(text)));
    });
    this.place.configuration.replaceChildren(
      element("p", { class: "note" }, "Changes are written to headnod.local.toml beside the state; your own file stays as it is."),
      element("div", { class: "row" }, search),
      element(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "Configuration" },
        element("table", { class: "table" }, element("thead", {}, element("tr", {}, ...["Key", "Value", "Origin"].map((text) => element("th", { scope: "col" }, text)))), element("tbody", {}, ...rows)),
      ),
    );
  }

  keyRow({ key, value, origin, changeable, help, doc }) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const about = help ?? doc;
    let field = element("code", {}, text === "" ? "(empty)" : text);
    if (changeable && mayChange()) {
      const input =
        typeof value === "boolean"
          ? element("input", { type: "checkbox", role: "switch", checked: value, "aria-label": key })
          : element("input", { type: typeof value === "number" ? "number" : "text", step: "any", value: text, "aria-label": key });
      input.addEventListener("change", async () => {
        const next = typeof value === "boolean" ? input.checked : typeof value === "number" ? Number(input.value) : typeof value === "string" ? input.value : parsed(input.value);
        const answer = await this.change("PATCH", "configuration", { [key]: next }, `${key} is changed in headnod.local.toml.`);
        if (answer) this.read("configuration", (configuration) => this.drawConfiguration(configuration));
      });
      field = input;
    }
    return element("tr", {}, element("th", { scope: "row" }, element("code", {}, key), about && element("p", { class: "note" }, about)), element("td", {}, field), element("td", {}, origin ?? "default"));
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
      const lines = Array.isArray(answer) ? answer : (answer.lines ?? []);
      const now = this.context.clock.now();
      const texts = lines.map((line) => (typeof line === "string" ? line : [line.time && at(line.time, now), line.level, line.message ?? line.text].filter(Boolean).join("  ")));
      body = element("pre", { class: "log", tabindex: 0, role: "region", "aria-label": "Log" }, texts.join("\n") || "Nothing was logged in this time.");
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

function action(text, run) {
  return element("button", { type: "button", disabled: !mayChange(), onclick: run }, text);
}

// The first press asks, the second does it.
function confirmed(text, question, run) {
  const button = action(text, async () => {
    if (button.textContent === text) {
      write(button, question);
      button.classList.add("bad");
      setTimeout(() => (write(button, text), button.classList.remove("bad")), 4000);
      return;
    }
    await run();
  });
  return button;
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
  range.addEventListener("change", () => {
    range.blur();
    send(range.valueAsNumber);
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
