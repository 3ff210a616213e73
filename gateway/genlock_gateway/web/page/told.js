// Shows a situation: a word in the bar, words over the picture, and a message for each state that this page is in.

import { onDismissed, say, solve } from "./messages.js";
import { offerButtons } from "./situation.js";

/** Of the page's own states, those about the picture: they stand over it and are no messages. */
const OVER_THE_PICTURE = new Set(["connecting", "not-arriving"]);
/** States that a person may wave away; the others stand for as long as they hold. */
const DISMISSABLE = new Set(["no-camera", "camera-refused", "camera-busy", "camera-insecure", "somebody-publishes"]);

/** The word in the bar. */
export function showPill(pill, told) {
  pill.textContent = told?.headline ?? "";
  pill.dataset.tone = told?.tone ?? "";
  pill.dataset.state = told?.state ?? "";
}

/**
 * Words over the picture: in the middle while there is none, at its foot while there is one. `hasPicture`: one was
 * shown; a session that is over shows none.
 */
export function showOver(overlay, told, { hasPicture, acts, brief = false }) {
  const over = told && ["ended", "failed", "missing"].includes(told.state);
  overlay.hidden = !told || told.tone === "good";
  overlay.classList.toggle("strip", hasPicture && !over);
  // Nothing is built anew while it says the same: a button must not vanish under the pointer.
  const gist = JSON.stringify([told, brief]);
  if (overlay.hidden || overlay.dataset.gist === gist) return;
  overlay.dataset.gist = gist;
  overlay.dataset.tone = told.tone;
  overlay.setAttribute("role", told.tone === "bad" ? "alert" : "status");
  overlay.querySelector(".empty-title").textContent = told.headline;
  overlay.querySelector(".hint").textContent = brief ? "" : told.detail;
  overlay.querySelector(".offers").replaceChildren(...(brief ? [] : offerButtons(told.offers, acts)));
}

/** A message for each state of this page; `extra(told)` gives buttons that the table does not know of. */
export function showMessages(situation, { acts, extra = () => [] }) {
  for (const told of situation.atPage) {
    if (OVER_THE_PICTURE.has(told.state)) continue;
    const buttons = [...extra(told), ...offerButtons(told.offers, acts)];
    say(told.state, told.headline, ` ${told.detail}`, { tone: told.tone, buttons, dismissable: DISMISSABLE.has(told.state) });
    said.add(told.state);
  }
  for (const state of said) {
    if (situation.holds(state)) continue;
    solve(state);
    said.delete(state);
  }
}

const said = new Set();

/** A dismissed message takes its state with it. */
export function leaveWhenDismissed(situation) { onDismissed((key) => situation.leave(key)); }

/**
 * What stands over the picture: the strongest state, but what a message says already. `brief`: the message says it all,
 * and of the session nothing is known.
 */
export function overThePicture(situation) {
  const { now, session } = situation;
  const isMessage = now && situation.holds(now.state) && !OVER_THE_PICTURE.has(now.state);
  return { told: isMessage && session ? session : now, brief: Boolean(isMessage && !session) };
}
