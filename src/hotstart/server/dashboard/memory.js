// Who holds the memory: the largest models, the rest together.

import { byId, cell, drawn, element, heading, Kept, mark, say } from "./elements.js";
import { bytes, count, share } from "./wording.js";

const SHOWN = 12;

export class Memory {
  #rows;

  constructor() {
    byId("memory-columns").append(
      heading("Model"),
      heading("Memory", { class: "number" }),
      heading("Of the process", { class: "number" }),
      element("td", { class: "way", "aria-hidden": "true" }),
    );
    this.#rows = new Kept(byId("memories"), () => new Holder());
  }

  update({ service, models }) {
    const holders = models.filter(({ memory }) => memory > 0).sort((a, b) => b.memory - a.memory);
    const shown = holders.slice(0, SHOWN);
    const scale = { most: shown[0]?.memory, rss: service.memory.rss };
    this.#rows.update(shown.map((model) => ({ model, ...scale })), ({ model }) => model.name);
    say(byId("memory-rest"), rest(holders.slice(SHOWN)) || (shown.length ? "" : "No model holds any."));
  }
}

function rest(models) {
  if (models.length === 0) return "";
  const held = models.reduce((sum, { memory }) => sum + memory, 0);
  return `and ${count(models.length)} smaller ones, ${bytes(held)} together`;
}

class Holder {
  constructor() {
    this.name = element("th", { scope: "row", role: "rowheader" });
    this.held = cell("Memory", { class: "number" });
    this.part = cell("Of the process", { class: "number" });
    this.bar = drawn("rect", { class: "held", x: 0, height: "100%", rx: 2 });
    this.node = element("tr", { role: "row" }, this.name, this.held, this.part,
      element("td", { class: "way", "aria-hidden": "true" }, drawn("svg", { class: "lane" }, this.bar)));
  }

  update({ model, most, rss }) {
    say(this.name, model.name);
    say(this.held, bytes(model.memory));
    say(this.part, share(rss ? model.memory / rss : null));
    mark(this.bar, "width", `${((100 * model.memory) / most).toFixed(2)}%`);
  }
}
