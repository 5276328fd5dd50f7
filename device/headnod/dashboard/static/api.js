// The JSON interface, with the session of the browser.

let session = { role: null, password: false, csrf: "", local: null };
let asked = false;
let retry = 0;
const changed = new Set();

const RETRY = 5000;

/** An answer that is an error; its message is for a person. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Who the browser is: `role` (owner, reader or null), whether there is a `password`, and the `local` listener. */
export const who = () => session;

/** Call a function whenever the session changes. */
export function onSession(changes) {
  changed.add(changes);
}

/** Whether the browser may change something. */
export const mayChange = () => session.role === "owner";

/** Whether the history of a listener can be read here, as far as known. */
export const hasHistory = (node) => session.local === node || session.remote_history === true;

/** Ask for the session, again where no answer comes: then the browser stays who it was. */
export async function readSession() {
  try {
    session = await get("session");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401 || error.status === 404) {
      session = { role: error.status === 404 ? "reader" : null, password: error.status === 401, csrf: "", local: null };
    } else {
      clearTimeout(retry);
      retry = setTimeout(readSession, RETRY);
      if (asked) return;
    }
  }
  asked = true;
  for (const each of changed) each(session);
}

/** Log in with a password, or log out without one. */
export async function logIn(password) {
  await send(password === null ? "DELETE" : "POST", "session", password === null ? undefined : { password });
  await readSession();
}

/** GET an address below `api/v1/`. */
export function get(path) {
  return send("GET", path);
}

/** Any other request. */
export async function send(method, path, body) {
  const headers = method === "GET" ? {} : { "Content-Type": "application/json", "X-CSRF-Token": session.csrf };
  let answer;
  try {
    answer = await fetch(`api/v1/${path}`, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Refused("The listener does not answer.", 0);
  }
  let content;
  try {
    content = await answer.json();
  } catch {
    // A change may have been made all the same.
    if (answer.ok) throw new Refused("The answer cannot be read: it was cut off, or another program between browser and listener gave it.", 0);
  }
  if (answer.ok) return content;
  if (answer.status === 401 && path !== "session") readSession();
  throw new Refused(content?.error ?? `The answer is ${answer.status} ${answer.statusText}.`, answer.status);
}
