// The way a model became ready, by stage, as bars on a lane.

import { cell, drawn, element, heading, Kept, mark, say } from "./elements.js";
import { seconds } from "./wording.js";

export const STAGES = ["metadata", "tokenizer", "first light", "full", "throughput"];

// Wide enough to be seen where a stage took next to nothing.
const NARROWEST = 0.6;
// A promotion may begin minutes after first light: a pause counts at most as so much of the work.
const PAUSE = 0.1;

// The stages of the load that matters now: the one under way, else the serving version's.
export function current(model) {
  const running = model.timeline.findLast((stage) => stage.end === null);
  const version = running?.version ?? model.version ?? model.timeline.at(-1)?.version;
  const stages = model.timeline.filter((stage) => stage.version === version);
  if (running || model.status !== "loading") return stages;
  // Not every kind of model tells its stages: then the load as a whole is the one under way.
  return [...stages, { version, stage: "load", start: stages.at(-1)?.end ?? 0, end: null }];
}

// The stage under way, if there is one.
export function running(model) {
  return current(model).findLast((stage) => stage.end === null);
}

// Where each stage lies on its lane, pauses shortened; the running one ends now.
export function laid(stages, elapsed) {
  const whole = stages.map((stage) => ({
    ...stage,
    until: stage.end ?? Math.max(stage.start, elapsed),
  }));
  const work = whole.reduce((sum, stage) => sum + stage.until - stage.start, 0);
  let cut = 0;
  let last = whole[0]?.start ?? 0;
  return whole.map((stage) => {
    cut += Math.max(0, stage.start - last - work * PAUSE);
    last = Math.max(last, stage.until);
    return { ...stage, from: stage.start - cut, to: stage.until - cut };
  });
}

export function length(places) {
  return places.reduce((longest, place) => Math.max(longest, place.to), 0);
}

// A round number of seconds that holds `longest`: lanes of one scale do not all move with each.
export function scaleFor(longest) {
  if (longest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(longest));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= longest * 0.999);
}

export class Lane {
  constructor() {
    this.node = drawn("svg", { class: "lane", "aria-hidden": "true" });
    this.bars = new Kept(this.node, () => new Bar());
  }

  update(places, scale) {
    const parts = places.map((place) => ({
      ...place,
      left: (100 * place.from) / scale,
      width: (100 * (place.to - place.from)) / scale,
    }));
    this.bars.update(parts, (part) => `${part.version} ${part.stage} ${part.start}`);
  }
}

class Bar {
  constructor() {
    this.title = drawn("title");
    this.node = drawn("rect", { height: "100%", rx: 2 }, this.title);
  }

  update({ stage, start, end, until, left, width }) {
    const wide = Math.max(width, NARROWEST);
    mark(this.node, "class", kindOf(stage));
    mark(this.node, "data-running", end === null);
    mark(this.node, "x", `${Math.min(left, 100 - wide).toFixed(2)}%`);
    mark(this.node, "width", `${wide.toFixed(2)}%`);
    say(this.title, `${stage}, ${seconds(until - start)}`);
  }
}

// The same as a table, one row a stage, on a scale of its own.
export class Stages {
  constructor() {
    this.body = element("tbody", { role: "rowgroup" });
    const head = element("tr", { role: "row" },
      heading("Stage"), heading("From", { class: "number" }), heading("Took", { class: "number" }),
      element("td", { class: "way", "aria-hidden": "true" }));
    this.node = element("table", { class: "plain bars", role: "table", "aria-label": "Load by stage" },
      element("thead", { role: "rowgroup" }, head), this.body);
    this.rows = new Kept(this.body, () => new StageRow());
  }

  update(model, elapsed) {
    const places = laid(current(model), elapsed);
    const scale = length(places) || 1;
    this.rows.update(
      places.map((place) => ({ place, scale })),
      ({ place }) => `${place.version} ${place.stage} ${place.start}`,
    );
  }
}

class StageRow {
  constructor() {
    this.name = element("th", { scope: "row", role: "rowheader" });
    this.from = cell("From", { class: "number" });
    this.took = cell("Took", { class: "number" });
    this.lane = new Lane();
    this.node = element("tr", { role: "row" }, this.name, this.from, this.took,
      element("td", { class: "way", "aria-hidden": "true" }, this.lane.node));
  }

  update({ place, scale }) {
    say(this.name, place.stage);
    say(this.from, seconds(place.start));
    say(this.took, seconds(place.until - place.start) + (place.end === null ? " …" : ""));
    this.lane.update([place], scale);
  }
}

// Stages of kinds that this page does not know share a colour.
function kindOf(stage) {
  return STAGES.includes(stage) ? stage.replace(" ", "-") : "other";
}

export function legend() {
  return STAGES.map((stage) => element("li", { class: kindOf(stage) }, stage));
}
