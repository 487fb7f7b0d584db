// What changed, for those who do not see it: gathered for a second, and never a flood.

import { say } from "./elements.js";

const GATHERED = 1000;
const MOST = 3;

export class Announcer {
  #region;
  #gathered = new Map();
  #waiting = null;

  constructor(region) {
    this.#region = region;
  }

  state(name, status, reason) {
    this.#gathered.set(name, { status, reason });
    this.#waiting ??= setTimeout(() => this.#announce(), GATHERED);
  }

  #announce() {
    say(this.#region, told([...this.#gathered]));
    this.#gathered.clear();
    this.#waiting = null;
  }
}

function told(changes) {
  if (changes.length <= MOST) {
    return changes.map(([name, { status, reason }]) => `${name} is ${status}: ${reason}`).join(". ");
  }
  const numbers = new Map();
  for (const [, { status }] of changes) numbers.set(status, (numbers.get(status) ?? 0) + 1);
  return [...numbers].map(([status, number]) => `${number} models ${status}`).join(", ");
}
