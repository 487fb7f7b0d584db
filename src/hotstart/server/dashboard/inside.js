// What is behind a model's row: its load, its versions, its queue and cache, and what may be done.

import { Actions } from "./actions.js";
import { cell, drawn, element, heading, Kept, mark, say, show, tell } from "./elements.js";
import { Histogram } from "./histogram.js";
import { current, Stages } from "./timeline.js";
import { bytes, count, listed, moment, seconds, share, UNKNOWN } from "./wording.js";

export class Inside {
  constructor(name) {
    this.actions = new Actions(name);
    this.reason = element("p", { class: "full-reason" });
    this.error = element("p", { class: "error", hidden: true });
    this.remedy = element("p", { class: "remedy", hidden: true });
    this.facts = element("p", { class: "quiet" });
    this.stages = new Stages();
    this.load = part("Load", this.stages.node);
    this.versions = new Versions();
    this.lanes = new Lanes();
    this.queue = part("Queue", this.lanes.node);
    this.cached = element("p");
    this.prefetched = element("p", { class: "quiet" });
    this.cache = part("Cache", this.cached, this.prefetched);
    this.node = element("div", { class: "inside", role: "group", "aria-label": name },
      part("State", this.reason, this.error, this.remedy, this.facts, this.actions.node),
      this.load, part("Versions", this.versions.node), this.queue, this.cache);
    this.node.children[2].classList.add("broad");
  }

  update(model, admin) {
    say(this.reason, `${model.status}: ${model.reason ?? UNKNOWN}`);
    this.#tellError(model);
    say(this.facts, facts(model));
    this.actions.update(model, admin);
    this.versions.update(model);
    show(this.queue, model.lanes.length > 0);
    this.lanes.update(model.lanes);
    show(this.cache, model.cache !== null);
    if (model.cache) this.#tellCache(model.cache);
  }

  grow(model, elapsed) {
    show(this.load, current(model).length > 0);
    this.stages.update(model, elapsed);
  }

  // The reason is told once, though state and error may both hold it.
  #tellError({ error, reason }) {
    show(this.error, error !== null && error.reason !== reason);
    show(this.remedy, Boolean(error?.remedy));
    say(this.error, error?.reason ?? "");
    say(this.remedy, error?.remedy ?? "");
  }

  #tellCache(cache) {
    const asked = cache.hits + cache.misses;
    say(this.cached, listed(
      `${count(cache.hits)} of ${count(asked)} found${asked ? ` (${share(cache.hits / asked)})` : ""}`,
      `${count(cache.entries)} kept`, bytes(cache.bytes)));
    say(this.prefetched,
      `Prefetched: ${count(cache.prefetch_hits)} used, ${count(cache.prefetch_wasted)} in vain`);
  }
}

function part(title, ...children) {
  return element("section", {}, element("h3", {}, title), ...children);
}

function facts(model) {
  return listed(
    model.loaded_at && `loaded at ${moment(model.loaded_at)}`,
    model.load_seconds && `in ${seconds(model.load_seconds)}`,
    `used ${count(model.uses)} times`,
    model.fallback && `fallback ${model.fallback}`,
    model.shadow && `shadow ${model.shadow}`,
  );
}

class Versions {
  constructor() {
    const body = element("tbody", { role: "rowgroup" });
    const names = ["Share", "Calls", "Errors", "Memory", "p50", "p99"];
    this.node = element("table", { class: "plain", role: "table", "aria-label": "Versions" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
        heading("Version"), heading("State"),
        ...names.map((name) => heading(name, { class: "number" })),
        heading("Latency", { class: "wide" }))), body);
    this.rows = new Kept(body, () => new Version());
  }

  update(model) {
    const rows = model.versions.map((version) => ({ version, shadow: model.shadow === version.version }));
    this.rows.update(rows, ({ version }) => version.version);
  }
}

class Version {
  constructor() {
    const number = (label) => cell(label, { class: "number" });
    this.name = element("th", { scope: "row", role: "rowheader" });
    this.state = element("span", { class: "state" });
    this.reason = element("span", { class: "reason quiet" });
    this.words = element("span");
    this.bar = drawn("rect", { class: "held", x: 0, height: "100%", rx: 2 });
    this.calls = number("Calls");
    this.errors = number("Errors");
    this.memory = number("Memory");
    this.p50 = number("p50");
    this.p99 = number("p99");
    this.latency = new Histogram();
    const lane = drawn("svg", { class: "lane part", "aria-hidden": "true" }, this.bar);
    this.node = element("tr", { role: "row" }, this.name,
      cell("State", { class: "told" }, this.state, this.reason), cell("Share", { class: "number share" }, this.words, lane),
      this.calls, this.errors, this.memory, this.p50, this.p99,
      cell("Latency", { class: "wide" }, this.latency.node));
  }

  update({ version, shadow }) {
    say(this.name, version.version);
    say(this.state, version.status);
    mark(this.state, "data-state", version.status);
    say(this.reason, version.reason ?? "");
    say(this.words, shadow ? "shadow" : share(version.share));
    mark(this.bar, "width", `${(100 * (version.share ?? 0)).toFixed(1)}%`);
    tell(this.calls, count(version.calls));
    tell(this.errors, count(version.errors));
    tell(this.memory, bytes(version.memory));
    tell(this.p50, seconds(version.p50));
    tell(this.p99, seconds(version.p99));
    this.latency.update(version.latency);
  }
}

const LANE = ["Waiting", "Running", "Done", "Texts", "Refused", "Dropped"];

class Lanes {
  constructor() {
    const body = element("tbody", { role: "rowgroup" });
    this.node = element("table", { class: "plain", role: "table", "aria-label": "Queue by lane" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, heading("Lane"),
        ...LANE.map((name) => heading(name, { class: "number" })))), body);
    this.rows = new Kept(body, () => new QueueLane());
  }

  update(lanes) {
    this.rows.update(lanes, ({ lane }) => lane);
  }
}

class QueueLane {
  constructor() {
    this.name = element("th", { scope: "row", role: "rowheader" });
    this.cells = LANE.map((name) => cell(name, { class: "number" }));
    this.node = element("tr", { role: "row" }, this.name, ...this.cells);
  }

  update(lane) {
    say(this.name, lane.lane);
    this.cells.forEach((one, place) => tell(one, count(lane[LANE[place].toLowerCase()])));
  }
}
