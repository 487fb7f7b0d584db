// One question to the server, with the key that its route wants.

import { keyOf, keyWanted } from "./keys.js";

// What the server refused, in its own words (a problem document), or why it was not reached.
export class Refused extends Error {
  constructor(status, detail, remedy) {
    super(remedy ? `${detail} ${remedy}` : detail);
    this.status = status;
  }
}

// `role` is the key that is sent: "api" or "admin". A key that is missing or refused is asked of
// the person, and the question put again.
export async function ask(path, { body, role = "api", signal } = {}) {
  if (role === "admin" && !keyOf("admin")) await given(role, null);
  for (;;) {
    const answer = await fetch(path, { ...posted(body, role), signal }).catch(unreached);
    if (answer.ok) return answer.json();
    const refused = await problem(answer);
    if (!isAboutTheKey(answer.status, role)) throw refused;
    await given(role, keyOf(role) ? "That key was refused." : null);
  }
}

// Headers are where a key belongs: an address is logged, and kept in the browser's history.
export function headers(role) {
  const key = keyOf(role);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function posted(body, role) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers(role) },
    body: JSON.stringify(body),
  };
}

function isAboutTheKey(status, role) {
  return status === 401 || (status === 403 && role === "admin");
}

async function given(role, why) {
  if (!(await keyWanted(role, why))) throw new Refused(401, "Not done: it needs a key.");
}

function unreached(error) {
  if (error.name === "AbortError") throw error;
  throw new Refused(0, "The server could not be reached.");
}

async function problem(answer) {
  const said = await answer.json().catch(() => ({}));
  const detail = said.detail ?? said.title ?? `The server answered ${answer.status}.`;
  return new Refused(answer.status, detail, said.remedy);
}
