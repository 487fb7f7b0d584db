// Create elements and update them in place, so that focus, selection and open details are kept.
// All text is set as text, never parsed as HTML: nothing from the server can become markup.

import { UNKNOWN } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svgElement(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Set the text only if it differs: no layout, and no repeated announcement by a screen reader.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Set the text of a table cell. Narrow layouts hide cells with an unknown value.
export function setCell(cell, text) {
  setText(cell, text);
  setAttribute(cell, "data-unknown", text === UNKNOWN);
}

// Set an attribute only if it differs. null and false remove it; true sets it without a value.
export function setAttribute(node, name, value) {
  if (value === null || value === false) {
    node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value === true ? "" : value);
  }
}

export function setVisible(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// A header cell and a data cell. The roles keep the table a table for assistive software where a
// narrow screen lays it out as a grid.
export function columnHeader(text, attributes = {}) {
  return element("th", { scope: "col", role: "columnheader", ...attributes }, text);
}

export function tableCell(label, attributes = {}, ...children) {
  return element("td", { role: "cell", "data-label": label, ...attributes }, ...children);
}

// A list of child nodes, one per item, matched by key. `createView(item)` returns a view
// `{ node, update(item) }`. Nodes are reused, and moved only when the order changes.
export class KeyedList {
  #parent;
  #createView;
  #header;
  #views = new Map();

  // The nodes follow `header`, or are the first children of `parent` if it is null.
  constructor(parent, createView, header = null) {
    this.#parent = parent;
    this.#createView = createView;
    this.#header = header;
  }

  update(items, getKey) {
    this.#removeExcept(new Set(items.map(getKey)));
    let previous = this.#header;
    for (const item of items) {
      const view = this.#getOrCreate(getKey(item), item);
      view.update(item);
      const next = previous === null ? this.#parent.firstChild : previous.nextSibling;
      if (next !== view.node) this.#parent.insertBefore(view.node, next);
      previous = view.node;
    }
  }

  get(key) {
    return this.#views.get(key);
  }

  values() {
    return this.#views.values();
  }

  #removeExcept(keys) {
    for (const [key, view] of this.#views) {
      if (keys.has(key)) continue;
      view.node.remove();
      this.#views.delete(key);
    }
  }

  #getOrCreate(key, item) {
    if (!this.#views.has(key)) this.#views.set(key, this.#createView(item));
    return this.#views.get(key);
  }
}
