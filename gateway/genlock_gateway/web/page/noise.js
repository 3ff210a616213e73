// The slider of the noise scale: it shows what is in force, and asks for a change when the person lets go of it.

// Arrow keys that are held change the value at every step; what is asked for is where they stop.
const SETTLED_MS = 400;

export class NoiseSlider {
  /** @param apply asks for a noise scale; resolves when it is in force or was refused, and never rejects. */
  constructor({ input, value, why }, apply) {
    Object.assign(this, { input, value, why, apply, inForce: null, held: false, moves: 0, settling: 0 });
    input.addEventListener("input", () => {
      clearTimeout(this.settling);
      this.held = true;
      this.moves += 1;
      this.#say(this.#wanted());
    });
    input.addEventListener("change", () => this.#settle());
    // A pointer that comes back to where it began is no `change`.
    addEventListener("pointerup", () => this.#settle());
  }

  /**
   * @param noiseScale what is in force; @param sourceType that of the session: without a picture there is nothing to
   * repaint; @param idle nobody may move it.
   */
  show(noiseScale, sourceType, { idle = false } = {}) {
    const sourceless = sourceType === "none";
    this.inForce = noiseScale;
    this.input.disabled = sourceless || idle;
    this.why.hidden = !sourceless;
    this.value.hidden = sourceless;
    if (!this.held) this.#draw(noiseScale);
  }

  #wanted() { return Math.round(Number(this.input.value) * 100) / 100; }

  #settle() {
    if (!this.held) return;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.#ask(), SETTLED_MS);
  }

  async #ask() {
    const { moves } = this;
    const wanted = this.#wanted();
    if (wanted !== this.inForce) await this.apply(wanted);
    if (moves !== this.moves) return;
    this.held = false;
    this.#draw(this.inForce);
  }

  #draw(noiseScale) {
    this.input.value = String(noiseScale);
    this.#say(noiseScale);
  }

  #say(noiseScale) {
    this.value.textContent = noiseScale.toFixed(2);
    this.input.setAttribute("aria-valuetext", this.value.textContent);
  }
}
