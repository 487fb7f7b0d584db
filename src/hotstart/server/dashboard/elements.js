// Elements are made here and changed in place, so that focus, selection and open details stay.
// Text goes in as text alone: nothing that a server says is ever read as markup.

import { UNKNOWN } from "./wording.js";

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) mark(node, name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Writes only what differs: an unchanged figure costs no layout and is not read out again.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A figure in a cell: where room is scarce, what is not known is left out.
export function tell(cell, text) {
  say(cell, text);
  mark(cell, "data-unknown", text === UNKNOWN);
}

// null and false take the attribute away.
export function mark(node, name, value) {
  if (value === null || value === false) {
    node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value === true ? "" : value);
  }
}

export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

// The children of `parent` that follow `after`, one for each item, known again by key. `make(item)`
// gives a view: `{ node, update(item) }`. A view moves only where the order has changed.
export class Kept {
  #parent;
  #make;
  #after;
  #views = new Map();

  constructor(parent, make, after = null) {
    this.#parent = parent;
    this.#make = make;
    this.#after = after;
  }

  update(items, keyOf) {
    this.#drop(new Set(items.map(keyOf)));
    let before = this.#after;
    for (const item of items) {
      const view = this.#view(keyOf(item), item);
      view.update(item);
      const place = before === null ? this.#parent.firstChild : before.nextSibling;
      if (place !== view.node) this.#parent.insertBefore(view.node, place);
      before = view.node;
    }
  }

  get(key) {
    return this.#views.get(key);
  }

  values() {
    return this.#views.values();
  }

  #drop(wanted) {
    for (const [key, view] of this.#views) {
      if (wanted.has(key)) continue;
      view.node.remove();
      this.#views.delete(key);
    }
  }

  #view(key, item) {
    if (!this.#views.has(key)) this.#views.set(key, this.#make(item));
    return this.#views.get(key);
  }
}

// A table keeps its meaning for assistive software when a narrow screen lays it out as a grid.
export function heading(text, attributes = {}) {
  return element("th", { scope: "col", role: "columnheader", ...attributes }, text);
}

export function cell(label, attributes = {}, ...children) {
  return element("td", { role: "cell", "data-label": label, ...attributes }, ...children);
}
