// The keys a person has given: in this tab's session storage, nowhere else.

import { byId, say } from "./elements.js";

const WORDS = {
  api: { title: "Key of this server", why: "This server answers those who give its key." },
  admin: { title: "Admin key", why: "Loading and unloading models needs the server's admin key." },
};

let asked = null;

export function keyOf(role) {
  return sessionStorage.getItem(stored(role));
}

export function forgetKeys() {
  for (const role of Object.keys(WORDS)) sessionStorage.removeItem(stored(role));
}

// Asks for the key; resolves to whether one was given. While one dialog is open, all wait for it.
export function keyWanted(role, why) {
  asked ??= dialogue(role, why).finally(() => { asked = null; });
  return asked;
}

function dialogue(role, why) {
  const dialog = byId("key-dialog");
  const field = byId("key-field");
  say(byId("key-title"), WORDS[role].title);
  say(byId("key-why"), why ?? WORDS[role].why);
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    byId("key-cancel").onclick = () => dialog.close("");
    byId("key-form").onsubmit = () => { dialog.returnValue = "given"; };
    dialog.onclose = () => {
      const given = dialog.returnValue === "given" && field.value !== "";
      if (given) sessionStorage.setItem(stored(role), field.value);
      field.value = "";
      resolve(given);
    };
  });
}

const stored = (role) => `hotstart-${role}-key`;
