// The studio: publish, watch the result beside it, steer it, and see how it does. Who may only watch gets no desk.

import { Access } from "./access.js";
import { isAboutToken, sessionFromLocation, startAgain } from "./api.js";
import { figuresOf, showReport } from "./figures.js";
import { say } from "./messages.js";
import { Publishing } from "./publishing.js";
import { copyViewerLink } from "./share.js";
import "./shell.js";
import { listen } from "./shortcuts.js";
import { engineWords, Situation } from "./situation.js";
import { Steering } from "./steering.js";
import { leaveWhenDismissed, overThePicture, showMessages, showOver, showPill } from "./told.js";
import { Watching } from "./watching.js";

const $ = (id) => document.getElementById(id);
const session = sessionFromLocation();
const name = `${session.namespace}/${session.name}`;
const situation = new Situation({ session: name });
const access = new Access(session);
const watching = new Watching(session, { video: $("result"), situation, access });
const publishing = new Publishing(session, { access, situation, size });
const steering = new Steering(session, { access, situation });
const figures = figuresOf($("figures"));

/** What to ask a camera for: the size that the session makes; where its first picture turns it, as this screen is held. */
function size() {
  const { resolution, orientation, publishing: turned } = watching.view ?? { resolution: { width: 832, height: 480 } };
  if (orientation !== "auto" || turned) return resolution;
  const [short, long] = [resolution.width, resolution.height].sort((one, other) => one - other);
  return matchMedia("(orientation: portrait)").matches ? { width: short, height: long } : { width: long, height: short };
}

const OWN_SOURCES = { file: "This session plays a file of its worker", testPattern: "This session paints a test pattern", none: "This session paints from the prompt alone" };

// --- what a person can do ---------------------------------------------------

const acts = {
  "turn-camera-on": () => publishing.camera(),
  "play-file": () => $("file").click(),
  "try-again": () => publishing.again(),
  "take-over": () => publishing.again({ takeOver: true }),
  "go-on": () => steering.pause(false),
  "lower-steps": () => steering.fewerSteps(),
  "start-again": begin,
  "use-token": () => askForToken("view"),
  "get-publisher-link": () => askForToken("publish"),
  "all-sessions": () => { location.href = "/"; },
};

async function begin() {
  try {
    await startAgain(session, access.token);
    await watching.begin();
  } catch (error) {
    say("start", error.title || "It did not start", ` ${error.message}`, { tone: "bad" });
  }
}

function askForToken(role) {
  const why = role === "publish" ? "Ask whoever made this session for its publisher's link, or for a token to publish." : "Open the link that you were given, or give its token here.";
  return access.ask(role === "publish" ? "A publisher's token" : "This session needs a token", why, { role, optional: false });
}

/** A token that is refused where none is needed can be left behind. */
function goOnWithout(told) {
  if (told.state !== "token-refused" || !tokenIsOptional) return [];
  const button = Object.assign(document.createElement("button"), { className: "button small", type: "button", textContent: "Go on without it" });
  button.addEventListener("click", () => access.use(""));
  return [button];
}
let tokenIsOptional = false;

watching.addEventListener("refused", ({ detail: error }) => {
  tokenIsOptional = error.tokenNeeded === false;
  show();
  access.askFor(error, "view");
});
access.addEventListener("change", () => watching.begin());
publishing.addEventListener("refused", ({ detail: error }) => { if (isAboutToken(error)) tokenIsOptional = error.tokenNeeded === false; });

// --- what is shown ----------------------------------------------------------

function show() {
  const { view } = watching;
  const told = situation.now;
  document.body.dataset.role = view?.role ?? "";
  document.body.toggleAttribute("data-closed", watching.over);
  showPill($("phase"), told);
  showMessages(situation, { acts, extra: goOnWithout });
  // Camera and file have their buttons beside the picture.
  const { "turn-camera-on": _camera, "play-file": _file, ...others } = acts;
  // Nobody takes over from himself.
  if (publishing.active) delete others["take-over"];
  const over = overThePicture(situation);
  showOver($("result-empty"), over.told, { hasPicture: watching.hasPicture, acts: others, brief: over.brief });
  if (view) showView(view);
}

function showView(view) {
  steering.show(view, { closed: watching.over });
  if (watching.over && publishing.active) publishing.stop();
  // Who watches by a link of its own has none to give away.
  $("share").hidden = view.role === "view" && view.access.view !== "Public";
  $("viewers").textContent = `${view.viewers} watching`;
  for (const screen of document.querySelectorAll(".screen")) {
    screen.style.aspectRatio = `${view.resolution.width} / ${view.resolution.height}`;
    screen.classList.toggle("portrait", view.resolution.height > view.resolution.width);
  }
  // As the worker brings it into its picture.
  $("source").style.objectFit = { fit: "contain", fill: "fill", crop: "cover" }[view.fit] ?? "cover";
  showEngine(view);
  const own = OWN_SOURCES[view.source.type];
  const idle = Boolean(own) || watching.over;
  for (const id of ["camera", "file-label"]) $(id).hidden = idle;
  $("source-title").textContent = own ?? "Put something in front of the model";
  $("source-hint").textContent = own ? "Nothing to publish here: watch the result and steer it." : "Nothing leaves this browser before you choose.";
}

/** Whoever sees the mock's picture, or another model's, must not take it for the model's. */
function showEngine({ engine, model, standIn }) {
  const other = standIn ? `The model ${standIn} stands in for ${model}, which had no room.` : "";
  $("engine").hidden = !engine && !other;
  $("engine-words").textContent = [engineWords(engine), other].filter(Boolean).join(" ");
  $("engine-link").hidden = engine !== "mock";
}

situation.addEventListener("change", show);
watching.addEventListener("view", show);
watching.addEventListener("stats", ({ detail }) => showReport(figures, detail, watching.view));
publishing.addEventListener("change", show);
leaveWhenDismissed(situation);

// --- buttons and keys -------------------------------------------------------

const click = (id) => () => { if (!$(id).disabled && !$(id).hidden && document.body.dataset.role !== "view") $(id).click(); };

$("camera").addEventListener("click", acts["turn-camera-on"]);
$("file").addEventListener("change", () => { const [file] = $("file").files; if (file) publishing.file(file); $("file").value = ""; });
$("file-label").addEventListener("click", acts["play-file"]);
$("stop").addEventListener("click", () => publishing.stop());
$("steer-link").addEventListener("click", acts["get-publisher-link"]);
$("share").addEventListener("click", () => copyViewerLink($("share"), { session, view: watching.view, token: access.token }));
$("fullscreen").addEventListener("click", () => { if (document.fullscreenElement) document.exitFullscreen(); else $("result-screen").requestFullscreen?.(); });
$("help-open").addEventListener("click", () => $("help").showModal());
const step = (count) => () => $("steps").querySelector(`input[value="${count}"]`).click();
listen({
  c: click("camera"), o: click("file-label"), s: () => publishing.stop(), p: click("pause"), r: click("reset"), f: () => $("fullscreen").click(),
  n: () => $("noise").focus(), "?": () => $("help").showModal(), "/": () => $("prompt").focus(), 1: step(1), 2: step(2), 3: step(3), 4: step(4),
});
addEventListener("pagehide", () => { publishing.publisher.stop(); watching.stop(); });
// The buttons are dead in the HTML, so that no click is lost before somebody listens.
for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;

$("session-name").textContent = name;
document.title = `${session.name} · Genlock studio`;
watching.begin();
