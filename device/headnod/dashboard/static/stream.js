// The event stream: it reconnects by itself and starts with the whole state.

const RETRY = 5000;
const EVENTS = ["hello", "listeners", "ready", "changes", "gone", "link", "spectrum", "controls"];

/**
 * Open the stream.
 * @param {Object<string, function(*): void>} handlers A handler for each event, and `lost` for a lost connection.
 * @returns {{watch: function(boolean): void}} Asks for the spectrum, or for a stream without it.
 */
export function open(handlers) {
  let source = null;
  let watching = false;

  function connect() {
    source?.close();
    source = new EventSource(watching ? "events?watch=1" : "events");
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => handlers[name]?.(JSON.parse(event.data)));
    }
    const opened = source;
    source.addEventListener("error", () => {
      handlers.lost();
      // The browser reconnects by itself, except after an HTTP error.
      if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && connect(), RETRY);
    });
  }

  connect();
  return {
    watch(wanted) {
      if (wanted === watching) return;
      watching = wanted;
      connect();
    },
    reconnect: connect,
  };
}
