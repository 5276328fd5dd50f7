// Elements of the page: made with text only, and written only where they differ, because an unchanged page is not painted.

/** A new element with attributes, and children that are elements or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child || child === ""));
  return made;
}

/** Text of an element. */
export function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** Text of an element that is hidden without any. */
export function writeOrHide(place, text) {
  write(place, text);
  place.hidden = !text;
}

/** An attribute. */
export function set(place, attribute, value) {
  if (place.getAttribute(attribute) !== String(value)) place.setAttribute(attribute, value);
}

/** A custom property of the style. */
export function style(place, property, value) {
  if (place.style.getPropertyValue(property) !== String(value)) place.style.setProperty(property, value);
}

/** Least level of a meter, in dBFS. */
export const FLOOR = -70;

/** A level and its peak, in dBFS, on a meter. */
export function drawMeter(meter, level, peak) {
  const share = (decibels) => Math.max(0, Math.min(1, 1 - decibels / FLOOR)).toFixed(3);
  meter.style.setProperty("--level", share(level));
  meter.style.setProperty("--peak", share(peak));
}

/** A genre with its colour. */
export function chip(text, colour) {
  return element("span", { class: "chip", "--c": colour }, text);
}

/** A panel of a view, with a title in its header; `span` is the class of its width. */
export function panel(title, id, span, ...children) {
  return element("section", { class: `panel ${span}`, "aria-labelledby": id }, element("header", {}, element("h2", { id }, title)), ...children);
}

/** Rows of label, bar and share. `update` takes [label, share from 0 to 1, colour] for each. */
export class Bars {
  constructor(place) {
    this.place = place;
    this.rows = [];
  }

  update(values, best = 0) {
    while (this.rows.length < values.length) {
      const row = { label: element("span"), track: element("i"), share: element("b") };
      this.rows.push(row);
      this.place.append(row.label, row.track, row.share);
    }
    while (this.rows.length > values.length) for (const part of Object.values(this.rows.pop())) part.remove();
    values.forEach(([label, share, colour], index) => {
      const row = this.rows[index];
      write(row.label, label);
      set(row.label, "class", share > 0 && share === best ? "best" : "");
      style(row.track, "--c", colour);
      style(row.track, "--share", share);
      write(row.share, share >= 0.005 ? `${Math.round(100 * share)}\u202f%` : "");
    });
  }
}
