// The list of sessions, refreshed while the page is open. A card stays while its session does: its picture goes on.

import { listSessions, readToken } from "./api.js";
import { say, solve } from "./messages.js";
import { facts } from "./shell.js";
import { engineWords } from "./situation.js";
import { Thumbnail } from "./thumbnails.js";
import { showPill } from "./told.js";

const list = document.getElementById("sessions");
const template = document.getElementById("card");
/** A token in this page's address shows the sessions that it is for, too. */
const token = readToken({ path: "*" });
/** Cards by `namespace/name`. */
const cards = new Map();

/** What paints it, and what was asked for. */
const modelOf = ({ model, standIn }) => (standIn ? `${standIn}, stands in for ${model}` : model);
const pathOf = (session) => `${session.namespace}/${session.name}`;

function makeCard(session) {
  const item = template.content.cloneNode(true).firstElementChild;
  const path = pathOf(session);
  item.querySelector(".name").textContent = path;
  item.querySelector(".studio").href = `/studio/${path}`;
  item.querySelector(".watch").href = `/watch/${path}`;
  // A token that is given must be right, and one that is not needed might be for another session.
  const needed = session.access.view === "Public" ? "" : token;
  const thumbnail = new Thumbnail(item.querySelector(".thumbnail"), { path, token: needed, alt: `What ${path} shows now` });
  return { item, thumbnail };
}

function fill(item, session) {
  const { state, situation } = session;
  showPill(item.querySelector(".phase"), { state, ...situation });
  const prompt = item.querySelector(".prompt");
  prompt.textContent = `“${session.prompt}”`;
  prompt.title = session.prompt;
  item.querySelector(".detail").textContent = situation.tone === "good" ? "" : situation.detail;
  item.querySelector(".studio").textContent = session.role === "view" ? "Studio" : "Open the studio";
  facts(item.querySelector(".facts"), [
    ["model", modelOf(session)], ["engine", session.engine], ["steps", session.level?.reason ? `${session.level.steps} of ${session.steps}` : session.steps], ["size", `${session.resolution.width}×${session.resolution.height}`],
    ["fps", session.frameRate], ["source", session.source.type], ["viewers", session.viewers],
  ]);
}

/** What everybody may watch, and what the token shows besides. A token that is refused takes nothing else away. */
async function visibleSessions() {
  const byPath = (sessions) => new Map(sessions.map((session) => [pathOf(session), session]));
  const open = await listSessions();
  if (!token) return byPath(open);
  try {
    return byPath([...open, ...await listSessions(token)]);
  } catch (error) {
    if (error.status === 403) show(byPath(open));
    throw error;
  }
}

function show(sessions) {
  for (const [path, { item, thumbnail }] of cards) {
    if (sessions.has(path)) continue;
    thumbnail.stop();
    item.remove();
    cards.delete(path);
  }
  let index = 0;
  for (const [path, session] of [...sessions].sort(([one], [other]) => one.localeCompare(other))) {
    if (!cards.has(path)) cards.set(path, makeCard(session));
    const { item } = cards.get(path);
    fill(item, session);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    index += 1;
  }
  const mocked = [...sessions.values()].some((session) => session.engine === "mock");
  document.getElementById("engine").hidden = !mocked;
  document.getElementById("engine-words").textContent = engineWords("mock");
}

async function refresh() {
  try {
    const sessions = await visibleSessions();
    show(sessions);
    solve("gateway", "token");
    if (sessions.size) solve("none");
    else say("none", "No session yet", " Start one with a manifest: genlock up examples/demo.yaml, on a cluster kubectl apply -f examples/demo.yaml", { dismissable: false });
  } catch (error) {
    const key = error.status === 401 || error.status === 403 ? "token" : "gateway";
    say(key, error.title || "Gateway out of reach", ` ${error.message}`, { tone: "bad", dismissable: false });
  }
}

await refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 3000);
