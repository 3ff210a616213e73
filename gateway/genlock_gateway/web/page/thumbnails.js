// Living thumbnails: what a session shows now, once a second, for as long as somebody can see it.
//
// A picture is fetched with the access token in the header and shown from memory, so no token ever stands in an address.
// Nothing is asked for while a card is off the screen, the page is in the background, or the session has nothing to show.

import { request } from "./api.js";

const EVERY_MS = 1000;
/** Without a new picture for so long, a card says that there is none. */
const STALE_MS = 8000;
/** Answers after which there will be none: no right to look, no such session, it has ended. */
const FINAL = [401, 403, 404, 410];

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const thumbnails = new Map();

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) thumbnails.get(entry.target)?.seen(entry.isIntersecting);
});

document.addEventListener("visibilitychange", () => {
  for (const thumbnail of thumbnails.values()) thumbnail.wake();
});

/** One card's picture. `frame` holds an `img` and a `.no-picture`; `stop` when the card goes. */
export class Thumbnail {
  #frame;
  #image;
  #path;
  #token;
  #onScreen = false;
  #over = false;
  #timer = 0;
  #asking = null;
  #shownAt = 0;
  #dueAt = 0;

  constructor(frame, { path, token, alt }) {
    this.#frame = frame;
    this.#image = frame.querySelector("img");
    this.#image.alt = alt;
    this.#path = path;
    this.#token = token;
    thumbnails.set(frame, this);
    observer.observe(frame);
  }

  seen(onScreen) {
    this.#onScreen = onScreen;
    this.wake();
  }

  /** Ask again when it is time, if anybody can see the answer. */
  wake() {
    clearTimeout(this.#timer);
    if (this.#over || this.#asking) return;
    if (!this.#onScreen || document.hidden) return;
    this.#timer = setTimeout(() => this.#look(), Math.max(0, this.#dueAt - performance.now()));
  }

  stop() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#asking?.abort();
    observer.unobserve(this.#frame);
    thumbnails.delete(this.#frame);
    URL.revokeObjectURL(this.#image.src);
  }

  async #look() {
    this.#asking = new AbortController();
    let waitMs = EVERY_MS;
    try {
      const path = `/api/v1/sessions/${this.#path}/preview.jpg`;
      const response = await request(path, { token: this.#token, signal: this.#asking.signal });
      await this.#show(await response.blob());
      // Whoever wants less motion gets one picture that stays.
      this.#over ||= reducedMotion.matches;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      if (FINAL.includes(problem.status)) this.#over = true;
      waitMs = Math.max(EVERY_MS, 1000 * (problem.retryAfterS || 0));
      if (performance.now() - this.#shownAt > STALE_MS) this.#hide();
    } finally {
      this.#asking = null;
    }
    this.#dueAt = performance.now() + waitMs;
    this.wake();
  }

  /** The new picture takes the old one's place when it can be drawn, so that nothing flickers. */
  async #show(blob) {
    const next = new Image();
    next.src = URL.createObjectURL(blob);
    try {
      await next.decode();
    } catch (error) {
      URL.revokeObjectURL(next.src);
      throw error;
    }
    if (this.#over) {
      URL.revokeObjectURL(next.src);
      return;
    }
    const before = this.#image.src;
    this.#image.src = next.src;
    this.#image.hidden = false;
    this.#frame.dataset.picture = "yes";
    this.#shownAt = performance.now();
    if (before) URL.revokeObjectURL(before);
  }

  #hide() {
    this.#image.hidden = true;
    delete this.#frame.dataset.picture;
  }
}
