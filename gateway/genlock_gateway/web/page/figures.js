// A StreamReport as figures, plots and facts.

import { drawBudget, Figure } from "./plots.js";
import { facts } from "./shell.js";

const $ = (id) => document.getElementById(id);

export function figuresOf(parent) {
  return {
    fps: new Figure(parent, { id: "fps", label: "Frames per second", unit: "fps", colour: "--live" }),
    play: new Figure(parent, { id: "play", label: "Continuous play", unit: "%", colour: "--live", ceiling: 100 }),
    latency: new Figure(parent, { id: "latency", label: "Latency, median", unit: "ms" }),
    first: new Figure(parent, { id: "first-frame", label: "Time to first frame", unit: "ms" }),
    misses: new Figure(parent, { id: "misses", label: "Late frames", unit: "%", colour: "--warn", ceiling: 2 }),
    recovery: new Figure(parent, { id: "recovery", label: "Last recovery gap", unit: "ms", colour: "--bad" }),
  };
}

/** @param report StreamReport of the gateway; @param info the session. */
export function showReport(figures, report, info) {
  const asked = info?.frameRate ?? 16;
  const target = report.frameRate ?? asked;
  figures.fps.show(report.outputFps, { digits: 1, note: `${(report.inputFps ?? 0).toFixed(1)} in · ${target} wanted`, tone: report.outputFps < target * 0.8 ? "warn" : "" });
  const played = report.continuousPlayRatio ?? null;
  figures.play.show(played === null ? null : played * 100, { digits: 2, note: "pictures there when due", tone: played !== null && played < 0.99 ? "warn" : "" });
  figures.latency.show(report.latencyMs?.p50, { note: report.latencyMs?.p99 ? `99 % under ${Math.round(report.latencyMs.p99)} ms` : "capture to viewer" });
  figures.first.show(report.firstFrameMs, { note: "first frame in → out", tone: report.firstFrameMs > (info?.timeToFirstFrameMs ?? Infinity) ? "warn" : "" });
  figures.misses.show((report.missShare ?? 0) * 100, { digits: 2, note: `${report.lateFrames ?? 0} of ${report.framesOut ?? 0}`, tone: (report.missShare ?? 0) > 0.01 ? "warn" : "" });
  figures.recovery.show(report.lastRecoveryGapMs ?? null, { note: `${report.moves ?? 0} moves · ${report.freezes ?? 0} freezes` });
  drawBudget($("budget-bar"), $("budget-legend"), $("budget-total"), report.stages);
  facts($("facts"), [
    ["worker", report.worker], ["epoch", report.epoch], ["chunk", report.chunk],
    ["steps", report.requestedSteps && report.requestedSteps !== report.steps ? `${report.steps} of ${report.requestedSteps} (load)` : report.steps],
    ["frame rate", target < asked ? `${target} of ${asked} (load)` : target],
    ["age of the picture", report.pictureAgeMs ? `${Math.round(report.pictureAgeMs.p50)} ms, 95 % under ${Math.round(report.pictureAgeMs.p95)} ms` : null],
    ["time to first chunk", report.timeToFirstChunkMs ? `${Math.round(report.timeToFirstChunkMs)} ms after the offer` : null],
    ["real-time factor", report.realTimeFactor?.toFixed?.(2)],
    ["rows per micro-step", report.batchRows?.toFixed?.(1)], ["codec", report.encoder ? `${report.encoder.codec} ${Math.round(report.encoder.kbps ?? 0)} kbit/s` : null],
    ["snapshot", report.snapshot ? (report.snapshot.error || `chunk ${report.snapshot.chunk}, ${Math.round((report.snapshot.bytes ?? 0) / 1024)} KiB`) : null],
    ["sinks", report.sinkDigest ? report.sinkDigest.slice(0, 12) : null], ["restored from a snapshot", report.restored ? "yes" : null],
  ]);
}
