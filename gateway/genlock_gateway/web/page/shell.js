// What every page has: the message line, the light/dark switch, facts as term and value.

const element = document.getElementById("message");

/** Say something that the person must know; `tone` is "", "good", "warn" or "bad"; `action` is {label, run}. */
export function say(title, text = "", { tone = "", action = null } = {}) {
  element.replaceChildren();
  element.append(Object.assign(document.createElement("strong"), { textContent: title }), text);
  if (action) {
    const button = Object.assign(document.createElement("button"), { className: "button small", type: "button", textContent: action.label });
    button.addEventListener("click", action.run);
    element.append(document.createElement("br"), button);
  }
  element.dataset.tone = tone;
  element.hidden = false;
}

export function hush() { element.hidden = true; }

export function facts(list, entries) {
  list.replaceChildren(...entries.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([term, value]) => {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: term }), Object.assign(document.createElement("dd"), { textContent: value }));
    return pair;
  }));
}

const theme = localStorage.getItem("genlock-theme");
if (theme) document.documentElement.dataset.theme = theme;
document.getElementById("theme")?.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("genlock-theme", document.documentElement.dataset.theme);
});
