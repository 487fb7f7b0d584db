// What an admin may do with a model.

import { ask } from "./asking.js";
import { element, mark, say, show } from "./elements.js";

const ACTIONS = {
  load: { title: "Load", when: ({ status }) => ["unloaded", "failed", "skipped"].includes(status) },
  unload: { title: "Unload", when: ({ status }) => status === "ready" },
  reload: { title: "Reload", when: ({ status }) => status === "ready" || status === "failed" },
  rollback: { title: "Roll back", when: (model) => model.can_rollback },
};

export class Actions {
  #name;
  #buttons;
  #busy = false;

  constructor(name) {
    this.#name = name;
    this.#buttons = Object.entries(ACTIONS).map(([action, { title }]) => {
      const button = element("button", { type: "button", "aria-label": `${title} ${name}` }, title);
      button.addEventListener("click", () => this.#act(action, button));
      return button;
    });
    this.said = element("p", { class: "said", role: "alert" });
    this.row = element("div", { class: "actions" }, ...this.#buttons);
    this.node = element("div", {}, this.row, this.said);
  }

  // Without the server's admin key there is nothing to press, and so there are no buttons.
  update(model, admin) {
    if (!admin) this.row.remove();
    else if (!this.row.isConnected) this.node.prepend(this.row);
    show(this.said, admin);
    Object.values(ACTIONS).forEach(({ when }, place) => {
      // Not `disabled`: what has the focus must not lose it when the state changes.
      mark(this.#buttons[place], "aria-disabled", when(model) ? null : "true");
    });
  }

  async #act(action, button) {
    if (this.#busy || button.getAttribute("aria-disabled") === "true") return;
    this.#busy = true;
    say(this.said, "");
    mark(button, "aria-busy", "true");
    try {
      await ask(...request(action, this.#name));
    } catch (error) {
      say(this.said, error.message);
    }
    mark(button, "aria-busy", null);
    this.#busy = false;
  }
}

function request(action, name) {
  if (action === "reload") return ["api/v1/models/reload", { body: { models: [name] }, role: "admin" }];
  return [`api/v1/models/${encodeURIComponent(name)}/${action}`, { body: {}, role: "admin" }];
}
