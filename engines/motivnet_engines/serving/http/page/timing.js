// The timing of an answer, and the model's line.

import { byId, make } from "./dom.js";
import { duration } from "./format.js";

const timing = byId("timing", HTMLDListElement);
const modelLine = byId("model", HTMLParagraphElement);
const purposeLine = byId("purpose", HTMLParagraphElement);

/** The weight of the newest interval in the rate that is shown. */
const FRESHNESS = 0.2;

let lastAnswer = 0;
let interval = 0;

/**
 * @param {import("./server.js").Answer} answer
 * @param {{camera: boolean}} options
 */
export function showTiming({ image, queue, total, roundTrip, remote }, { camera }) {
  const work = [
    ["Prepare", duration(image.timing.prepare_ms)],
    ["Model", duration(image.timing.classify_ms)],
  ];
  const parts = remote
    ? [["Round trip", duration(roundTrip)], ["Queue", duration(queue)], ...work, ["Network", duration(Math.max(0, roundTrip - total))]]
    : [["Total", duration(roundTrip)], ...work];
  if (camera) parts.push(["Pictures / s", rate()]);
  timing.replaceChildren(...parts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

export function clearTiming() {
  timing.replaceChildren();
  lastAnswer = interval = 0;
}

/** @param {import("./server.js").Model} model */
export function showModel(model) {
  const detector = model.detector === "custom" ? "a custom detector" : model.detector;
  const faces = detector ? `faces by ${detector}` : "each picture is one face";
  modelLine.textContent = [model.name, model.precision, `${model.runtime} (${model.compute})`, faces].join(" · ");
  purposeLine.hidden = !model.purpose;
  purposeLine.textContent = model.purpose ? `Used for: ${model.purpose}` : "";
}

function rate() {
  const now = performance.now();
  const newest = now - lastAnswer;
  if (lastAnswer) interval = interval ? interval + FRESHNESS * (newest - interval) : newest;
  lastAnswer = now;
  return interval ? (1000 / interval).toFixed(1) : "–";
}
