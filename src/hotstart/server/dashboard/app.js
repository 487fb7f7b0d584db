// Connect the event stream to the store, and the store to the parts of the page.

import { EventStream, forgetKeys, getKey, promptForKey } from "./api.js";
import { byId, setAttribute, setText, setVisible } from "./dom.js";
import { plural } from "./format.js";
import { ModelTable } from "./models.js";
import { SearchPanel } from "./search.js";
import { MemoryTable, RequestTable, ServiceMetrics } from "./service.js";
import { countByStatus, Store } from "./store.js";

// Events come in bursts while many models load. Render once per burst.
const RENDER_DELAY = 40;
const ANNOUNCE_DELAY = 1000;
const MAX_ANNOUNCED_MODELS = 3;

// Announces changes to screen readers: collected for a second, and summarized if there are many.
class LiveRegion {
  #node;
  #changes = new Map();
  #timer = null;

  constructor(node) {
    this.#node = node;
  }

  addState({ model: name, status, reason }) {
    this.#changes.set(name, { name, status, reason });
    this.#timer ??= setTimeout(() => this.#announce(), ANNOUNCE_DELAY);
  }

  announceNow(text) {
    setText(this.#node, text);
  }

  #announce() {
    this.announceNow(describeChanges([...this.#changes.values()]));
    this.#changes.clear();
    this.#timer = null;
  }
}

function describeChanges(changes) {
  if (changes.length <= MAX_ANNOUNCED_MODELS) {
    return changes.map(({ name, status, reason }) => `${name} is ${status}: ${reason}`).join(". ");
  }
  const counts = [...countByStatus(changes)];
  return counts.map(([status, count]) => `${plural(count, "model")} ${status}`).join(", ");
}

const store = new Store();
const liveRegion = new LiveRegion(byId("live-region"));
const serviceMetrics = new ServiceMetrics(store);
const modelTable = new ModelTable(store);
const requestTable = new RequestTable();
const memoryTable = new MemoryTable();
const searchPanel = new SearchPanel();

let renderTimer = null;
let retryAt = null;
let retryAfterPrompt = null;

const eventHandlers = {
  overview: (overview) => store.setOverview(overview),
  state(event) {
    if (store.applyState(event)) liveRegion.addState(event);
  },
  progress: (event) => store.applyProgress(event),
};

const stream = new EventStream("events", {
  onOpen: () => setConnection("live", "live"),
  onEvent(name, data) {
    eventHandlers[name]?.(data);
    renderTimer ??= setTimeout(render, RENDER_DELAY);
  },
  onClose(retryDelay, reason) {
    store.freeze();
    setConnection("lost", "disconnected");
    showConnectionError(`Connection lost. ${reason}`, performance.now() + retryDelay);
  },
  async onUnauthorized() {
    setConnection("unauthorized", "API key required");
    if (await promptForKey("api")) return;
    showConnectionError("The server requires an API key. Retry and enter the key.", null);
    await new Promise((resolve) => { retryAfterPrompt = resolve; });
  },
});

function render() {
  renderTimer = null;
  const { overview } = store;
  if (overview === null) return;
  setVisible(byId("main"), true);
  serviceMetrics.update();
  modelTable.update();
  requestTable.update(overview.service.requests);
  memoryTable.update(overview);
  searchPanel.update(overview.service);
  const { api, admin } = overview.service.keys;
  setVisible(byId("key-button"), api || admin);
  setText(byId("key-button"), hasKey() ? "Forget key" : "Enter admin key");
}

function hasKey() {
  return Boolean(getKey("admin") || getKey("api"));
}

function setConnection(state, text) {
  setAttribute(byId("connection"), "data-connection", state);
  setText(byId("connection-text"), text);
  if (state === "live") setVisible(byId("connection-error"), false);
}

// `until`: the time of the next attempt, of performance.now(); null if the user has to retry.
function showConnectionError(text, until) {
  retryAt = until;
  setText(byId("connection-error-text"), text);
  setText(byId("countdown"), "");
  setVisible(byId("connection-error"), true);
  liveRegion.announceNow(text);
}

function updateCountdown() {
  if (byId("connection-error").hidden || retryAt === null) return;
  const seconds = Math.ceil((retryAt - performance.now()) / 1000);
  setText(byId("countdown"), seconds > 0 ? `Retrying in ${seconds} s.` : "Retrying …");
}

function tick() {
  if (document.hidden) return;
  updateCountdown();
  if (store.overview === null || byId("connection").dataset.connection !== "live") return;
  serviceMetrics.updateUptime();
  modelTable.updateLoads();
}

byId("retry").addEventListener("click", () => {
  retryAfterPrompt?.();
  stream.retryNow();
});

byId("key-button").addEventListener("click", async () => {
  if (hasKey()) forgetKeys();
  else await promptForKey("admin");
  render();
});

addEventListener("online", () => stream.retryNow());

// Without motion, running loads grow in steps of a second.
setInterval(tick, matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 250);
stream.run();
