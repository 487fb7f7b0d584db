// How long calls took, as columns: one for each bucket, beside a scale of a few round times.

import { drawn, element, mark, say } from "./elements.js";
import { count, seconds, UNKNOWN } from "./wording.js";

const COLUMN = 10;
const HEIGHT = 28;
const SCALE = 13;
const NAMED = new Map([[0.001, "1 ms"], [0.01, "10"], [0.1, "100"], [1, "1 s"], [10, "10"]]);

export class Histogram {
  #bounds = "";
  #columns = [];

  constructor() {
    this.none = element("span", { class: "quiet" }, UNKNOWN);
    this.picture = drawn("svg", { class: "histogram", role: "img", height: HEIGHT + SCALE });
    this.node = element("div", { class: "histogram-room" }, this.none, this.picture);
  }

  update({ bounds, counts }) {
    const total = counts.at(-1) ?? 0;
    mark(this.none, "hidden", total > 0);
    mark(this.picture, "class", total > 0 ? "histogram" : "histogram empty");
    if (total === 0) return;
    if (this.#bounds !== bounds.join()) this.#lay(bounds);
    const each = counts.map((upTo, place) => upTo - (counts[place - 1] ?? 0));
    const most = Math.max(...each);
    this.#columns.forEach((column, place) => column.update(each[place], most));
    mark(this.picture, "aria-label", told(bounds, counts, total));
  }

  #lay(bounds) {
    this.#bounds = bounds.join();
    this.#columns = [...bounds, Infinity].map((bound, place) => new Column(bounds, bound, place));
    const width = this.#columns.length * COLUMN;
    mark(this.picture, "width", width);
    mark(this.picture, "viewBox", `0 0 ${width} ${HEIGHT + SCALE}`);
    const floor = drawn("line", { class: "floor", x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT });
    this.picture.replaceChildren(...this.#columns.map(({ node }) => node), floor, ...scale(bounds));
  }
}

class Column {
  constructor(bounds, bound, place) {
    this.words = bound === Infinity ? `over ${seconds(bounds.at(-1))}` : `up to ${seconds(bound)}`;
    this.title = drawn("title");
    this.node = drawn("rect", { x: place * COLUMN + 0.5, width: COLUMN - 1, rx: 1 }, this.title);
  }

  update(number, most) {
    const height = number === 0 ? 0 : Math.max(1.5, (HEIGHT * number) / most);
    mark(this.node, "y", (HEIGHT - height).toFixed(1));
    mark(this.node, "height", height.toFixed(1));
    say(this.title, `${this.words}: ${count(number)}`);
  }
}

// A bound is the right edge of its column.
function scale(bounds) {
  return bounds.flatMap((bound, place) => {
    const name = NAMED.get(bound);
    if (!name) return [];
    const x = (place + 1) * COLUMN;
    return [drawn("text", { x, y: HEIGHT + SCALE - 2, "text-anchor": "middle" }, name)];
  });
}

function told(bounds, counts, total) {
  const within = (part) => {
    const place = counts.findIndex((upTo) => upTo >= part * total);
    return place < bounds.length ? `within ${seconds(bounds[place])}` : `over ${seconds(bounds.at(-1))}`;
  };
  return `${count(total)} calls: half ${within(0.5)}, 99 % ${within(0.99)}`;
}
