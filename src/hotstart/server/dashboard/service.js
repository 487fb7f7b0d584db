// The service: its health and metrics, its requests by route, its memory by model.

import { byId, columnHeader, element, KeyedList, setAttribute, setText, setVisible, svgElement,
  tableCell } from "./dom.js";
import { formatBytes, formatCount, formatDuration, formatPercent, formatSeconds, joinParts, plural,
  UNKNOWN } from "./format.js";
import { Histogram } from "./charts.js";
import { countByStatus, sumOf } from "./store.js";

const STATUS_ORDER = ["ready", "loading", "unloading", "failed", "skipped", "unloaded"];
// Seconds over which the request rate is averaged.
const RATE_WINDOW = 10;

// The head of the page: health, counts by status, and one tile per metric.
export class ServiceMetrics {
  #store;
  #tiles;
  #meter;
  #requestCounts = [];

  constructor(store) {
    this.#store = store;
    const names = ["Uptime", "Memory", "Models", "Requests", "Queue", "Cache"];
    this.#tiles = Object.fromEntries(names.map((name) => [name, new Tile(name)]));
    this.#meter = this.#tiles.Memory.addMeter("Memory used, of the limit");
    byId("metrics").append(...Object.values(this.#tiles).map(({ node }) => node));
  }

  update() {
    const { service, models } = this.#store.overview;
    setText(byId("version"), service.version);
    this.#updateHealth(service, models);
    this.#updateMemory(service.memory);
    this.#updateRequests(service);
    this.#updateModels(models);
    this.#updateQueue(models.flatMap((model) => model.lanes));
    this.#updateCache(models.map((model) => model.cache).filter((cache) => cache !== null));
    this.updateUptime();
  }

  updateUptime() {
    const { service } = this.#store.overview;
    this.#tiles.Uptime.update(formatDuration(this.#store.uptime()), `process ${service.pid}`);
  }

  #updateHealth(service, models) {
    const health = byId("health");
    const status = service.draining ? "draining" : service.status;
    setText(health, status);
    setAttribute(health, "data-state", status);
    const counts = countByStatus(models);
    const statuses = STATUS_ORDER.filter((name) => counts.has(name));
    setText(byId("summary"), joinParts(...statuses.map((name) => `${counts.get(name)} ${name}`)));
    document.title = `${counts.get("ready") ?? 0}/${models.length} ready · hotstart`;
  }

  #updateModels(models) {
    const ready = models.filter((model) => model.status === "ready");
    const memory = sumOf(models, "memory");
    this.#tiles.Models.update(`${ready.length} of ${models.length} ready`, `${formatBytes(memory)} used`);
  }

  #updateMemory({ rss, limit, left, limited_by: limitedBy }) {
    const total = limit === null ? "" : ` of ${formatBytes(limit)}`;
    const available = left === null ? "" : `${formatBytes(left)} available${total}`;
    this.#tiles.Memory.update(formatBytes(rss), available, limitedBy ?? "");
    const isKnown = limit !== null && left !== null;
    setVisible(this.#meter, isKnown);
    if (!isKnown) return;
    setAttribute(this.#meter, "max", limit);
    setAttribute(this.#meter, "high", Math.round(limit * 0.9));
    setAttribute(this.#meter, "value", limit - left);
  }

  #updateRequests({ requests, uptime }) {
    const total = sumOf(requests, "count");
    const errors = sumOf(requests, "errors");
    this.#tiles.Requests.update(
      formatCount(total),
      errors ? plural(errors, "error") : "no errors",
      this.#formatRate(total, uptime),
    );
  }

  // The rate over the last seconds. A lower uptime than before means that the server restarted.
  #formatRate(total, uptime) {
    if (this.#requestCounts.at(-1)?.uptime > uptime) this.#requestCounts = [];
    this.#requestCounts.push({ total, uptime });
    while (this.#requestCounts.length > 2 && this.#requestCounts[1].uptime < uptime - RATE_WINDOW) {
      this.#requestCounts.shift();
    }
    const [first] = this.#requestCounts;
    if (uptime - first.uptime < 1) return "";
    const rate = (total - first.total) / (uptime - first.uptime);
    return `${rate >= 10 ? formatCount(rate) : rate.toFixed(1)} per second`;
  }

  #updateQueue(lanes) {
    const waitingIn = (name) => formatCount(sumOf(lanes.filter(({ lane }) => lane === name), "waiting"));
    this.#tiles.Queue.update(
      `${formatCount(sumOf(lanes, "waiting"))} waiting`,
      `interactive ${waitingIn("interactive")} · bulk ${waitingIn("bulk")}`,
      `${formatCount(sumOf(lanes, "running"))} running`,
    );
  }

  #updateCache(caches) {
    const hits = sumOf(caches, "hits");
    const lookups = hits + sumOf(caches, "misses");
    const entries = `${formatCount(sumOf(caches, "entries"))} entries`;
    this.#tiles.Cache.update(
      lookups ? `${formatPercent(hits / lookups)} hits` : UNKNOWN,
      caches.length ? `${entries} · ${formatBytes(sumOf(caches, "bytes"))}` : "no cache",
      caches.length ? plural(sumOf(caches, "prefetch_hits"), "prefetch hit") : "",
    );
  }
}

// One metric: a value, and two lines that explain it.
class Tile {
  constructor(name) {
    this.value = element("span", { class: "value" });
    this.detail = element("span", { class: "muted" });
    this.note = element("span", { class: "muted" });
    this.content = element("dd", {}, this.value, this.detail, this.note);
    this.node = element("div", {}, element("dt", { class: "muted" }, name), this.content);
  }

  update(value, detail, note = "") {
    setText(this.value, value);
    setText(this.detail, detail);
    setText(this.note, note);
  }

  addMeter(label) {
    const meter = element("meter", { min: 0, "aria-label": label, hidden: true });
    this.content.insertBefore(meter, this.detail);
    return meter;
  }
}

// HTTP requests by route.
export class RequestTable {
  #rows;

  constructor() {
    byId("request-columns").append(
      columnHeader("Route"),
      ...["Requests", "Errors", "p50", "p99"].map((name) => columnHeader(name, { class: "number" })),
      columnHeader("Latency", { class: "latency" }),
    );
    this.#rows = new KeyedList(byId("request-rows"), () => new RequestRow());
  }

  update(requests) {
    setVisible(byId("no-requests"), requests.length === 0);
    this.#rows.update(requests, ({ route }) => route);
  }
}

class RequestRow {
  constructor() {
    const number = (label) => tableCell(label, { class: "number" });
    this.route = element("th", { scope: "row", role: "rowheader", class: "path" });
    this.count = number("Requests");
    this.errors = number("Errors");
    this.p50 = number("p50");
    this.p99 = number("p99");
    this.latency = new Histogram();
    this.node = element("tr", { role: "row" },
      this.route, this.count, this.errors, this.p50, this.p99,
      tableCell("Latency", { class: "latency" }, this.latency.node));
  }

  update(request) {
    setText(this.route, request.route);
    setText(this.count, formatCount(request.count));
    setText(this.errors, formatCount(request.errors));
    setText(this.p50, formatSeconds(request.p50));
    setText(this.p99, formatSeconds(request.p99));
    this.latency.update(request.latency);
  }
}

// Rows of the memory table. All smaller models share one line.
const MAX_MEMORY_ROWS = 12;

// The models that use the most memory.
export class MemoryTable {
  #rows;

  constructor() {
    byId("memory-columns").append(
      columnHeader("Model"),
      columnHeader("Memory", { class: "number" }),
      columnHeader("Of process", { class: "number" }),
      element("td", { class: "bar-column", "aria-hidden": "true" }),
    );
    this.#rows = new KeyedList(byId("memory-rows"), () => new MemoryRow());
  }

  update({ service, models }) {
    const sorted = models.filter(({ memory }) => memory > 0).sort((a, b) => b.memory - a.memory);
    const shown = sorted.slice(0, MAX_MEMORY_ROWS);
    const limits = { highest: shown[0]?.memory, rss: service.memory.rss };
    this.#rows.update(shown.map((model) => ({ model, ...limits })), ({ model }) => model.name);
    setText(byId("memory-note"), describeRest(shown, sorted.slice(MAX_MEMORY_ROWS)));
  }
}

function describeRest(shown, rest) {
  if (shown.length === 0) return "No model uses memory yet.";
  if (rest.length === 0) return "";
  return `${plural(rest.length, "smaller model")}: ${formatBytes(sumOf(rest, "memory"))} in total`;
}

class MemoryRow {
  constructor() {
    this.model = element("th", { scope: "row", role: "rowheader" });
    this.memory = tableCell("Memory", { class: "number" });
    this.share = tableCell("Of process", { class: "number" });
    this.bar = svgElement("rect", { class: "memory-bar", x: 0, height: "100%", rx: 2 });
    this.node = element("tr", { role: "row" }, this.model, this.memory, this.share,
      element("td", { class: "bar-column", "aria-hidden": "true" },
        svgElement("svg", { class: "track" }, this.bar)));
  }

  update({ model, highest, rss }) {
    setText(this.model, model.name);
    setText(this.memory, formatBytes(model.memory));
    setText(this.share, formatPercent(rss ? model.memory / rss : null));
    setAttribute(this.bar, "width", `${((100 * model.memory) / highest).toFixed(2)}%`);
  }
}
