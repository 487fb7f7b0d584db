// All models: one row each, filtered by name and state.

import { ask } from "./asking.js";
import { byId, element, heading, Kept, mark, say, show } from "./elements.js";
import { Model } from "./model.js";
import { numbered } from "./service.js";
import { current, laid, legend, length, running, scaleFor } from "./timeline.js";
import { count, seconds, span } from "./wording.js";

const STATES = ["all", "ready", "loading", "failed", "skipped", "unloaded"];
// More rows than this are given on request: a page of 200 is no overview.
const MOST = 50;
const COLUMNS = ["Version", "Memory", "Calls", "p50", "p99", "Waiting", "Cache"];

export class Models {
  #known;
  #rows;
  #choices;
  #scale;
  #state = "all";
  #name = "";
  #most = MOST;

  constructor(known) {
    this.#known = known;
    byId("model-columns").append(heading("Model"), heading("State"), heading("Load"),
      ...COLUMNS.map((name) => heading(name, { class: "number" })));
    this.#scale = element("li", { class: "scale" });
    byId("stages").append(...legend(), this.#scale);
    const table = byId("model-table");
    this.#rows = new Kept(table, (model) => new Model(model, known), table.tHead);
    this.#choices = STATES.map((state) => new Choice(state, () => this.#choose(state)));
    byId("states").append(...this.#choices.map(({ node }) => node));
    byId("filter").addEventListener("input", ({ target }) => {
      this.#name = target.value.trim().toLowerCase();
      this.#sift();
    });
    byId("more").addEventListener("click", () => this.#showAll());
    byId("all-actions").append(this.#reloadAll());
  }

  update() {
    const { models, service } = this.#known.overview;
    const { admin } = service.keys;
    show(byId("no-admin"), !admin);
    show(byId("all-actions"), admin);
    const scale = this.#measure();
    this.#rows.update(models.map((model) => ({ model, scale, admin })), ({ model }) => model.name);
    const numbers = numbered(models).set("all", models.length);
    for (const choice of this.#choices) choice.update(numbers, this.#state);
    this.#sift();
  }

  // Only what grows.
  tick() {
    const growing = this.#known.models.filter(running);
    if (growing.length === 0) return;
    const scale = this.#measure();
    for (const model of growing) this.#rows.get(model.name)?.grow(model, scale);
  }

  #measure() {
    const lengths = this.#known.models.map((model) =>
      length(laid(current(model), this.#known.elapsed(model))));
    const scale = scaleFor(Math.max(0, ...lengths));
    say(this.#scale, `a lane spans ${scale < 1 ? seconds(scale) : span(scale)}`);
    return scale;
  }

  #choose(state) {
    this.#state = state;
    this.update();
  }

  #sift() {
    let found = 0;
    for (const model of this.#known.models) {
      const fits = (this.#state === "all" || model.status === this.#state)
        && model.name.toLowerCase().includes(this.#name);
      found += fits;
      show(this.#rows.get(model.name).node, fits && found <= this.#most);
    }
    show(byId("none"), found === 0);
    show(byId("more"), found > this.#most);
    say(byId("more"), `Show ${count(found - this.#most)} more`);
  }

  // The button goes; the focus goes on to the first model that it brought.
  #showAll() {
    const first = [...this.#rows.values()].find(({ node }) => node.hidden);
    this.#most = Infinity;
    this.#sift();
    first?.button.focus();
  }

  #reloadAll() {
    const button = element("button", { type: "button" }, "Reload all");
    button.addEventListener("click", async () => {
      say(byId("all-said"), "");
      mark(button, "aria-busy", "true");
      try {
        await ask("api/v1/models/reload", { body: {}, role: "admin" });
      } catch (error) {
        say(byId("all-said"), error.message);
      }
      mark(button, "aria-busy", null);
    });
    return button;
  }
}

class Choice {
  constructor(state, chosen) {
    this.state = state;
    this.number = element("span", { class: "number" });
    this.node = element("button", { type: "button" }, `${state} `, this.number);
    this.node.addEventListener("click", chosen);
  }

  update(numbers, chosen) {
    const number = numbers.get(this.state) ?? 0;
    say(this.number, count(number));
    mark(this.node, "aria-pressed", String(this.state === chosen));
    show(this.node, number > 0 || this.state === chosen || this.state === "all");
  }
}
