// The studio: publish, watch the result beside it, steer it, and see how it does.

import { control, getSession, isAboutToken, keepToken, readToken, refusal, sessionFromLocation } from "./api.js";
import { figuresOf, showReport } from "./figures.js";
import { NoiseSlider } from "./noise.js";
import { WhepPlayer, WhipPublisher } from "./peers.js";
import { hush, say } from "./shell.js";
import { openCamera, openFile } from "./sources.js";

const $ = (id) => document.getElementById(id);
const session = sessionFromLocation();
const player = new WhepPlayer($("result"), session);
const publisher = new WhipPublisher(session);
const figures = figuresOf($("figures"));
const LOOKS = ["a watercolour city at dusk", "sumi-e ink on rice paper", "neon lights in the rain", "thick oil paint, impressionist", "charcoal sketch", "soft pastel morning", "comic book pop art", "cyanotype blueprint"];
// What the mode low-latency takes; the server refuses more.
const LOW_LATENCY_STEPS = 2;
// Answers that were under way when a change was accepted still tell the old value.
const UNDER_WAY_MS = 2000;
let token = readToken(session);
let info = null;
let source = null;
let promptTouched = false;
let asking = null;
let accepted = {};
let forgetting = 0;

// --- access ---------------------------------------------------------------

function useToken(next) {
  token = next;
  keepToken(session, next);
  hush();
}

/** Shows why the gateway said no; resolves to whether the person chose how to go on. */
function askForToken(problem, role) {
  const [title, why] = refusal(problem);
  $("token-title").textContent = title;
  $("token-why").textContent = why;
  $("token-without").hidden = problem.tokenNeeded;
  $("token-command").textContent = `genlock session token ${session.namespace}/${session.name} --role ${role}`;
  $("token").value = "";
  const dialog = $("token-dialog");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "ok") useToken($("token").value.trim());
      if (dialog.returnValue === "without") useToken("");
      done(["ok", "without"].includes(dialog.returnValue));
    }, { once: true });
  });
}

/** Runs `act`; when the gateway refuses the token, or wants one, asks what to do and runs it again. */
async function withAccess(act, role) {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isAboutToken(error)) throw error;
      // The player and the publisher may be refused at once; the person is asked once.
      asking ??= askForToken(error, role).finally(() => { asking = null; });
      if (!await asking) throw error;
    }
  }
}

function explain(error) {
  const words = isAboutToken(error) ? refusal(error) : {
    404: ["There is no such session", `${session.namespace}/${session.name} does not exist on this gateway.`],
    409: ["Somebody else is publishing", "This session has a publisher already. You can watch and steer it meanwhile."],
    410: ["This session has ended", error.message],
    503: ["No worker is free", `${error.message} ${error.retryAfterS ? `Try again in ${error.retryAfterS} s.` : ""}`],
  }[error.status] ?? [error.title || "That did not work", error.message];
  const action = error.tokenNeeded === false ? { label: "Go on without it", run: () => { useToken(""); begin(); } } : null;
  say(words[0], words[1], { tone: error.status === 503 ? "warn" : "bad", action });
}

// --- publishing -----------------------------------------------------------

async function publish(open) {
  let opened;
  try {
    opened = await open();
  } catch (error) {
    say(error.title, error.message, { tone: "bad" });
    return;
  }
  source?.close();
  source = opened;
  $("source").srcObject = opened.stream;
  $("source").play().catch(() => {});
  $("source-empty").hidden = true;
  $("stop").hidden = false;
  try {
    await withAccess(() => publisher.start(opened.stream, token), "publish");
    hush();
  } catch (error) {
    stopPublishing();
    explain(error);
  }
}

function stopPublishing() {
  publisher.stop();
  source?.close();
  source = null;
  $("source").srcObject = null;
  $("source-empty").hidden = false;
  $("stop").hidden = true;
}

publisher.addEventListener("state", ({ detail: { state, error } }) => {
  if (state === "lost") say("The gateway went away", "Publishing again …", { tone: "warn" });
  if (state === "publishing") hush();
  if (state === "failed") { stopPublishing(); explain(error); }
});

// --- watching -------------------------------------------------------------

player.addEventListener("state", ({ detail: { state, error } }) => {
  if (state === "playing") { $("result-empty").hidden = true; hush(); }
  if (state === "lost") say("Connection lost", "Connecting again …", { tone: "warn" });
  if (state === "failed" && isAboutToken(error)) begin();
  else if (state === "failed") explain(error);
});
player.addEventListener("message", ({ detail: message }) => {
  if (message.type === "state") showSession({ ...info, ...message });
  if (message.type === "stats") showReport(figures, message, info);
});

function showSession(next) {
  info = { ...next, ...accepted };
  $("phase").textContent = info.phase ?? "";
  $("phase").dataset.phase = info.phase ?? "";
  $("viewers").textContent = Number.isFinite(info.viewers) ? `${info.viewers} watching` : "";
  if (!promptTouched && info.prompt) $("prompt").value = info.prompt;
  $("pause").textContent = info.paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", String(Boolean(info.paused)));
  for (const input of $("steps").querySelectorAll("input")) {
    input.disabled = info.qualityMode === "low-latency" && Number(input.value) > LOW_LATENCY_STEPS;
  }
  if (info.source) noise.show(info.noiseScale, info.source.type);
  const step = $("steps").querySelector(`input[value="${info.steps}"]`);
  if (step) step.checked = true;
  if (info.resolution) for (const screen of document.querySelectorAll(".screen")) screen.style.aspectRatio = `${info.resolution.width} / ${info.resolution.height}`;
  const own = info.source && info.source.type !== "webrtc";
  for (const id of ["camera", "file-label"]) $(id).hidden = own;
  if (own) {
    $("source-empty").querySelector(".empty-title").textContent = { file: "This session plays a file of its worker", testPattern: "This session paints a test pattern", none: "This session paints from the prompt alone" }[info.source.type];
    $("source-empty").querySelector(".hint").textContent = "Nothing to publish here: watch the result and steer it.";
  }
  $("result-hint").textContent = own ? "Waiting for its first frame …" : "Turn the camera on, or play a file.";
  if (info.phase === "Recovering") say("A worker went away", "The stream is moving to another one; this connection stays.", { tone: "warn" });
  else if (info.phase === "Live" && player.playing) hush();
}

// --- steering -------------------------------------------------------------

async function steer(change, words) {
  $("steer-state").textContent = "…";
  try {
    await withAccess(() => control(session, token, change), "publish");
    $("steer-state").textContent = words;
    accepted = { ...accepted, ...change };
    clearTimeout(forgetting);
    forgetting = setTimeout(() => { accepted = {}; }, UNDER_WAY_MS);
    showSession(info);
  } catch (error) {
    $("steer-state").textContent = "";
    explain(error);
  }
}

function applyPrompt() {
  const prompt = $("prompt").value.trim();
  if (!prompt) { say("The prompt is empty", "Say what the picture should become.", { tone: "warn" }); return; }
  promptTouched = false;
  steer({ prompt }, "Prompt changed");
}

for (const look of LOOKS) {
  const chip = Object.assign(document.createElement("button"), { className: "chip", type: "button", textContent: look });
  chip.addEventListener("click", () => { $("prompt").value = look; applyPrompt(); });
  $("chips").append(chip);
}
for (const count of [1, 2, 3, 4]) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "steps", value: String(count) });
  input.setAttribute("aria-label", `${count} step${count > 1 ? "s" : ""}`);
  input.addEventListener("change", () => steer({ steps: count }, `${count} step${count > 1 ? "s" : ""} from the next chunk on`));
  label.append(input, Object.assign(document.createElement("span"), { textContent: count }));
  $("steps").append(label);
}

const noise = new NoiseSlider(
  { input: $("noise"), value: $("noise-value"), why: $("noise-why") },
  (noiseScale) => steer({ noiseScale }, `${noiseScale.toFixed(2)} repainted from the next chunk on`),
);

$("prompt").addEventListener("input", () => { promptTouched = true; });
$("prompt").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); applyPrompt(); } });
$("prompt-form").addEventListener("submit", (event) => { event.preventDefault(); applyPrompt(); });
$("pause").addEventListener("click", () => steer({ paused: !info?.paused }, info?.paused ? "Going on" : "Paused"));
$("reset").addEventListener("click", () => steer({ reset: true }, "The picture begins afresh"));
$("camera").addEventListener("click", () => publish(openCamera));
$("file").addEventListener("change", () => { const [file] = $("file").files; if (file) publish(() => openFile(file)); $("file").value = ""; });
$("file-label").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); $("file").click(); } });
$("stop").addEventListener("click", stopPublishing);
for (const button of $("token-dialog").querySelectorAll("[data-answer]")) button.addEventListener("click", () => $("token-dialog").close(button.dataset.answer));
$("fullscreen").addEventListener("click", () => { if (document.fullscreenElement) document.exitFullscreen(); else $("result-screen").requestFullscreen?.(); });
$("help-open").addEventListener("click", () => $("help").showModal());
$("share").addEventListener("click", async () => {
  const link = `${location.origin}/watch/${session.path}`;
  try { await navigator.clipboard.writeText(link); $("share").textContent = "Copied"; } catch { prompt("Viewer link", link); }
  setTimeout(() => { $("share").textContent = "Copy viewer link"; }, 1500);
});
addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = { c: () => $("camera").click(), o: () => $("file").click(), s: stopPublishing, p: () => $("pause").click(), r: () => $("reset").click(), n: () => $("noise").focus(), f: () => $("fullscreen").click(), "?": () => $("help").showModal(), "/": () => $("prompt").focus() }[event.key]
    ?? (/^[1-4]$/.test(event.key) ? () => $("steps").querySelector(`input[value="${event.key}"]`).click() : null);
  if (act) { event.preventDefault(); act(); }
});
addEventListener("pagehide", () => { publisher.stop(); player.stop(); });
// The buttons are dead in the HTML, so that no click is lost before somebody listens.
for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;

// --- begin ----------------------------------------------------------------

async function begin() {
  $("session-name").textContent = `${session.namespace}/${session.name}`;
  document.title = `${session.name} · Genlock studio`;
  try {
    showSession(await withAccess(() => getSession(session, token), "view"));
    await withAccess(() => player.start(token), "view");
  } catch (error) {
    explain(error);
    if (![401, 403, 404, 410].includes(error.status)) setTimeout(begin, Math.max(1500, (error.retryAfterS || 0) * 1000));
  }
}
begin();
setInterval(async () => { if (!document.hidden && info) getSession(session, token).then(showSession).catch(() => {}); }, 3000);
