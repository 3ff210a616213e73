// Keys that do what a button does, while nobody writes.

/** @param acts {key: function}. */
export function listen(acts) {
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = acts[event.key];
    if (act) { event.preventDefault(); act(); }
  });
}
