// Search the index: show the lexical hits at once, then the hybrid ones.

import { post } from "./api.js";
import { byId, element, KeyedList, setAttribute, setText, setVisible } from "./dom.js";
import { formatCount, formatSeconds, joinParts } from "./format.js";

const TOP_K = 5;
const ANIMATION_MS = 250;

export class SearchPanel {
  #hits = new HitList(byId("hits"));
  #controller = null;

  constructor() {
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(byId("query").value.trim());
    });
  }

  update({ index }) {
    setVisible(byId("search"), index);
  }

  // With timeout 0 the server answers without a model; with null it waits for the model.
  async #search(query) {
    if (query === "") return;
    this.#controller?.abort();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const request = (timeout) => post("search", { body: { query, top_k: TOP_K, timeout }, signal });
    setAttribute(byId("hits"), "aria-busy", "true");
    try {
      const first = await request(0);
      this.#showFirst(first);
      if (first.mode === "lexical") this.#showSecond(await request(null), first);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#showStatus(error.message, "failed");
    }
    if (!signal.aborted) setAttribute(byId("hits"), "aria-busy", null);
  }

  #showFirst(result) {
    this.#hits.update(result.hits, null);
    const next = result.mode === "lexical" ? "searching by meaning …" : null;
    this.#showStatus(joinParts(describeResult(result), next), result.mode);
  }

  #showSecond(result, first) {
    const changes = this.#hits.update(result.hits, first.hits);
    const difference = result.mode === first.mode ? null : describeChanges(changes);
    this.#showStatus(joinParts(describeResult(result), difference), result.mode);
  }

  #showStatus(text, mode) {
    setText(byId("search-status"), text);
    setAttribute(byId("search-status"), "data-mode", mode);
  }
}

function describeResult({ mode, seconds, hits, reason }) {
  const number = hits.length === 0 ? "no" : formatCount(hits.length);
  const noun = hits.length === 1 ? "hit" : "hits";
  return joinParts(`${mode} in ${formatSeconds(seconds)}`, `${number} ${noun}`, reason);
}

function describeChanges({ added, moved }) {
  if (added + moved === 0) return "same hits in the same order";
  return [added && `${added} new`, moved && `${moved} moved`].filter(Boolean).join(", ");
}

// The hits of a search. A second result updates the list in place and marks what moved.
class HitList {
  #node;
  #rows;

  constructor(node) {
    this.#node = node;
    this.#rows = new KeyedList(node, () => new Hit());
  }

  // `previous`: the hits of the first result, or null. Return the changes.
  update(hits, previous) {
    const previousPlaces = new Map((previous ?? []).map((hit, place) => [hitKey(hit), place]));
    const rows = hits.map((hit, place) => ({
      hit,
      move: previous === null ? null : describeMove(previousPlaces.get(hitKey(hit)), place),
    }));
    this.#animate(() => this.#rows.update(rows, ({ hit }) => hitKey(hit)));
    return {
      added: rows.filter(({ move }) => move === "new").length,
      moved: rows.filter(({ move }) => move && move !== "new").length,
    };
  }

  // Slide each hit from its old place to its new one.
  #animate(change) {
    const oldTops = new Map([...this.#node.children].map((node) => [node, node.offsetTop]));
    change();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [node, oldTop] of oldTops) {
      const distance = oldTop - node.offsetTop;
      if (!node.isConnected || distance === 0) continue;
      node.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }],
        { duration: ANIMATION_MS, easing: "ease-out" });
    }
  }
}

class Hit {
  constructor() {
    this.path = element("span", { class: "path" });
    this.move = element("span", { class: "hit-move" });
    this.foundBy = element("span", { class: "hit-source muted" });
    this.heading = element("span", { class: "muted" });
    this.lines = element("pre", { class: "passage" });
    this.node = element("li", {},
      element("p", { class: "hit-head" }, this.path, this.move, this.foundBy),
      this.heading, this.lines);
  }

  update({ hit, move }) {
    setText(this.path, `${hit.path}:${hit.line}`);
    setText(this.heading, hit.heading ?? "");
    setText(this.foundBy, hit.found_by.join(" + "));
    setText(this.move, move ?? "");
    setAttribute(this.move, "hidden", move === null);
    setAttribute(this.node, "data-move", move === null ? null : move === "new" ? "new" : "moved");
    this.lines.replaceChildren(...hit.lines.map(showLine));
  }
}

function hitKey({ path, start_line: line }) {
  return `${path}:${line}`;
}

function describeMove(oldPlace, place) {
  if (oldPlace === undefined) return "new";
  if (oldPlace === place) return null;
  return oldPlace > place ? `up ${oldPlace - place}` : `down ${place - oldPlace}`;
}

// A line of the file behind its number. Matches are pairs of places, counted in code points.
function showLine({ number, text, matches }) {
  const characters = Array.from(text);
  const parts = [];
  let end = 0;
  for (const [start, stop] of matches) {
    parts.push(characters.slice(end, start).join(""));
    parts.push(element("mark", {}, characters.slice(start, stop).join("")));
    end = stop;
  }
  parts.push(characters.slice(end).join(""));
  return element("span", {}, element("span", { class: "muted" }, `${number} `), ...parts, "\n");
}
