// The viewer page: nothing but the picture.

import { isAboutToken, keepToken, readToken, refusal, sessionFromLocation } from "./api.js";
import { WhepPlayer } from "./peers.js";
import { hush, say } from "./shell.js";

const session = sessionFromLocation();
const video = document.getElementById("result");
const player = new WhepPlayer(video, session);
document.title = `${session.name} · Genlock`;

const WAITING = { tone: "", text: "The picture starts when somebody publishes." };

function explainToken(error) {
  const [title, why] = refusal(error);
  if (error.tokenNeeded) { say(title, `${why} Open the link that you were given; it ends with #token=…`, { tone: "warn" }); return; }
  say(title, why, { tone: "warn", action: { label: "Go on without it", run: () => { keepToken(session, ""); begin(); } } });
}

async function begin() {
  try {
    await player.start(readToken(session));
    say(`Waiting for ${session.name}`, WAITING.text);
  } catch (error) {
    if (isAboutToken(error)) explainToken(error);
    else if (error.status === 404) say("There is no such session", `${session.namespace}/${session.name} does not exist here.`, { tone: "bad" });
    else if (error.status === 410) say("This session has ended", error.message);
    else { say(error.title || "Not connected", error.message, { tone: "warn" }); setTimeout(begin, Math.max(1000, (error.retryAfterS || 1) * 1000)); }
  }
}

player.addEventListener("state", ({ detail: { state, error } }) => {
  if (state === "playing") hush();
  else if (state === "lost") say("Connection lost", "Connecting again …", { tone: "warn" });
  else if (state === "failed" && isAboutToken(error)) explainToken(error);
  else if (state === "failed") say(error.title, error.message, { tone: "bad" });
});
video.addEventListener("click", () => { if (document.fullscreenElement) document.exitFullscreen(); else document.documentElement.requestFullscreen?.(); });
addEventListener("hashchange", begin);
addEventListener("pagehide", () => player.stop());
begin();
