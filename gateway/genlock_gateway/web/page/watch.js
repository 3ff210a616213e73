// The viewer page: nothing but the picture, and a word where there is none.

import { keepToken, readToken, sessionFromLocation } from "./api.js";
import "./shell.js";
import { Situation } from "./situation.js";
import { showOver } from "./told.js";
import { Watching } from "./watching.js";

const session = sessionFromLocation();
const situation = new Situation({ session: `${session.namespace}/${session.name}` }, { toViewers: true });
const video = document.getElementById("result");
const access = { token: readToken(session) };
const watching = new Watching(session, { video, situation, access });
document.title = `${session.name} · Genlock`;

const acts = { "all-sessions": () => { location.href = "/"; } };
let tokenIsOptional = false;

function show() {
  const told = situation.now;
  document.title = told && told.tone !== "good" ? `${told.headline} · ${session.name}` : `${session.name} · Genlock`;
  const overlay = document.getElementById("told");
  // Nobody who only watches has to read more of it for as long as it lasts.
  showOver(overlay, told, { hasPicture: watching.hasPicture, acts, brief: told?.state === "lowered" });
  document.getElementById("without").hidden = !(told?.state === "token-refused" && tokenIsOptional);
}

watching.addEventListener("refused", ({ detail: error }) => { tokenIsOptional = error.tokenNeeded === false; show(); });
situation.addEventListener("change", show);
watching.addEventListener("view", show);
document.getElementById("without").addEventListener("click", () => {
  keepToken(session, "");
  access.token = "";
  watching.begin();
});
video.addEventListener("click", () => { if (document.fullscreenElement) document.exitFullscreen(); else document.documentElement.requestFullscreen?.(); });
addEventListener("hashchange", () => { access.token = readToken(session); watching.begin(); });
addEventListener("pagehide", () => watching.stop());
watching.begin();
