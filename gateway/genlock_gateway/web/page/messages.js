// Messages: a list by key. Each stays until it is solved, dismissed, or its lifetime ends; nobody wipes another's.

const list = document.getElementById("message");
/** By key: the element, its timer, and what it says, so that the same said again is no news. */
const shown = new Map();

/**
 * Say something under `key`, in the place of what stood there.
 * `tone`: "", "good", "warn" or "bad"; `buttons`: elements; `lifetimeMs`: 0 for one that stays; `dismissable`.
 */
export function say(key, title, text = "", { tone = "", buttons = [], lifetimeMs = 0, dismissable = true } = {}) {
  const gist = JSON.stringify([title, text, tone, buttons.map((button) => button.textContent)]);
  if (shown.get(key)?.gist === gist) return;
  const element = document.createElement("div");
  element.className = "message";
  element.dataset.key = key;
  element.dataset.tone = tone;
  // What is wrong is read out at once, everything else when there is a pause.
  element.setAttribute("role", tone === "bad" || tone === "warn" ? "alert" : "status");
  const words = Object.assign(document.createElement("p"), { className: "words" });
  words.append(Object.assign(document.createElement("strong"), { textContent: title }), text);
  element.append(words);
  if (buttons.length) {
    const row = Object.assign(document.createElement("div"), { className: "row wrap" });
    row.append(...buttons);
    element.append(row);
  }
  if (dismissable) element.append(dismissal(key));
  const before = shown.get(key);
  clearTimeout(before?.timer);
  if (before) before.element.replaceWith(element);
  else list.append(element);
  const timer = lifetimeMs ? setTimeout(() => solve(key), lifetimeMs) : 0;
  shown.set(key, { element, gist, timer });
  list.hidden = false;
}

/** What was said under these keys is no longer so. */
export function solve(...keys) {
  for (const key of keys) {
    const message = shown.get(key);
    if (!message) continue;
    clearTimeout(message.timer);
    message.element.remove();
    shown.delete(key);
  }
  list.hidden = shown.size === 0;
}

function dismissal(key) {
  const button = Object.assign(document.createElement("button"), { className: "icon dismiss", type: "button", textContent: "×", title: "Dismiss" });
  button.setAttribute("aria-label", "Dismiss this message");
  button.addEventListener("click", () => {
    solve(key);
    list.dispatchEvent(new CustomEvent("dismissed", { detail: key }));
  });
  return button;
}

/** `act` is called with the key of a message that the person has dismissed. */
export function onDismissed(act) { list.addEventListener("dismissed", ({ detail }) => act(detail)); }
