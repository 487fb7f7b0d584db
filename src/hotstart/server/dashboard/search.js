// Ask the index: at once for what the words find, then for what the meaning adds.

import { ask } from "./asking.js";
import { byId, mark, say, show } from "./elements.js";
import { Hits } from "./hits.js";
import { count, seconds } from "./wording.js";

const TOP = 5;

export class Search {
  #hits = new Hits(byId("hits"));
  #asking = null;

  constructor() {
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(byId("query").value.trim());
    });
  }

  update({ index }) {
    show(byId("search"), index);
  }

  async #search(query) {
    if (query === "") return;
    this.#asking?.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const put = (deadline) => ask("search", { body: { query, top_k: TOP, deadline }, signal });
    mark(byId("hits"), "aria-busy", "true");
    try {
      const first = await put(0);
      this.#tell(first, query, null);
      if (first.mode === "lexical") this.#tell(await put(null), query, first);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#say(error.message, "failed");
    }
    if (!signal.aborted) mark(byId("hits"), "aria-busy", null);
  }

  #tell(answer, query, before) {
    const changes = this.#hits.update(answer.hits, query, before?.hits ?? null);
    const followed = before === null && answer.mode === "lexical";
    this.#say([
      `${answer.mode} in ${seconds(answer.seconds)}`,
      found(answer.hits.length),
      answer.reason,
      followed ? "asking on, with meaning …" : null,
      before && changed(changes, before.mode, answer.mode),
    ].filter(Boolean).join(" · "), answer.mode);
  }

  #say(text, mode) {
    say(byId("answer"), text);
    mark(byId("answer"), "data-mode", mode);
  }
}

function found(number) {
  return number === 1 ? "1 hit" : `${number === 0 ? "no" : count(number)} hits`;
}

function changed({ fresh, moved }, from, to) {
  if (from === to) return null;
  if (fresh + moved === 0) return "the same hits in the same order";
  return [fresh && `${fresh} new`, moved && `${moved} moved`].filter(Boolean).join(", ");
}
