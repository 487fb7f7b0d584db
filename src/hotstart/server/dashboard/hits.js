// Hits of a search. A later answer changes the list in place and marks what it moved.

import { element, Kept, mark, say } from "./elements.js";

const MOVING = 250;

export class Hits {
  #list;
  #kept;

  constructor(list) {
    this.#list = list;
    this.#kept = new Kept(list, () => new Hit());
  }

  // `before` are the hits of the earlier answer to the same query, null for a first one.
  update(hits, query, before) {
    const places = new Map((before ?? []).map((hit, place) => [keyOf(hit), place]));
    const rows = hits.map((hit, place) => ({
      hit,
      words: wordsOf(query),
      move: before === null ? null : moveOf(places.get(keyOf(hit)), place),
    }));
    this.#glide(() => this.#kept.update(rows, ({ hit }) => keyOf(hit)));
    return {
      fresh: rows.filter(({ move }) => move === "new").length,
      moved: rows.filter(({ move }) => move && move !== "new").length,
    };
  }

  // Each hit goes from where it was to where it is: the eye follows it.
  #glide(change) {
    const before = new Map([...this.#list.children].map((node) => [node, node.offsetTop]));
    change();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [node, top] of before) {
      const way = top - node.offsetTop;
      if (!node.isConnected || way === 0) continue;
      node.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }],
        { duration: MOVING, easing: "ease-out" });
    }
  }
}

class Hit {
  constructor() {
    this.path = element("span", { class: "path" });
    this.heading = element("span", { class: "quiet" });
    this.move = element("span", { class: "move" });
    this.by = element("span", { class: "by quiet" });
    this.text = element("p", { class: "passage" });
    this.node = element("li", {},
      element("p", { class: "where" }, this.path, this.move, this.by), this.heading, this.text);
  }

  update({ hit, words, move }) {
    say(this.path, `${hit.path}:${hit.start_line}–${hit.end_line}`);
    say(this.heading, hit.heading ?? "");
    say(this.by, hit.found_by.join(" + "));
    say(this.move, move ?? "");
    mark(this.move, "hidden", move === null);
    mark(this.node, "data-move", move === null ? null : move === "new" ? "new" : "moved");
    this.text.replaceChildren(...marked(hit.text, words));
  }
}

function keyOf({ path, start_line: line }) {
  return `${path}:${line}`;
}

function moveOf(was, is) {
  if (was === undefined) return "new";
  if (was === is) return null;
  return was > is ? `up ${was - is}` : `down ${is - was}`;
}

// Words of the query that say something, each from its beginning.
function wordsOf(query) {
  const words = query.match(/[\p{L}\p{N}]{3,}/gu) ?? [];
  return words.length ? new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})`, "giu") : null;
}

function marked(text, words) {
  if (words === null) return [text];
  return text.split(words).map((part, place) => (place % 2 ? element("mark", {}, part) : part));
}
