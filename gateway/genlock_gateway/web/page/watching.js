// One session's picture in this page, and what the page makes of it: connected or not, moving or not.

import { getSession, isAboutToken } from "./api.js";
import { WhepPlayer } from "./peers.js";
import { progressWords, stateOf } from "./situation.js";

const ASK_EVERY_MS = 3000;
const LOOK_EVERY_MS = 500;
/** A session that is live, and no picture of it in this browser for so long. */
const STUCK_MS = 3000;
/** States in which pictures come. */
const MOVING = new Set(["live", "approximated", "lowered", "machine-busy", "too-slow"]);
const OVER = new Set(["ended", "failed"]);

/**
 * Keeps a video element and a situation in step with a session. Fires `view` (detail: SessionView) and `stats` (detail:
 * StreamReport). It goes on by itself: after an absence of the gateway, when there is room, when a session begins again.
 */
export class Watching extends EventTarget {
  constructor(session, { video, situation, access }) {
    super();
    Object.assign(this, { session, video, situation, access, view: null, hasPicture: false, seen: [-1, 0] });
    this.player = new WhepPlayer(video, session);
    this.player.addEventListener("state", ({ detail }) => this.#connection(detail));
    this.player.addEventListener("message", ({ detail: message }) => {
      if (message.type === "state") this.#hear({ ...this.view, ...message });
      if (message.type === "stats") this.dispatchEvent(new CustomEvent("stats", { detail: message }));
    });
    setInterval(() => this.#look(), LOOK_EVERY_MS);
    setInterval(() => { if (!document.hidden) this.#ask(); }, ASK_EVERY_MS);
  }

  get over() { return OVER.has(this.view?.state); }

  /** From the beginning, also after an end or with another token. */
  async begin() {
    this.player.stop();
    this.situation.leave("token-needed", "token-refused", "missing");
    await this.#ask();
    if (this.view && !this.over) await this.#play();
  }

  stop() { this.player.stop(); }

  async #ask() {
    try {
      const view = await getSession(this.session, this.access.token);
      this.situation.leave("gateway-away", "missing", "token-needed", "token-refused");
      const began = this.over && !OVER.has(view.state);
      this.#hear(view);
      if ((began || !this.player.running) && !this.starting && !this.over) await this.#play();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #play() {
    if (this.starting) return;
    this.starting = true;
    try {
      await this.player.start(this.access.token);
      this.situation.leave("gateway-away", "gateway-full");
    } catch (error) {
      this.player.stop();
      this.#fail(error);
    } finally {
      this.starting = false;
    }
  }

  #fail(error) {
    this.situation.leave("connecting");
    const state = stateOf(error);
    const isNews = !this.situation.holds(state);
    // What the gateway says of an end or of its workers stands in the view.
    if (state) this.situation.enter(state);
    // A person who has been asked once is not asked again for the same.
    if (isAboutToken(error) && isNews) this.dispatchEvent(new CustomEvent("refused", { detail: error }));
  }

  #hear(view) {
    this.view = view;
    this.situation.hear(view);
    if (this.over) {
      this.player.stop();
      this.hasPicture = false;
      this.situation.leave("connecting", "not-arriving", "gateway-away");
    }
    this.dispatchEvent(new CustomEvent("view", { detail: view }));
  }

  #connection({ state, error }) {
    if (state === "offering" && !this.player.playing) this.situation.enter("connecting", { progress: progressWords("offer") });
    if (state === "connecting" && !this.player.playing) this.situation.enter("connecting", { progress: progressWords("network") });
    if (state === "connected" || state === "playing") this.situation.leave("connecting", "gateway-away");
    if (state === "playing") this.hasPicture = true;
    if (state === "lost") this.situation.enter("gateway-away");
    if (state === "failed") this.#fail(error);
    if (state === "failed") this.#ask();
  }

  /** Whether pictures really arrive, while the gateway says that they are made. */
  #look() {
    const pictures = this.video.getVideoPlaybackQuality?.().totalVideoFrames ?? this.video.currentTime;
    const now = performance.now();
    // A page in the background draws nothing.
    if (pictures !== this.seen[0] || document.hidden || !MOVING.has(this.view?.state) || !this.player.running) this.seen = [pictures, now];
    if (now - this.seen[1] > STUCK_MS) this.situation.enter("not-arriving");
    else this.situation.leave("not-arriving");
  }
}
