// The page: what is heard goes to what is known, and from there to each part that shows it.

import { Announcer } from "./announcing.js";
import { byId, mark, say, show } from "./elements.js";
import { forgetKeys, keyOf, keyWanted } from "./keys.js";
import { Known } from "./known.js";
import { Memory } from "./memory.js";
import { Models } from "./models.js";
import { Requests } from "./requests.js";
import { Search } from "./search.js";
import { Service } from "./service.js";
import { Stream } from "./stream.js";

const known = new Known();
const announcer = new Announcer(byId("announced"));
const service = new Service(known);
const models = new Models(known);
const requests = new Requests();
const memory = new Memory();
const search = new Search();

// Events come in bursts, where many models load: what they change is shown once for each burst.
const BURST = 40;

const HEARD = {
  overview: (overview) => known.take(overview),
  state(told) {
    if (known.tell(told)) announcer.state(told.model, told.status, told.reason);
  },
  progress: (told) => known.advance(told),
};

const stream = new Stream("events", {
  event(name, data) {
    HEARD[name]?.(data);
    showing ??= setTimeout(showAll, BURST);
  },
  live: () => connected("live", "live"),
  lost(milliseconds, why) {
    known.stop();
    connected("lost", "not connected");
    trouble(`Connection lost. ${why}`, performance.now() + milliseconds);
  },
  async locked() {
    const why = keyOf("api") ? "That key was refused." : null;
    connected("locked", "locked");
    if (await keyWanted("api", why)) return;
    trouble("This server answers those who give its key.", null);
    await new Promise((resolve) => { unlock = resolve; });
  },
});

let showing = null;
let unlock = null;
let retryAt = null;

function showAll() {
  showing = null;
  const { overview } = known;
  if (overview === null) return;
  show(byId("main"), true);
  service.update();
  models.update();
  requests.update(overview.service.requests);
  memory.update(overview);
  search.update(overview.service);
  show(byId("key"), overview.service.keys.api || overview.service.keys.admin);
  say(byId("key"), keyOf("admin") || keyOf("api") ? "Forget key" : "Give admin key");
}

function connected(state, words) {
  mark(byId("connection"), "data-connection", state);
  say(byId("connected"), words);
  if (state === "live") show(byId("trouble"), false);
}

function trouble(words, until) {
  retryAt = until;
  say(byId("trouble-said"), words);
  say(byId("countdown"), "");
  show(byId("trouble"), true);
  say(byId("announced"), words);
}

function countDown() {
  if (byId("trouble").hidden || retryAt === null) return;
  const left = Math.ceil((retryAt - performance.now()) / 1000);
  say(byId("countdown"), left > 0 ? `Trying again in ${left} s.` : "Trying again …");
}

function tick() {
  if (document.hidden) return;
  countDown();
  if (known.overview === null || byId("connection").dataset.connection !== "live") return;
  service.tick();
  models.tick();
}

byId("retry").addEventListener("click", () => {
  unlock?.();
  stream.retry();
});

byId("key").addEventListener("click", async () => {
  if (keyOf("admin") || keyOf("api")) forgetKeys();
  else await keyWanted("admin", null);
  showAll();
});

addEventListener("online", () => stream.retry());

// Growth in steps of a second where motion is unwelcome.
setInterval(tick, matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 250);
stream.run();
