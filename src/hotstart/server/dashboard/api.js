// Talk to the server: API keys, requests, and the stream of events.

import { byId, setText } from "./dom.js";

// ── API keys ── stored in the session storage of this tab, nowhere else.

const KEY_TEXTS = {
  api: { title: "API key", prompt: "This server requires an API key." },
  admin: { title: "Admin key", prompt: "Loading and unloading models requires the admin key." },
};
const REJECTED = "The server rejected this key. Enter another one.";

let openPrompt = null;

const storageName = (role) => `hotstart-${role}-key`;

export function getKey(role) {
  return sessionStorage.getItem(storageName(role));
}

export function forgetKeys() {
  for (const role of Object.keys(KEY_TEXTS)) sessionStorage.removeItem(storageName(role));
}

// Ask the user for a key; resolve to whether one was entered. Calls share one open dialog.
export function promptForKey(role) {
  openPrompt ??= showKeyDialog(role).finally(() => { openPrompt = null; });
  return openPrompt;
}

function showKeyDialog(role) {
  const dialog = byId("key-dialog");
  const input = byId("key-input");
  setText(byId("key-title"), KEY_TEXTS[role].title);
  setText(byId("key-prompt"), getKey(role) ? REJECTED : KEY_TEXTS[role].prompt);
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    byId("key-cancel").onclick = () => dialog.close("");
    byId("key-form").onsubmit = () => { dialog.returnValue = "submitted"; };
    dialog.onclose = () => {
      const entered = dialog.returnValue === "submitted" && input.value !== "";
      if (entered) sessionStorage.setItem(storageName(role), input.value);
      input.value = "";
      resolve(entered);
    };
  });
}

// A key belongs in a header: URLs are logged and kept in the browser history.
function authorization(role) {
  const key = getKey(role);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// ── Requests ──

// A request that failed. The message is the server's problem document, or a network error.
export class ApiError extends Error {
  constructor(status, detail, remedy) {
    super(remedy ? `${detail} ${remedy}` : detail);
    this.status = status;
  }
}

// POST `body` as JSON and return the JSON response. `role` is the key to send, "api" or "admin".
// If the server rejects the key, ask the user for another one and repeat the request.
export async function post(path, { body, role = "api", signal } = {}) {
  if (role === "admin" && !getKey("admin")) await requireKey(role);
  for (;;) {
    const headers = { "Content-Type": "application/json", ...authorization(role) };
    const options = { method: "POST", headers, body: JSON.stringify(body), signal };
    const response = await fetch(path, options).catch(raiseNetworkError);
    if (response.ok) return response.json();
    const error = await readProblem(response);
    if (!isKeyError(response.status, role)) throw error;
    await requireKey(role);
  }
}

function isKeyError(status, role) {
  return status === 401 || (status === 403 && role === "admin");
}

async function requireKey(role) {
  if (await promptForKey(role)) return;
  throw new ApiError(401, "The request needs a key. Send it again and enter the key.");
}

function raiseNetworkError(error) {
  if (error.name === "AbortError") throw error;
  throw new ApiError(0, "The server is unreachable. Check that it is running.");
}

async function readProblem(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ?? problem.title ?? `The server returned HTTP ${response.status}.`;
  return new ApiError(response.status, detail, problem.remedy);
}

// ── Server-sent events ── read with fetch, because EventSource cannot send a key.

// The server sends a comment every 15 s. A longer silence means that the connection is dead.
const IDLE_TIMEOUT = 40_000;
const FIRST_RETRY_DELAY = 500;
const MAX_RETRY_DELAY = 15_000;

// The events of `path`. Reconnects after a loss, for as long as the page is open.
export class EventStream {
  #path;
  #handlers;
  #endDelay = () => {};

  // `handlers`: onOpen(), onEvent(name, data), onClose(retryDelay, reason), and
  // onUnauthorized(), which returns a promise that resolves when the user wants another attempt.
  constructor(path, handlers) {
    this.#path = path;
    this.#handlers = handlers;
  }

  async run() {
    for (let failures = 0; ; failures += 1) {
      const timeout = new IdleTimeout(IDLE_TIMEOUT);
      let reason = "The server closed the connection.";
      try {
        const response = await this.#connect(timeout.signal);
        if (response.status === 401) {
          await this.#handlers.onUnauthorized();
          continue;
        }
        this.#handlers.onOpen();
        for await (const { name, data } of readEvents(response.body, () => timeout.restart())) {
          failures = 0;
          this.#dispatch(name, data);
        }
      } catch (error) {
        reason = describeFailure(error, timeout.signal);
      } finally {
        timeout.stop();
      }
      await this.#delay(retryDelay(failures), reason);
    }
  }

  // Reconnect now instead of after the delay.
  retryNow() {
    this.#endDelay();
  }

  async #connect(signal) {
    const response = await fetch(this.#path, {
      headers: { Accept: "text/event-stream", ...authorization("api") },
      cache: "no-store",
      signal,
    });
    if (response.ok || response.status === 401) return response;
    throw await readProblem(response);
  }

  // A handler that fails is reported, and is no reason to reconnect.
  #dispatch(name, data) {
    try {
      this.#handlers.onEvent(name, JSON.parse(data));
    } catch (error) {
      reportError(error);
    }
  }

  #delay(milliseconds, reason) {
    this.#handlers.onClose(milliseconds, reason);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#endDelay = () => { clearTimeout(timer); resolve(); };
    });
  }
}

// Aborts `signal` unless restarted within `milliseconds`.
class IdleTimeout {
  #controller = new AbortController();
  #milliseconds;
  #timer = null;

  constructor(milliseconds) {
    this.#milliseconds = milliseconds;
    this.restart();
  }

  get signal() {
    return this.#controller.signal;
  }

  restart() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#milliseconds);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

function describeFailure(error, signal) {
  if (error instanceof ApiError) return error.message;
  if (signal.aborted) return `The server sent nothing for ${IDLE_TIMEOUT / 1000} s.`;
  return "The server is unreachable.";
}

// Exponential backoff with jitter, so that open pages do not reconnect all at once.
function retryDelay(failures) {
  const delay = Math.min(FIRST_RETRY_DELAY * 2 ** failures, MAX_RETRY_DELAY);
  return delay * (0.75 + Math.random() / 2);
}

async function* readEvents(body, onData) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onData();
    // The data is JSON, which contains no raw carriage return: only line ends do.
    const blocks = (buffer + value.replaceAll("\r", "")).split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event.data !== "") yield event;
    }
  }
}

function parseEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5));
  }
  return { name, data: data.join("\n").trim() };
}
