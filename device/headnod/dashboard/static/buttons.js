// Buttons of those who may change the listener.

import { mayChange } from "./api.js";
import { element, write } from "./elements.js";

const ASKED = 4000;

/** When the question of each button ends. */
const asked = new Map();

/** A button; `key` finds it again after it is drawn anew. */
export function action(text, run, key = text) {
  return element("button", { type: "button", disabled: !mayChange(), onclick: run, "data-key": key }, text);
}

/** A button that asks first: the second press does it. The question stays open when the button is drawn again. */
export function confirmed(text, question, run, key = text) {
  const draw = () => {
    const left = (asked.get(key) ?? 0) - performance.now();
    write(button, left > 0 ? question : text);
    button.classList.toggle("bad", left > 0);
    if (left > 0) setTimeout(draw, left);
  };
  const press = () => {
    const answered = asked.get(key) > performance.now();
    asked.set(key, answered ? 0 : performance.now() + ASKED);
    draw();
    if (answered) run();
  };
  const button = action(text, press, key);
  draw();
  return button;
}
