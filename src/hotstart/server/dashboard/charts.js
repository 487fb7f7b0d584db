// Charts: the stages of a load as bars on a time axis, and a histogram of latencies.

import { columnHeader, element, KeyedList, setAttribute, setText, svgElement, tableCell } from "./dom.js";
import { formatCount, formatSeconds, UNKNOWN } from "./format.js";

// ── Stages of a load ──

// The CSS class of each stage, in the order in which stages run. All other stages are "other".
const STAGE_CLASSES = new Map([
  ["metadata", "metadata"],
  ["tokenizer", "tokenizer"],
  ["fast_start", "fast-start"],
  ["full", "full"],
  ["throughput", "throughput"],
]);

// In percent of the axis: a stage that took almost no time stays visible.
const MIN_BAR_WIDTH = 0.6;
// A promotion may begin minutes after the first vector. A pause is drawn at most this long,
// as a fraction of the working time.
const MAX_PAUSE = 0.1;

// Give each stage its `stop`, in seconds since the load began, and its place on the time axis
// (`left` to `right`), with long pauses shortened. The running stage stops at `elapsed`.
export function layOutStages(stages, elapsed) {
  const bars = stages.map((stage) => ({
    ...stage,
    stop: stage.end ?? Math.max(stage.start, elapsed),
  }));
  const work = bars.reduce((sum, bar) => sum + bar.stop - bar.start, 0);
  let removed = 0;
  let lastStop = bars[0]?.start ?? 0;
  return bars.map((bar) => {
    removed += Math.max(0, bar.start - lastStop - work * MAX_PAUSE);
    lastStop = Math.max(lastStop, bar.stop);
    return { ...bar, left: bar.start - removed, right: bar.stop - removed };
  });
}

export function axisLength(bars) {
  return bars.reduce((longest, bar) => Math.max(longest, bar.right), 0);
}

// The next round number of seconds, so that charts with one scale rarely change it.
export function roundScale(length) {
  if (length <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(length));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= length * 0.999);
}

export function createStageLegend() {
  return [...STAGE_CLASSES].map(([stage, name]) => element("li", { class: name }, stage));
}

const barKey = ({ version, stage, start }) => `${version} ${stage} ${start}`;

// All stages of one load as bars on one track. `scale`: seconds that the full width stands for.
export class StageTrack {
  constructor() {
    this.node = svgElement("svg", { class: "track", "aria-hidden": "true" });
    this.bars = new KeyedList(this.node, () => new StageBar());
  }

  update(bars, scale) {
    this.bars.update(bars.map((bar) => ({ bar, scale })), ({ bar }) => barKey(bar));
  }
}

class StageBar {
  constructor() {
    this.title = svgElement("title");
    this.node = svgElement("rect", { height: "100%", rx: 2 }, this.title);
  }

  update({ bar, scale }) {
    const x = (100 * bar.left) / scale;
    const width = Math.max((100 * (bar.right - bar.left)) / scale, MIN_BAR_WIDTH);
    setAttribute(this.node, "class", STAGE_CLASSES.get(bar.stage) ?? "other");
    setAttribute(this.node, "data-running", bar.end === null);
    setAttribute(this.node, "x", `${Math.min(x, 100 - width).toFixed(2)}%`);
    setAttribute(this.node, "width", `${width.toFixed(2)}%`);
    setText(this.title, `${bar.stage}, ${formatSeconds(bar.stop - bar.start)}`);
  }
}

// The stages of one load as a table, one row per stage, with a scale of its own.
export class StageTable {
  constructor() {
    const body = element("tbody", { role: "rowgroup" });
    const head = element("tr", { role: "row" },
      columnHeader("Stage"), columnHeader("Start", { class: "number" }),
      columnHeader("Duration", { class: "number" }),
      element("td", { class: "bar-column", "aria-hidden": "true" }));
    this.node = element("table", { class: "data bars", role: "table", "aria-label": "Load by stage" },
      element("thead", { role: "rowgroup" }, head), body);
    this.rows = new KeyedList(body, () => new StageRow());
  }

  update(stages, elapsed) {
    const bars = layOutStages(stages, elapsed);
    const scale = axisLength(bars) || 1;
    this.rows.update(bars.map((bar) => ({ bar, scale })), ({ bar }) => barKey(bar));
  }
}

class StageRow {
  constructor() {
    this.stage = element("th", { scope: "row", role: "rowheader" });
    this.start = tableCell("Start", { class: "number" });
    this.duration = tableCell("Duration", { class: "number" });
    this.track = new StageTrack();
    this.node = element("tr", { role: "row" }, this.stage, this.start, this.duration,
      element("td", { class: "bar-column", "aria-hidden": "true" }, this.track.node));
  }

  update({ bar, scale }) {
    setText(this.stage, bar.stage);
    setText(this.start, formatSeconds(bar.start));
    setText(this.duration, formatSeconds(bar.stop - bar.start) + (bar.end === null ? " …" : ""));
    this.track.update([bar], scale);
  }
}

// ── Histogram ── one column per bucket.

const COLUMN_WIDTH = 10;
const COLUMN_HEIGHT = 28;
const AXIS_HEIGHT = 13;
const AXIS_LABELS = new Map([[0.001, "1 ms"], [0.01, "10"], [0.1, "100"], [1, "1 s"], [10, "10"]]);

export class Histogram {
  #bounds = "";
  #columns = [];

  constructor() {
    this.empty = element("span", { class: "muted" }, UNKNOWN);
    this.chart = svgElement("svg",
      { class: "histogram", role: "img", height: COLUMN_HEIGHT + AXIS_HEIGHT });
    this.node = element("div", { class: "histogram-box" }, this.empty, this.chart);
  }

  // `bounds`: upper bounds of the buckets in seconds. `counts`: cumulative, with one for the rest.
  update({ bounds, counts }) {
    const total = counts.at(-1) ?? 0;
    setAttribute(this.empty, "hidden", total > 0);
    setAttribute(this.chart, "class", total > 0 ? "histogram" : "histogram empty");
    if (total === 0) return;
    if (this.#bounds !== bounds.join()) this.#createColumns(bounds);
    const heights = counts.map((cumulative, place) => cumulative - (counts[place - 1] ?? 0));
    const highest = Math.max(...heights);
    this.#columns.forEach((column, place) => column.update(heights[place], highest));
    setAttribute(this.chart, "aria-label", describeLatency(bounds, counts, total));
  }

  #createColumns(bounds) {
    this.#bounds = bounds.join();
    this.#columns = [...bounds, Infinity].map((bound, place) => new Column(bounds, bound, place));
    const width = this.#columns.length * COLUMN_WIDTH;
    setAttribute(this.chart, "width", width);
    setAttribute(this.chart, "viewBox", `0 0 ${width} ${COLUMN_HEIGHT + AXIS_HEIGHT}`);
    const axis = svgElement("line",
      { class: "axis", x1: 0, x2: width, y1: COLUMN_HEIGHT, y2: COLUMN_HEIGHT });
    const columns = this.#columns.map(({ node }) => node);
    this.chart.replaceChildren(...columns, axis, ...createAxisLabels(bounds));
  }
}

class Column {
  constructor(bounds, bound, place) {
    this.range = bound === Infinity
      ? `over ${formatSeconds(bounds.at(-1))}`
      : `up to ${formatSeconds(bound)}`;
    this.title = svgElement("title");
    this.node = svgElement("rect",
      { x: place * COLUMN_WIDTH + 0.5, width: COLUMN_WIDTH - 1, rx: 1 }, this.title);
  }

  update(number, highest) {
    const height = number === 0 ? 0 : Math.max(1.5, (COLUMN_HEIGHT * number) / highest);
    setAttribute(this.node, "y", (COLUMN_HEIGHT - height).toFixed(1));
    setAttribute(this.node, "height", height.toFixed(1));
    setText(this.title, `${this.range}: ${formatCount(number)}`);
  }
}

// An upper bound is the right edge of its column.
function createAxisLabels(bounds) {
  return bounds.flatMap((bound, place) => {
    const label = AXIS_LABELS.get(bound);
    if (!label) return [];
    const x = (place + 1) * COLUMN_WIDTH;
    const y = COLUMN_HEIGHT + AXIS_HEIGHT - 2;
    return [svgElement("text", { x, y, "text-anchor": "middle" }, label)];
  });
}

function describeLatency(bounds, counts, total) {
  const quantile = (part) => {
    const place = counts.findIndex((cumulative) => cumulative >= part * total);
    return place < bounds.length
      ? `within ${formatSeconds(bounds[place])}`
      : `over ${formatSeconds(bounds.at(-1))}`;
  };
  return `${formatCount(total)} calls: 50 % ${quantile(0.5)}, 99 % ${quantile(0.99)}`;
}
