// Small plots: a sparkline of the last minute, and the latency budget as a stacked bar.

const KEEP = 120;

const role = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A figure with a label, a number, a note and a sparkline. */
export class Figure {
  constructor(parent, { id, label, unit, colour = "--accent", floor = 0, ceiling = null }) {
    Object.assign(this, { unit, colour, floor, ceiling, values: [] });
    this.element = document.createElement("div");
    this.element.className = "card figure";
    this.element.id = `figure-${id}`;
    const line = (className) => this.element.appendChild(Object.assign(document.createElement("div"), { className }));
    line("label").textContent = label;
    this.value = line("value");
    this.note = line("note");
    this.canvas = this.element.appendChild(document.createElement("canvas"));
    this.canvas.setAttribute("aria-hidden", "true");
    parent.append(this.element);
    this.show(null);
  }

  /** @param value number or null (unknown); @param note a short text; @param tone "", "warn" or "bad". */
  show(value, { digits = 0, note = "", tone = "" } = {}) {
    const known = Number.isFinite(value);
    this.value.textContent = known ? value.toFixed(digits) : "–";
    if (known) this.value.append(Object.assign(document.createElement("span"), { className: "unit", textContent: this.unit }));
    this.note.textContent = note;
    this.note.title = note;
    this.element.dataset.tone = tone;
    this.values.push(known ? value : null);
    if (this.values.length > KEEP) this.values.shift();
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale)) { this.canvas.width = Math.round(width * scale); this.canvas.height = Math.round(height * scale); }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const top = Math.max(this.ceiling ?? 0, ...this.values.map((value) => value ?? 0), 1e-9) * 1.1;
    const x = (index) => width - (this.values.length - 1 - index) * (width / (KEEP - 1));
    const y = (value) => height - 2 - ((value - this.floor) / (top - this.floor)) * (height - 6);
    pen.strokeStyle = role(this.colour);
    pen.lineWidth = 1.75;
    pen.lineJoin = "round";
    pen.beginPath();
    let down = false;
    this.values.forEach((value, index) => {
      if (value === null) { down = false; return; }
      if (down) pen.lineTo(x(index), y(value)); else pen.moveTo(x(index), y(value));
      down = true;
    });
    pen.stroke();
    const last = this.values.at(-1);
    if (last !== null && last !== undefined) {
      pen.fillStyle = role(this.colour);
      pen.beginPath();
      pen.arc(width - 2.5, y(last), 2.5, 0, 7);
      pen.fill();
    }
  }
}

const STAGE_COLOURS = ["#7c8cff", "#4fb7ff", "#3ddc97", "#c4d94f", "#ffb454", "#ff8b5c", "#ff6b7d", "#d77bff", "#b48cff", "#9aa3b8"];

// A frame's way, in order; `genlock_core.slo.stages.Leg` has the names.
const WAY = { ingest: "ingest", network: "network", decode: "decode", chunk: "chunk", queue: "queue", engine: "engine", pace: "pace", encode: "encode", send: "send", fanOut: "fan-out" };

/** Draws `{stage: milliseconds}` as a stacked bar with a legend. */
export function drawBudget(bar, legend, total, stages) {
  const entries = Object.entries(WAY).map(([leg, name]) => [name, stages?.[leg]]).filter(([, ms]) => Number.isFinite(ms) && ms >= 0);
  const sum = entries.reduce((all, [, ms]) => all + ms, 0);
  bar.replaceChildren();
  legend.replaceChildren();
  entries.forEach(([name, ms], index) => {
    const colour = STAGE_COLOURS[index % STAGE_COLOURS.length];
    const part = document.createElement("i");
    part.style.background = colour;
    part.style.flex = `${Math.max(ms, 0.2)} 0 0`;
    part.title = `${name} ${ms.toFixed(1)} ms`;
    bar.append(part);
    const key = document.createElement("i");
    key.style.background = colour;
    const item = document.createElement("li");
    const number = document.createElement("b");
    number.textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
    item.append(key, `${name} `, number);
    legend.append(item);
  });
  bar.setAttribute("aria-label", entries.length ? entries.map(([name, ms]) => `${name} ${ms.toFixed(1)} milliseconds`).join(", ") : "no figures yet");
  total.textContent = entries.length ? `${Math.round(sum)} ms in all` : "";
}
