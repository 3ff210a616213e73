// The source pane: a camera or a file is opened, shown, and published; another camera may take its place.

import { say, solve } from "./messages.js";
import { WhipPublisher } from "./peers.js";
import { progressWords, stateOf } from "./situation.js";
import { cameras, openCamera, openFile } from "./sources.js";

const $ = (id) => document.getElementById(id);
const CAMERA_STATES = ["no-camera", "camera-refused", "camera-busy", "camera-insecure"];
const OTHER_FACING = { user: "environment", environment: "user" };

/** What this page publishes; null, or `{stream, close}` in `source`. Fires `change`. */
export class Publishing extends EventTarget {
  /** @param size gives the session's {width, height}. */
  constructor(session, { access, situation, size }) {
    super();
    Object.assign(this, { access, situation, size, source: null, last: null });
    this.publisher = new WhipPublisher(session);
    this.publisher.addEventListener("state", ({ detail }) => this.#connection(detail));
    $("flip").addEventListener("click", () => this.#flip());
    $("device").addEventListener("change", () => this.#switchTo({ deviceId: $("device").value }));
  }

  get active() { return this.source !== null; }

  camera() { return this.#begin(() => openCamera(this.size()), { isCamera: true }); }

  file(file) { return this.#begin(() => openFile(file), { isCamera: false }); }

  /** Once more what was tried last. `takeOver`: in the place of whoever publishes. */
  again({ takeOver = false } = {}) {
    const { open, isCamera } = this.last ?? { open: () => openCamera(this.size()), isCamera: true };
    return this.#begin(open, { isCamera, takeOver });
  }

  stop() {
    this.publisher.stop();
    this.source?.close();
    this.source = null;
    $("source").srcObject = null;
    this.situation.leave("connecting");
    this.#show();
  }

  async #begin(open, { isCamera, takeOver = false }) {
    this.last = { open, isCamera };
    solve("source");
    this.situation.leave(...CAMERA_STATES, "somebody-publishes");
    let opened;
    try {
      if (isCamera) this.situation.enter("connecting", { progress: progressWords("camera") });
      opened = await open();
    } catch (error) {
      if (error.state) this.situation.enter(error.state);
      else say("source", error.title, ` ${error.message}`, { tone: "bad" });
      return;
    } finally {
      this.situation.leave("connecting");
    }
    this.source?.close();
    this.source = opened;
    this.#show();
    if (isCamera) this.#listCameras();
    await this.#publish(takeOver);
  }

  async #publish(takeOver) {
    try {
      await this.access.with((token) => this.publisher.start(this.source.stream, token, { takeOver }), "publish");
    } catch (error) {
      this.stop();
      this.#refused(error);
    }
  }

  #refused(error) {
    const state = stateOf(error);
    if (state) this.situation.enter(state, { detail: error.message });
    else if (error.status !== 410 && error.status !== 503) say("source", error.title || "That did not work", ` ${error.message}`, { tone: "bad" });
    this.dispatchEvent(new CustomEvent("refused", { detail: error }));
  }

  #connection({ state, error }) {
    if (state === "offering") this.situation.enter("connecting", { progress: progressWords("offer") });
    if (state === "connecting") this.situation.enter("connecting", { progress: progressWords("network") });
    if (state === "publishing") this.situation.leave("connecting", "gateway-away");
    if (state === "lost") this.situation.enter("gateway-away");
    if (state === "failed") {
      this.stop();
      this.situation.leave("gateway-away");
      this.#refused(error);
    }
    this.dispatchEvent(new Event("change"));
  }

  #show() {
    if (this.source && $("source").srcObject !== this.source.stream) {
      $("source").srcObject = this.source.stream;
      $("source").play().catch(() => {});
    }
    $("source-empty").hidden = this.active;
    $("stop").hidden = !this.active;
    if (!this.active) for (const id of ["flip", "device"]) $(id).hidden = true;
    this.dispatchEvent(new Event("change"));
  }

  // --- another camera ------------------------------------------------------

  async #listCameras() {
    const found = await cameras();
    const track = this.source?.stream.getVideoTracks()[0];
    const several = found.length > 1 && Boolean(track);
    $("flip").hidden = !several;
    // On a phone front and back are what one chooses between.
    $("device").hidden = !several || Boolean(track.getSettings().facingMode);
    if (!several) return;
    $("device").replaceChildren(...found.map((device, index) => Object.assign(document.createElement("option"), { value: device.deviceId, textContent: device.label || `Camera ${index + 1}` })));
    $("device").value = track.getSettings().deviceId;
  }

  #flip() {
    const settings = this.source?.stream.getVideoTracks()[0].getSettings() ?? {};
    if (OTHER_FACING[settings.facingMode]) return this.#switchTo({ facingMode: OTHER_FACING[settings.facingMode] });
    const options = [...$("device").options];
    const next = options[(options.findIndex((option) => option.value === settings.deviceId) + 1) % options.length];
    return this.#switchTo({ deviceId: next.value });
  }

  async #switchTo(choice) {
    if (!this.active) return;
    const before = this.source;
    // Many phones open one camera at a time.
    before.close();
    try {
      this.source = await openCamera(this.size(), choice);
    } catch (error) {
      this.stop();
      if (error.state) this.situation.enter(error.state);
      return;
    }
    this.#show();
    await this.publisher.use(this.source.stream);
    this.#listCameras();
  }
}
