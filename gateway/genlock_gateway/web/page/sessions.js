// The list of sessions, refreshed while the page is open.

import { listSessions } from "./api.js";
import { facts, hush, say } from "./shell.js";

const list = document.getElementById("sessions");
const template = document.getElementById("card");

function card(session) {
  const item = template.content.cloneNode(true).firstElementChild;
  const path = `${session.namespace}/${session.name}`;
  item.querySelector(".name").textContent = path;
  const phase = item.querySelector(".phase");
  phase.textContent = session.phase;
  phase.dataset.phase = session.phase;
  item.querySelector(".prompt").textContent = `“${session.prompt}”`;
  facts(item.querySelector(".facts"), [
    ["model", session.model], ["steps", session.steps], ["size", `${session.resolution.width}×${session.resolution.height}`],
    ["fps", session.frameRate], ["source", session.source.type], ["viewers", session.viewers],
  ]);
  item.querySelector(".studio").href = `/studio/${path}`;
  item.querySelector(".watch").href = `/watch/${path}`;
  return item;
}

async function refresh() {
  try {
    const sessions = await listSessions();
    list.replaceChildren(...sessions.map(card));
    if (sessions.length) hush();
    else say("No session yet", "Start one with a manifest: genlock up examples/demo.yaml, on a cluster kubectl apply -f examples/demo.yaml");
  } catch (error) {
    say(error.title || "Gateway out of reach", error.message, { tone: "bad" });
  }
}

await refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 3000);
