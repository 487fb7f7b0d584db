// What is known of the service: the last overview, and what was told since.

import { running } from "./timeline.js";

export class Known {
  overview = null;
  #took = 0;
  #began = new Map();
  #progress = new Map();
  #stopped = null;

  get models() {
    return this.overview?.models ?? [];
  }

  take(overview) {
    this.overview = overview;
    this.#took = performance.now();
    // What loads now may have begun while nothing was heard.
    if (this.#stopped !== null) this.#began.clear();
    this.#stopped = null;
    for (const model of overview.models) this.#follow(model);
  }

  // Returns the model it was told of; one that is not known yet comes with the next overview.
  tell({ model: name, version, status, reason }) {
    const model = this.#named(name);
    if (!model) return null;
    const told = model.versions.find((one) => one.version === version);
    if (told) Object.assign(told, { status, reason });
    // A version that loads beside the one that serves does not change what callers get.
    if (serves(model, version)) this.#enter(model, version, status, reason);
    return model;
  }

  advance({ model: name, stage, fraction, elapsed }) {
    const model = this.#named(name);
    if (!model) return;
    this.#progress.set(name, { stage, fraction, stages: model.timeline.length });
    if (elapsed !== null) this.#began.set(name, performance.now() - elapsed * 1000);
  }

  // The service's age now, by this page's clock from what was last told.
  uptime() {
    return this.overview.service.uptime + (this.#now() - this.#took) / 1000;
  }

  progress(model) {
    return this.#progress.get(model.name) ?? null;
  }

  // Seconds since the load under way began.
  elapsed(model) {
    const began = this.#began.get(model.name);
    return began === undefined ? 0 : Math.max(0, (this.#now() - began) / 1000);
  }

  // While nothing is heard, nothing may seem to go on.
  stop() {
    this.#stopped ??= performance.now();
  }

  #now() {
    return this.#stopped ?? performance.now();
  }

  #enter(model, version, status, reason) {
    const begins = status === "loading" && model.status !== "loading";
    Object.assign(model, { status, reason });
    if (status !== "loading") this.#progress.delete(model.name);
    if (!begins || running(model).stage !== "load") return;
    // The stages known so far are an earlier load's.
    model.timeline = model.timeline.filter((stage) => stage.version !== version);
    this.#began.set(model.name, performance.now());
  }

  #named(name) {
    return this.models.find((model) => model.name === name);
  }

  // An overview tells when the running stage began, not how long ago: at least that has passed.
  #follow(model) {
    const stage = running(model);
    if (!stage) {
      this.#began.delete(model.name);
      this.#progress.delete(model.name);
      return;
    }
    const progress = this.#progress.get(model.name);
    const over = progress?.stage !== stage.stage && progress?.stages < model.timeline.length;
    if (over) this.#progress.delete(model.name);
    const latest = performance.now() - stage.start * 1000;
    const began = this.#began.get(model.name);
    if (began === undefined || began > latest) this.#began.set(model.name, latest);
  }
}

function serves(model, version) {
  return version === model.version || model.version === null || model.versions.length < 2;
}
