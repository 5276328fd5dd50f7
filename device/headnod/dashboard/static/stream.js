// The event stream of the dashboard; it comes back by itself, and begins anew each time.

const AGAIN = 5000;

/**
 * Listen to the stream for ever.
 * @param {Object<string, function(*): void>} heard What to call for each event, and `lost` when there is no stream.
 */
export function open(heard) {
  const source = new EventSource("/events");
  for (const name of ["hello", "listeners", "ready", "changes", "gone", "link"]) {
    source.addEventListener(name, (event) => heard[name](JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    heard.lost();
    // The browser tries again by itself, unless it was answered with a refusal.
    if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN, heard);
  });
}
