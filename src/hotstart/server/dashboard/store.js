// The state of the service: the latest overview, and the events received since.

export class Store {
  overview = null;
  // Times are of performance.now(), in milliseconds.
  #overviewReceivedAt = 0;
  #loadStartedAt = new Map();
  #progress = new Map();
  #frozenAt = null;

  get models() {
    return this.overview?.models ?? [];
  }

  setOverview(overview) {
    this.overview = overview;
    this.#overviewReceivedAt = performance.now();
    // Loads may have begun while the page was disconnected.
    if (this.#frozenAt !== null) this.#loadStartedAt.clear();
    this.#frozenAt = null;
    for (const model of overview.models) this.#updateLoadStart(model);
  }

  // Apply a state event. Return the model, or null if the next overview will be the first with it.
  applyState({ model: name, version: label, status, reason }) {
    const model = this.#find(name);
    if (!model) return null;
    const version = model.versions.find((one) => one.version === label);
    if (version) Object.assign(version, { status, reason });
    // A version that loads beside the serving one does not change the state of the model.
    if (isServing(model, label)) this.#setStatus(model, label, status, reason);
    return model;
  }

  applyProgress({ model: name, stage, fraction, elapsed }) {
    const model = this.#find(name);
    if (!model) return;
    this.#progress.set(name, { stage, fraction, stageCount: model.timeline.length });
    if (elapsed !== null) this.#loadStartedAt.set(name, performance.now() - elapsed * 1000);
  }

  // Uptime of the service in seconds: the last value received plus the time since.
  uptime() {
    return this.overview.service.uptime + (this.#now() - this.#overviewReceivedAt) / 1000;
  }

  // The latest progress of a load, { stage, fraction }, or null.
  progress(model) {
    return this.#progress.get(model.name) ?? null;
  }

  // Seconds since the running load began; 0 without a load.
  elapsed(model) {
    const startedAt = this.#loadStartedAt.get(model.name);
    return startedAt === undefined ? 0 : Math.max(0, (this.#now() - startedAt) / 1000);
  }

  // Stop all clocks until the next overview: without a connection nothing may appear to progress.
  freeze() {
    this.#frozenAt ??= performance.now();
  }

  #now() {
    return this.#frozenAt ?? performance.now();
  }

  #setStatus(model, label, status, reason) {
    const loadBegins = status === "loading" && model.status !== "loading";
    Object.assign(model, { status, reason });
    if (status !== "loading") this.#progress.delete(model.name);
    if (!loadBegins || runningStage(model).stage !== UNNAMED_STAGE) return;
    // The stages in the timeline belong to an earlier load of this version.
    model.timeline = model.timeline.filter((stage) => stage.version !== label);
    this.#loadStartedAt.set(model.name, performance.now());
  }

  #find(name) {
    return this.models.find((model) => model.name === name);
  }

  // An overview says when in the load the running stage began, not how long ago the load began.
  // So the load began at the latest that many seconds ago.
  #updateLoadStart(model) {
    const stage = runningStage(model);
    if (!stage) {
      this.#loadStartedAt.delete(model.name);
      this.#progress.delete(model.name);
      return;
    }
    const progress = this.#progress.get(model.name);
    const isStale = progress?.stage !== stage.stage && progress?.stageCount < model.timeline.length;
    if (isStale) this.#progress.delete(model.name);
    const latest = performance.now() - stage.start * 1000;
    const startedAt = this.#loadStartedAt.get(model.name);
    if (startedAt === undefined || startedAt > latest) this.#loadStartedAt.set(model.name, latest);
  }
}

// The stage of a load that reports none.
const UNNAMED_STAGE = "load";

// The stages of the running load, else those of the load of the serving version.
export function currentStages(model) {
  const running = model.timeline.findLast((stage) => stage.end === null);
  const version = running?.version ?? model.version ?? model.timeline.at(-1)?.version;
  const stages = model.timeline.filter((stage) => stage.version === version);
  if (running || model.status !== "loading") return stages;
  // Not every kind of model reports stages: show the whole load as one.
  const start = stages.at(-1)?.end ?? 0;
  return [...stages, { version, stage: UNNAMED_STAGE, start, end: null }];
}

// The running stage of the current load, or undefined.
export function runningStage(model) {
  return currentStages(model).findLast((stage) => stage.end === null);
}

// Map each status to its number of models.
export function countByStatus(models) {
  const counts = new Map();
  for (const { status } of models) counts.set(status, (counts.get(status) ?? 0) + 1);
  return counts;
}

// Add up a field of all items. An unknown value counts as 0.
export function sumOf(items, field) {
  return items.reduce((total, item) => total + (item[field] ?? 0), 0);
}

function isServing(model, label) {
  return label === model.version || model.version === null || model.versions.length < 2;
}
