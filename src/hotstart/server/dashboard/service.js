// The head of the page: how the service is, and its figures.

import { byId, element, mark, say, show } from "./elements.js";
import { bytes, count, listed, share, span, UNKNOWN } from "./wording.js";

const ORDER = ["ready", "loading", "unloading", "failed", "skipped", "unloaded"];
// A rate over less than this jumps about.
const RATE_OVER = 10;

export class Service {
  #known;
  #figures;
  #counted = [];

  constructor(known) {
    this.#known = known;
    const names = ["Uptime", "Memory", "Models", "Requests", "Queue", "Cache"];
    this.#figures = Object.fromEntries(names.map((name) => [name, new Figure(name)]));
    this.#figures.Memory.measured();
    byId("figures").append(...Object.values(this.#figures).map(({ node }) => node));
  }

  update() {
    const { service, models } = this.#known.overview;
    say(byId("release"), service.version);
    this.#health(service, models);
    this.#memory(service.memory);
    this.#requests(service);
    this.#models(models);
    this.#queue(models.flatMap((model) => model.lanes));
    this.#cache(models.map((model) => model.cache).filter((cache) => cache !== null));
    this.tick();
  }

  tick() {
    const { service } = this.#known.overview;
    this.#figures.Uptime.say(span(this.#known.uptime()), `process ${service.pid}`);
  }

  #health(service, models) {
    const health = byId("health");
    const status = service.draining ? "draining" : service.status;
    say(health, status);
    mark(health, "data-state", status);
    const numbers = numbered(models);
    const told = ORDER.filter((state) => numbers.has(state));
    say(byId("summary"), listed(...told.map((state) => `${numbers.get(state)} ${state}`)));
    document.title = `${numbers.get("ready") ?? 0}/${models.length} ready · hotstart`;
  }

  #models(models) {
    const ready = models.filter((model) => model.status === "ready");
    const held = models.reduce((sum, model) => sum + (model.memory ?? 0), 0);
    this.#figures.Models.say(`${ready.length} of ${models.length}`, `${bytes(held)} held`);
  }

  #memory({ rss, limit, left, limited_by: limitedBy }) {
    const figure = this.#figures.Memory;
    const whole = limit === null ? "" : ` of ${bytes(limit)}`;
    figure.say(bytes(rss), left === null ? "" : `${bytes(left)} left${whole}`, limitedBy ?? "");
    show(figure.meter, limit !== null && left !== null);
    if (limit !== null && left !== null) figure.measure(limit - left, limit);
  }

  #requests({ requests, uptime }) {
    const total = sum(requests, "count");
    const errors = sum(requests, "errors");
    this.#figures.Requests.say(
      count(total),
      errors ? `${count(errors)} failed` : "none failed",
      this.#rate(total, uptime),
    );
  }

  // From what was counted in the last seconds; a server that began anew begins anew here too.
  #rate(total, uptime) {
    if (this.#counted.at(-1)?.uptime > uptime) this.#counted = [];
    this.#counted.push({ total, uptime });
    while (this.#counted.length > 2 && this.#counted[1].uptime < uptime - RATE_OVER) {
      this.#counted.shift();
    }
    const [first] = this.#counted;
    if (uptime - first.uptime < 1) return "";
    const rate = (total - first.total) / (uptime - first.uptime);
    return `${rate >= 10 ? count(rate) : rate.toFixed(1)} a second`;
  }

  #queue(lanes) {
    const of = (name) => lanes.filter(({ lane }) => lane === name);
    const waiting = (name) => count(sum(of(name), "waiting"));
    this.#figures.Queue.say(
      `${count(sum(lanes, "waiting"))} waiting`,
      `interactive ${waiting("interactive")} · bulk ${waiting("bulk")}`,
      `${count(sum(lanes, "running"))} running`,
    );
  }

  #cache(caches) {
    const hits = sum(caches, "hits");
    const asked = hits + sum(caches, "misses");
    const prefetched = sum(caches, "prefetch_hits");
    this.#figures.Cache.say(
      asked ? `${share(hits / asked)} hits` : UNKNOWN,
      caches.length ? `${count(sum(caches, "entries"))} kept · ${bytes(sum(caches, "bytes"))}` : "no cache",
      caches.length ? `prefetch ${count(prefetched)} used` : "",
    );
  }
}

class Figure {
  constructor(name) {
    this.value = element("span", { class: "value" });
    this.under = element("span", { class: "quiet" });
    this.more = element("span", { class: "quiet" });
    this.meter = null;
    this.room = element("dd", {}, this.value, this.under, this.more);
    this.node = element("div", {}, element("dt", { class: "quiet" }, name), this.room);
  }

  say(value, under, more) {
    say(this.value, value);
    say(this.under, under);
    if (more !== undefined) say(this.more, more);
  }

  measured() {
    this.meter = element("meter", { min: 0, "aria-label": "Memory taken of its limit", hidden: true });
    this.room.insertBefore(this.meter, this.under);
  }

  measure(value, limit) {
    mark(this.meter, "max", limit);
    mark(this.meter, "high", Math.round(limit * 0.9));
    mark(this.meter, "value", value);
  }
}

export function numbered(models) {
  const numbers = new Map();
  for (const { status } of models) numbers.set(status, (numbers.get(status) ?? 0) + 1);
  return numbers;
}

function sum(items, name) {
  return items.reduce((total, item) => total + item[name], 0);
}
