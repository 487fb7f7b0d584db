// The models: a table with a filter, and the details and actions of each model.

import { post } from "./api.js";
import { axisLength, createStageLegend, Histogram, layOutStages, roundScale, StageTable,
  StageTrack } from "./charts.js";
import { byId, columnHeader, element, KeyedList, setAttribute, setCell, setText, setVisible,
  svgElement, tableCell } from "./dom.js";
import { formatBytes, formatCount, formatDuration, formatPercent, formatSeconds, formatTime,
  joinParts, UNKNOWN } from "./format.js";
import { countByStatus, currentStages, runningStage, sumOf } from "./store.js";

const STATUSES = ["all", "ready", "loading", "failed", "skipped", "unloaded"];
// Rows shown before the user asks for all of them.
const MAX_ROWS = 50;
const NUMBER_COLUMNS = ["Version", "Memory", "Calls", "p50", "p99", "Waiting", "Cache"];
const COLUMN_COUNT = 3 + NUMBER_COLUMNS.length;

// ── The table and its filter ──

export class ModelTable {
  #store;
  #rows;
  #statusButtons;
  #scaleLabel;
  #status = "all";
  #name = "";
  #maxRows = MAX_ROWS;

  constructor(store) {
    this.#store = store;
    byId("model-columns").append(
      columnHeader("Model"), columnHeader("State"), columnHeader("Load"),
      ...NUMBER_COLUMNS.map((name) => columnHeader(name, { class: "number" })));
    this.#scaleLabel = element("li", { class: "scale" });
    byId("stage-legend").append(...createStageLegend(), this.#scaleLabel);
    const table = byId("model-table");
    this.#rows = new KeyedList(table, ({ model }) => new ModelRow(model, store), table.tHead);
    this.#statusButtons = STATUSES.map((status) => new StatusButton(status, () => this.#setStatus(status)));
    byId("status-filter").append(...this.#statusButtons.map(({ node }) => node));
    byId("name-filter").addEventListener("input", ({ target }) => {
      this.#name = target.value.trim().toLowerCase();
      this.#applyFilter();
    });
    byId("show-more").addEventListener("click", () => this.#showAllRows());
    byId("reload-all").addEventListener("click", () => this.#reloadAll());
  }

  update() {
    const { models, service } = this.#store.overview;
    const hasAdminKey = service.keys.admin;
    setVisible(byId("no-admin"), !hasAdminKey);
    setVisible(byId("reload-all"), hasAdminKey);
    const scale = this.#updateScale();
    this.#rows.update(models.map((model) => ({ model, scale, hasAdminKey })), ({ model }) => model.name);
    const counts = countByStatus(models).set("all", models.length);
    for (const button of this.#statusButtons) button.update(counts, this.#status);
    this.#applyFilter();
  }

  // Update what changes with time alone: the loads that run.
  updateLoads() {
    const loading = this.#store.models.filter(runningStage);
    if (loading.length === 0) return;
    const scale = this.#updateScale();
    for (const model of loading) this.#rows.get(model.name)?.updateLoad(model, scale);
  }

  #updateScale() {
    const lengths = this.#store.models.map((model) =>
      axisLength(layOutStages(currentStages(model), this.#store.elapsed(model))));
    const scale = roundScale(Math.max(0, ...lengths));
    setText(this.#scaleLabel, `full bar: ${scale < 1 ? formatSeconds(scale) : formatDuration(scale)}`);
    return scale;
  }

  #setStatus(status) {
    this.#status = status;
    this.update();
  }

  #applyFilter() {
    let matches = 0;
    for (const model of this.#store.models) {
      const isMatch = (this.#status === "all" || model.status === this.#status)
        && model.name.toLowerCase().includes(this.#name);
      matches += isMatch ? 1 : 0;
      setVisible(this.#rows.get(model.name).node, isMatch && matches <= this.#maxRows);
    }
    setVisible(byId("no-match"), matches === 0);
    setVisible(byId("show-more"), matches > this.#maxRows);
    setText(byId("show-more"), `Show ${formatCount(matches - this.#maxRows)} more`);
  }

  // The button disappears: move the focus to the first row that it added.
  #showAllRows() {
    const first = [...this.#rows.values()].find(({ node }) => node.hidden);
    this.#maxRows = Infinity;
    this.#applyFilter();
    first?.button.focus();
  }

  #reloadAll() {
    const request = { path: "api/v1/models/reload", body: {} };
    return runAction(request, byId("reload-all"), byId("reload-error"));
  }
}

class StatusButton {
  constructor(status, onClick) {
    this.status = status;
    this.count = element("span", { class: "number" });
    this.node = element("button", { type: "button" }, `${status} `, this.count);
    this.node.addEventListener("click", onClick);
  }

  update(counts, selected) {
    const count = counts.get(this.status) ?? 0;
    setText(this.count, formatCount(count));
    setAttribute(this.node, "aria-pressed", String(this.status === selected));
    setVisible(this.node, count > 0 || this.status === selected || this.status === "all");
  }
}

// ── A row, and the details that it opens ──

let lastRowNumber = 0;

class ModelRow {
  #store;
  #model;
  #hasAdminKey = false;
  #details = null;

  constructor(model, store) {
    this.#store = store;
    this.#model = model;
    const id = `model-${(lastRowNumber += 1)}`;
    this.button = element("button",
      { type: "button", class: "model-button", "aria-expanded": "false", "aria-controls": id }, model.name);
    this.button.addEventListener("click", () => this.#toggleDetails());
    this.summary = element("span", { class: "model-summary muted" });
    this.state = element("span", { class: "state" });
    this.reason = element("span", { class: "reason muted" });
    this.remedy = element("span", { class: "remedy" });
    this.progress = element("progress", { hidden: true, "aria-label": `Load progress of ${model.name}` });
    this.track = new StageTrack();
    this.duration = element("span", { class: "number load-duration" });
    this.load = tableCell("Load", { class: "load-cell" }, element("div", {}, this.track.node, this.duration));
    const [version, ...numbers] = NUMBER_COLUMNS;
    this.version = tableCell(version, { class: "number multiline" });
    this.numbers = new Map(numbers.map((name) => [name, tableCell(name, { class: "number" })]));
    const row = element("tr", { role: "row", class: "model-row" },
      element("th", { scope: "row", role: "rowheader", class: "name-cell" }, this.button, this.summary),
      tableCell("State", { class: "state-cell" }, this.state, this.reason, this.remedy, this.progress),
      this.load, this.version, ...this.numbers.values());
    this.detailsCell = element("td", { role: "cell", colspan: COLUMN_COUNT });
    this.detailsRow = element("tr",
      { role: "row", class: "details-row", id, hidden: true }, this.detailsCell);
    this.node = element("tbody", { role: "rowgroup", class: "model" }, row, this.detailsRow);
  }

  update({ model, scale, hasAdminKey }) {
    this.#model = model;
    this.#hasAdminKey = hasAdminKey;
    const dimension = model.dimension && `${model.dimension} d`;
    setText(this.summary, joinParts(model.kind, model.engine, dimension));
    this.#updateState(model);
    this.#updateNumbers(model);
    this.updateLoad(model, scale);
    if (!this.detailsRow.hidden) this.#details.update(model, hasAdminKey);
  }

  updateLoad(model, scale) {
    const elapsed = this.#store.elapsed(model);
    const stages = currentStages(model);
    this.track.update(layOutStages(stages, elapsed), scale);
    setAttribute(this.load, "data-unknown", stages.length === 0);
    setText(this.duration, formatSeconds(runningStage(model) ? elapsed : model.load_seconds));
    if (!this.detailsRow.hidden) this.#details.updateLoad(model, elapsed);
  }

  #updateState(model) {
    setAttribute(this.node, "data-state", model.status);
    setAttribute(this.state, "data-state", model.status);
    setText(this.state, model.status);
    const isLoading = model.status === "loading";
    const progress = isLoading ? this.#store.progress(model) : null;
    setText(this.reason, isLoading ? describeProgress(progress ?? runningStage(model)) : model.reason ?? "");
    setAttribute(this.reason, "title", model.reason);
    setText(this.remedy, model.error?.remedy ?? "");
    setVisible(this.progress, isLoading);
    setAttribute(this.progress, "value", progress?.fraction ?? null);
  }

  #updateNumbers(model) {
    const serving = model.versions.find(({ version }) => version === model.version);
    const routed = model.versions.filter(({ share }) => share > 0);
    const { cache, lanes } = model;
    const lookups = cache ? cache.hits + cache.misses : 0;
    setCell(this.version, routed.length > 1
      ? routed.map(({ version, share }) => `${version} ${formatPercent(share)}`).join("\n")
      : model.version ?? UNKNOWN);
    setCell(this.numbers.get("Memory"), formatBytes(model.memory));
    setCell(this.numbers.get("Calls"), formatCount(sumOf(model.versions, "calls")));
    setCell(this.numbers.get("p50"), formatSeconds(serving?.p50));
    setCell(this.numbers.get("p99"), formatSeconds(serving?.p99));
    setCell(this.numbers.get("Waiting"), lanes.length ? formatCount(sumOf(lanes, "waiting")) : UNKNOWN);
    setCell(this.numbers.get("Cache"), lookups ? formatPercent(cache.hits / lookups) : UNKNOWN);
  }

  #toggleDetails() {
    const isOpening = this.detailsRow.hidden;
    if (this.#details === null) {
      this.#details = new ModelDetails(this.#model.name);
      this.detailsCell.append(this.#details.node);
    }
    setVisible(this.detailsRow, isOpening);
    setAttribute(this.button, "aria-expanded", String(isOpening));
    if (!isOpening) return;
    this.#details.update(this.#model, this.#hasAdminKey);
    this.#details.updateLoad(this.#model, this.#store.elapsed(this.#model));
  }
}

function describeProgress({ stage, fraction }) {
  return fraction === undefined || fraction === null ? stage : `${stage}, ${formatPercent(fraction)}`;
}

class ModelDetails {
  constructor(name) {
    this.actions = new ModelActions(name);
    this.reason = element("p", { class: "full-reason" });
    this.error = element("p", { class: "error", hidden: true });
    this.remedy = element("p", { class: "remedy", hidden: true });
    this.facts = element("p", { class: "muted" });
    this.stages = new StageTable();
    this.load = section("Load", {}, this.stages.node);
    this.versions = new VersionTable();
    this.lanes = new LaneTable();
    this.queue = section("Queue", {}, this.lanes.node);
    this.cacheHits = element("p");
    this.prefetchHits = element("p", { class: "muted" });
    this.cache = section("Cache", {}, this.cacheHits, this.prefetchHits);
    this.node = element("div", { class: "details", role: "group", "aria-label": name },
      section("State", {}, this.reason, this.error, this.remedy, this.facts, this.actions.node),
      this.load,
      section("Versions", { class: "full-width" }, this.versions.node),
      this.queue, this.cache);
  }

  update(model, hasAdminKey) {
    setText(this.reason, `${model.status}: ${model.reason ?? UNKNOWN}`);
    this.#updateError(model);
    setText(this.facts, describeModel(model));
    this.actions.update(model, hasAdminKey);
    this.versions.update(model);
    setVisible(this.queue, model.lanes.length > 0);
    this.lanes.update(model.lanes);
    setVisible(this.cache, model.cache !== null);
    if (model.cache) this.#updateCache(model.cache);
  }

  updateLoad(model, elapsed) {
    const stages = currentStages(model);
    setVisible(this.load, stages.length > 0);
    this.stages.update(stages, elapsed);
  }

  // Show the reason once, though the state and the error may both have it.
  #updateError({ error, reason }) {
    setVisible(this.error, error !== null && error.reason !== reason);
    setVisible(this.remedy, Boolean(error?.remedy));
    setText(this.error, error?.reason ?? "");
    setText(this.remedy, error?.remedy ?? "");
  }

  #updateCache(cache) {
    const lookups = cache.hits + cache.misses;
    const rate = lookups ? ` (${formatPercent(cache.hits / lookups)})` : "";
    setText(this.cacheHits, joinParts(
      `${formatCount(cache.hits)} hits of ${formatCount(lookups)} lookups${rate}`,
      `${formatCount(cache.entries)} entries`, formatBytes(cache.bytes)));
    setText(this.prefetchHits, joinParts(
      `Prefetch: ${formatCount(cache.prefetch_hits)} used`, `${formatCount(cache.prefetch_wasted)} unused`));
  }
}

function section(title, attributes, ...children) {
  return element("section", attributes, element("h3", {}, title), ...children);
}

function describeModel(model) {
  return joinParts(
    model.loaded_at && `loaded at ${formatTime(model.loaded_at)}`,
    model.load_seconds && `in ${formatSeconds(model.load_seconds)}`,
    `used ${formatCount(model.uses)} times`,
    model.fallback && `fallback ${model.fallback}`,
    model.shadow && `shadow ${model.shadow}`,
  );
}

class VersionTable {
  constructor() {
    const body = element("tbody", { role: "rowgroup" });
    const numbers = ["Share", "Calls", "Errors", "Memory", "p50", "p99"];
    this.node = element("table", { class: "data", role: "table", "aria-label": "Versions" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
        columnHeader("Version"), columnHeader("State"),
        ...numbers.map((name) => columnHeader(name, { class: "number" })),
        columnHeader("Latency", { class: "latency" }))), body);
    this.rows = new KeyedList(body, () => new VersionRow());
  }

  update(model) {
    const rows = model.versions.map((version) =>
      ({ version, isShadow: model.shadow === version.version }));
    this.rows.update(rows, ({ version }) => version.version);
  }
}

class VersionRow {
  constructor() {
    const number = (label) => tableCell(label, { class: "number" });
    this.label = element("th", { scope: "row", role: "rowheader", class: "version-label" });
    this.state = element("span", { class: "state" });
    this.reason = element("span", { class: "reason muted" });
    this.share = element("span");
    this.shareBar = svgElement("rect", { class: "share-bar", x: 0, height: "100%", rx: 2 });
    this.calls = number("Calls");
    this.errors = number("Errors");
    this.memory = number("Memory");
    this.p50 = number("p50");
    this.p99 = number("p99");
    this.latency = new Histogram();
    const track = svgElement("svg", { class: "track thin", "aria-hidden": "true" }, this.shareBar);
    this.node = element("tr", { role: "row" }, this.label,
      tableCell("State", { class: "version-state" }, this.state, this.reason),
      tableCell("Share", { class: "number share" }, this.share, track),
      this.calls, this.errors, this.memory, this.p50, this.p99,
      tableCell("Latency", { class: "latency" }, this.latency.node));
  }

  update({ version, isShadow }) {
    setText(this.label, version.version);
    setText(this.state, version.status);
    setAttribute(this.state, "data-state", version.status);
    setText(this.reason, version.reason ?? "");
    setText(this.share, isShadow ? "shadow" : formatPercent(version.share));
    setAttribute(this.shareBar, "width", `${(100 * (version.share ?? 0)).toFixed(1)}%`);
    setCell(this.calls, formatCount(version.calls));
    setCell(this.errors, formatCount(version.errors));
    setCell(this.memory, formatBytes(version.memory));
    setCell(this.p50, formatSeconds(version.p50));
    setCell(this.p99, formatSeconds(version.p99));
    this.latency.update(version.latency);
  }
}

const LANE_COLUMNS = ["Waiting", "Running", "Done", "Texts", "Refused", "Dropped"];

class LaneTable {
  constructor() {
    const body = element("tbody", { role: "rowgroup" });
    this.node = element("table", { class: "data", role: "table", "aria-label": "Queue by lane" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, columnHeader("Lane"),
        ...LANE_COLUMNS.map((name) => columnHeader(name, { class: "number" })))), body);
    this.rows = new KeyedList(body, () => new LaneRow());
  }

  update(lanes) {
    this.rows.update(lanes, ({ lane }) => lane);
  }
}

class LaneRow {
  constructor() {
    this.lane = element("th", { scope: "row", role: "rowheader" });
    this.cells = LANE_COLUMNS.map((name) => tableCell(name, { class: "number" }));
    this.node = element("tr", { role: "row" }, this.lane, ...this.cells);
  }

  update(lane) {
    setText(this.lane, lane.lane);
    this.cells.forEach((cell, place) => setCell(cell, formatCount(lane[LANE_COLUMNS[place].toLowerCase()])));
  }
}

// ── Actions of an administrator ──

const ACTIONS = {
  load: {
    title: "Load",
    isEnabled: ({ status }) => ["unloaded", "failed", "skipped"].includes(status),
  },
  unload: { title: "Unload", isEnabled: ({ status }) => status === "ready" },
  reload: { title: "Reload", isEnabled: ({ status }) => status === "ready" || status === "failed" },
  rollback: { title: "Roll back", isEnabled: (model) => model.can_rollback },
};

class ModelActions {
  #name;
  #buttons;
  #isBusy = false;

  constructor(name) {
    this.#name = name;
    this.#buttons = Object.entries(ACTIONS).map(([action, { title }]) => {
      const button = element("button", { type: "button", "aria-label": `${title} ${name}` }, title);
      button.addEventListener("click", () => this.#run(action, button));
      return button;
    });
    this.error = element("p", { class: "error-text", role: "alert" });
    this.buttonRow = element("div", { class: "actions" }, ...this.#buttons);
    this.node = element("div", {}, this.buttonRow, this.error);
  }

  // Show no buttons if the server has no admin key: it would reject every action.
  update(model, hasAdminKey) {
    if (!hasAdminKey) this.buttonRow.remove();
    else if (!this.buttonRow.isConnected) this.node.prepend(this.buttonRow);
    setVisible(this.error, hasAdminKey);
    Object.values(ACTIONS).forEach(({ isEnabled }, place) => {
      // Not `disabled`, which would take the focus away when the state changes.
      setAttribute(this.#buttons[place], "aria-disabled", isEnabled(model) ? null : "true");
    });
  }

  async #run(action, button) {
    if (this.#isBusy || button.getAttribute("aria-disabled") === "true") return;
    this.#isBusy = true;
    await runAction(actionRequest(action, this.#name), button, this.error);
    this.#isBusy = false;
  }
}

function actionRequest(action, name) {
  if (action === "reload") return { path: "api/v1/models/reload", body: { models: [name] } };
  return { path: `api/v1/models/${encodeURIComponent(name)}/${action}`, body: {} };
}

// Send the request. Show the button as busy meanwhile, and a failure in `errorNode`.
async function runAction({ path, body }, button, errorNode) {
  if (button.getAttribute("aria-busy") === "true") return;
  setText(errorNode, "");
  setAttribute(button, "aria-busy", "true");
  try {
    await post(path, { body, role: "admin" });
  } catch (error) {
    setText(errorNode, error.message);
  }
  setAttribute(button, "aria-busy", null);
}
