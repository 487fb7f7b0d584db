// The server's events, for as long as the page is open: read, and after a loss asked for again.
// EventSource cannot send a key, hence fetch.

import { headers } from "./asking.js";

// The server sends a comment every 15 s: this long a silence is a connection that died unseen.
const SILENCE = 40_000;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

export class Stream {
  #path;
  #hearer;
  #hurry = () => {};

  // `hearer`: event(name, data), live(), lost(milliseconds, why), and locked(), which resolves
  // once a key was given.
  constructor(path, hearer) {
    this.#path = path;
    this.#hearer = hearer;
  }

  async run() {
    for (let losses = 0; ; losses += 1) {
      const silence = new Silence();
      let why = "The server closed the connection.";
      try {
        const answer = await this.#opened(silence.signal);
        if (answer.status === 401) {
          await this.#hearer.locked();
          continue;
        }
        await this.#heard(answer.body, silence, () => { losses = 0; });
      } catch (error) {
        why = error.told ?? (silence.signal.aborted ? "Nothing was heard." : "The server cannot be reached.");
      } finally {
        silence.end();
      }
      await this.#paused(backoff(losses), why);
    }
  }

  // Does not wait any longer.
  retry() {
    this.#hurry();
  }

  async #opened(signal) {
    const answer = await fetch(this.#path, {
      headers: { Accept: "text/event-stream", ...headers("api") },
      cache: "no-store",
      signal,
    });
    if (answer.ok || answer.status === 401) return answer;
    throw Object.assign(new Error(), { told: `The server answered ${answer.status}.` });
  }

  async #heard(body, silence, began) {
    this.#hearer.live();
    for await (const { name, data } of events(body, () => silence.broken())) {
      began();
      this.#tell(name, data);
    }
  }

  // What goes wrong in showing an event is told, and no reason to connect anew.
  #tell(name, data) {
    try {
      this.#hearer.event(name, JSON.parse(data));
    } catch (error) {
      reportError(error);
    }
  }

  #paused(milliseconds, why) {
    this.#hearer.lost(milliseconds, why);
    return new Promise((resolve) => {
      const waiting = setTimeout(resolve, milliseconds);
      this.#hurry = () => { clearTimeout(waiting); resolve(); };
    });
  }
}

// Ends a connection on which nothing comes any more.
class Silence {
  #ended = new AbortController();
  #watch = null;

  constructor() {
    this.broken();
  }

  get signal() {
    return this.#ended.signal;
  }

  broken() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#ended.abort(), SILENCE);
  }

  end() {
    clearTimeout(this.#watch);
  }
}

// Twice as long after each loss, and not all pages in the same moment.
function backoff(losses) {
  const wait = Math.min(FIRST_WAIT * 2 ** losses, LONGEST_WAIT);
  return wait * (0.75 + Math.random() / 2);
}

async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    // Data are JSON, which holds no bare carriage return: those are of the line ends alone.
    const whole = (unread + value.replaceAll("\r", "")).split("\n\n");
    unread = whole.pop();
    for (const block of whole) {
      const event = parsed(block);
      if (event.data !== "") yield event;
    }
  }
}

function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5));
  }
  return { name, data: data.join("\n").trim() };
}
