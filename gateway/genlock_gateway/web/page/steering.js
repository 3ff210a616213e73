// The controls of the picture: prompt, steps, how much is repainted, pause. Who only watches sees them and moves nothing.

import { control } from "./api.js";
import { say, solve } from "./messages.js";
import { NoiseSlider } from "./noise.js";
import { stateOf } from "./situation.js";

const $ = (id) => document.getElementById(id);
const LOOKS = ["a watercolour city at dusk", "sumi-e ink on rice paper", "neon lights in the rain", "thick oil paint, impressionist", "charcoal sketch", "soft pastel morning", "comic book pop art", "cyanotype blueprint"];
// What the mode low-latency takes; the server refuses more.
const LOW_LATENCY_STEPS = 2;
// Answers that were under way when a change was accepted still tell the old value.
const UNDER_WAY_MS = 2000;
const ALL = "button, input, textarea";

export class Steering {
  constructor(session, { access, situation }) {
    Object.assign(this, { session, access, situation, info: null, accepted: {}, forgetting: 0, promptTouched: false });
    this.noise = new NoiseSlider(
      { input: $("noise"), value: $("noise-value"), why: $("noise-why") },
      (noiseScale) => this.#steer({ noiseScale }, `${noiseScale.toFixed(2)} repainted from the next chunk on`),
    );
    for (const look of LOOKS) $("chips").append(this.#chip(look));
    for (const count of [1, 2, 3, 4]) $("steps").append(this.#step(count));
    $("prompt").addEventListener("input", () => { this.promptTouched = true; solve("prompt"); });
    $("prompt").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.#applyPrompt(); } });
    $("prompt-form").addEventListener("submit", (event) => { event.preventDefault(); this.#applyPrompt(); });
    $("pause").addEventListener("click", () => this.pause(!this.info?.paused));
    $("reset").addEventListener("click", () => this.#steer({ reset: true }, "The picture begins afresh"));
  }

  /** @param view the session as the gateway tells it; @param closed it is over. */
  show(view, { closed }) {
    this.info = { ...view, ...this.accepted };
    const { info } = this;
    const idle = info.role === "view" || closed;
    if (!this.promptTouched) $("prompt").value = info.prompt;
    $("prompt").readOnly = idle;
    $("pause").textContent = info.paused ? "Go on" : "Pause";
    $("pause").setAttribute("aria-pressed", String(Boolean(info.paused)));
    for (const element of $("steer").querySelectorAll(ALL)) if (element !== $("prompt")) element.disabled = idle;
    for (const input of $("steps").querySelectorAll("input")) {
      input.disabled ||= info.qualityMode === "low-latency" && Number(input.value) > LOW_LATENCY_STEPS;
      input.checked = Number(input.value) === info.steps;
    }
    this.noise.show(info.noiseScale, info.source.type, { idle });
    $("watching-only").hidden = info.role !== "view" || closed;
  }

  pause(paused) { return this.#steer({ paused }, paused ? "Paused" : "Going on"); }

  fewerSteps() { if (this.info?.steps > 1) this.#steer({ steps: this.info.steps - 1 }, "One step less from the next chunk on"); }

  async #steer(change, words) {
    $("steer-state").textContent = "…";
    try {
      const accepted = await this.access.with((token) => control(this.session, token, change), "publish");
      words = accepted.level?.detail || words;
    } catch (error) {
      $("steer-state").textContent = "";
      const state = stateOf(error);
      if (state && state !== "missing") this.situation.enter(state);
      else say("steer", error.title || "That did not work", ` ${error.message}`, { tone: "bad" });
      return;
    }
    solve("steer");
    $("steer-state").textContent = words;
    this.accepted = { ...this.accepted, ...change };
    clearTimeout(this.forgetting);
    this.forgetting = setTimeout(() => { this.accepted = {}; }, UNDER_WAY_MS);
    this.show(this.info, { closed: false });
  }

  #applyPrompt() {
    const prompt = $("prompt").value.trim();
    if (!prompt) { say("prompt", "The prompt is empty", " Say what the picture should become.", { tone: "warn" }); return; }
    solve("prompt");
    this.promptTouched = false;
    this.#steer({ prompt }, "Prompt changed");
  }

  #chip(look) {
    const chip = Object.assign(document.createElement("button"), { className: "chip", type: "button", textContent: look });
    chip.addEventListener("click", () => { $("prompt").value = look; this.#applyPrompt(); });
    return chip;
  }

  #step(count) {
    const words = `${count} step${count > 1 ? "s" : ""}`;
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "steps", value: String(count) });
    input.setAttribute("aria-label", words);
    input.addEventListener("change", () => this.#steer({ steps: count }, `${words} from the next chunk on`));
    label.append(input, Object.assign(document.createElement("span"), { textContent: count }));
    return label;
  }
}
