// The event stream of the dashboard; it reconnects by itself and starts with the whole state.

const RETRY = 5000;

/**
 * Open the stream.
 * @param {Object<string, function(*): void>} handlers A handler for each event, and `lost` for a lost connection.
 */
export function open(handlers) {
  const source = new EventSource("/events");
  for (const name of ["hello", "listeners", "ready", "changes", "gone", "link"]) {
    source.addEventListener(name, (event) => handlers[name](JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    handlers.lost();
    // The browser reconnects by itself, except after an HTTP error.
    if (source.readyState === EventSource.CLOSED) setTimeout(open, RETRY, handlers);
  });
}
