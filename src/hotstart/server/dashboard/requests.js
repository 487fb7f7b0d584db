// What was asked over HTTP, by route.

import { byId, cell, element, heading, Kept, say, show } from "./elements.js";
import { Histogram } from "./histogram.js";
import { count, seconds } from "./wording.js";

export class Requests {
  #rows;

  constructor() {
    byId("request-columns").append(
      heading("Route"),
      ...["Requests", "Errors", "p50", "p99"].map((name) => heading(name, { class: "number" })),
      heading("Latency", { class: "wide" }),
    );
    this.#rows = new Kept(byId("routes"), () => new Route());
  }

  update(requests) {
    show(byId("no-requests"), requests.length === 0);
    this.#rows.update(requests, ({ route }) => route);
  }
}

class Route {
  constructor() {
    this.name = element("th", { scope: "row", role: "rowheader", class: "path" });
    const number = (label) => cell(label, { class: "number" });
    this.count = number("Requests");
    this.errors = number("Errors");
    this.p50 = number("p50");
    this.p99 = number("p99");
    this.latency = new Histogram();
    this.node = element("tr", { role: "row" }, this.name, this.count, this.errors, this.p50, this.p99,
      cell("Latency", { class: "wide" }, this.latency.node));
  }

  update(request) {
    say(this.name, request.route);
    say(this.count, count(request.count));
    say(this.errors, count(request.errors));
    say(this.p50, seconds(request.p50));
    say(this.p99, seconds(request.p99));
    this.latency.update(request.latency);
  }
}
