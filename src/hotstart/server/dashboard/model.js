// One model: a row of the table, and what is behind it once it was opened.

import { cell, element, mark, say, show, tell } from "./elements.js";
import { Inside } from "./inside.js";
import { current, laid, Lane, running } from "./timeline.js";
import { bytes, count, listed, seconds, share, UNKNOWN } from "./wording.js";

// All columns of the table.
const WIDTH = 10;

let made = 0;

export class Model {
  #known;
  #model;
  #admin = false;
  #inside = null;

  constructor({ model }, known) {
    this.#known = known;
    this.#model = model;
    const id = `model-${(made += 1)}`;
    this.button = element("button",
      { type: "button", class: "name", "aria-expanded": "false", "aria-controls": id }, model.name);
    this.button.addEventListener("click", () => this.#toggle());
    this.what = element("span", { class: "what quiet" });
    this.state = element("span", { class: "state" });
    this.reason = element("span", { class: "reason quiet" });
    this.remedy = element("span", { class: "remedy" });
    this.progress = element("progress", { hidden: true, "aria-label": `Load of ${model.name}` });
    this.lane = new Lane();
    this.took = element("span", { class: "number took" });
    const number = (label) => cell(label, { class: "number" });
    this.load = cell("Load", { class: "load" }, element("div", {}, this.lane.node, this.took));
    this.version = cell("Version", { class: "number lines" });
    this.memory = number("Memory");
    this.calls = number("Calls");
    this.p50 = number("p50");
    this.p99 = number("p99");
    this.waiting = number("Waiting");
    this.cache = number("Cache");
    this.row = element("tr", { role: "row", class: "row" },
      element("th", { scope: "row", role: "rowheader", class: "who" }, this.button, this.what),
      cell("State", { class: "how" }, this.state, this.reason, this.remedy, this.progress),
      this.load, this.version, this.memory, this.calls, this.p50, this.p99, this.waiting, this.cache);
    this.behind = element("td", { role: "cell", colspan: WIDTH });
    this.more = element("tr", { role: "row", class: "more", id, hidden: true }, this.behind);
    this.node = element("tbody", { role: "rowgroup", class: "model" }, this.row, this.more);
  }

  update({ model, scale, admin }) {
    this.#model = model;
    this.#admin = admin;
    say(this.what, listed(model.kind, model.engine, model.dimension && `${model.dimension} d`));
    this.#tellState(model);
    this.#tellFigures(model);
    this.grow(model, scale);
    if (!this.more.hidden) this.#inside.update(model, admin);
  }

  // The part that moves while a load is under way.
  grow(model, scale) {
    const elapsed = this.#known.elapsed(model);
    const stages = current(model);
    this.lane.update(laid(stages, elapsed), scale);
    mark(this.load, "data-unknown", stages.length === 0);
    say(this.took, seconds(running(model) ? elapsed : model.load_seconds));
    if (!this.more.hidden) this.#inside.grow(model, elapsed);
  }

  #tellState(model) {
    mark(this.node, "data-state", model.status);
    mark(this.state, "data-state", model.status);
    say(this.state, model.status);
    const loading = model.status === "loading";
    const progress = loading ? this.#known.progress(model) : null;
    say(this.reason, loading ? underway(progress ?? running(model)) : model.reason ?? "");
    mark(this.reason, "title", model.reason);
    say(this.remedy, model.error?.remedy ?? "");
    show(this.progress, loading);
    mark(this.progress, "value", progress?.fraction ?? null);
  }

  #tellFigures(model) {
    const serving = model.versions.find(({ version }) => version === model.version);
    const routed = model.versions.filter(({ share: part }) => part > 0);
    tell(this.version, routed.length > 1
      ? routed.map(({ version, share: part }) => `${version} ${share(part)}`).join("\n")
      : model.version ?? UNKNOWN);
    tell(this.memory, bytes(model.memory));
    tell(this.calls, count(model.versions.reduce((sum, { calls }) => sum + calls, 0)));
    tell(this.p50, seconds(serving?.p50));
    tell(this.p99, seconds(serving?.p99));
    tell(this.waiting, model.lanes.length
      ? count(model.lanes.reduce((sum, { waiting }) => sum + waiting, 0))
      : UNKNOWN);
    const asked = model.cache ? model.cache.hits + model.cache.misses : 0;
    tell(this.cache, asked ? share(model.cache.hits / asked) : UNKNOWN);
  }

  #toggle() {
    const opened = this.more.hidden;
    if (this.#inside === null) {
      this.#inside = new Inside(this.#model.name);
      this.behind.append(this.#inside.node);
    }
    show(this.more, opened);
    mark(this.button, "aria-expanded", String(opened));
    if (!opened) return;
    this.#inside.update(this.#model, this.#admin);
    this.#inside.grow(this.#model, this.#known.elapsed(this.#model));
  }
}

function underway({ stage, fraction }) {
  return fraction === undefined || fraction === null ? stage : `${stage}, ${share(fraction)}`;
}
