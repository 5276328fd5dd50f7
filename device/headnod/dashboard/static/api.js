// The JSON interface, with the session of the browser.

let session = { role: null, password: false, csrf: "", local: null };
const changed = new Set();

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

/** Ask for the session. */
export async function readSession() {
  try {
    session = await get("session");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    session = { role: error.status === 404 ? "reader" : null, password: error.status === 401, csrf: "", local: null };
  }
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
  const content = await answer.json().catch(() => null);
  if (answer.ok) return content;
  if (answer.status === 401 && path !== "session") readSession();
  throw new Refused(content?.error ?? `The answer is ${answer.status} ${answer.statusText}.`, answer.status);
}
