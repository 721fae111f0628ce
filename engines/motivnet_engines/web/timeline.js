// The emotions of the largest face over the last minute, as a stacked band and as a sentence.

import { byId, make } from "./page/dom.js";

/** @typedef {{time: number, shares: number[] | null}} Moment null: no face */

const MINUTE = 60_000;
/** Milliseconds between two pictures of the band, and between two sentences. */
const REDRAW = 200;
const RESAY = 5000;
const COLOURS = 8;

const section = byId("minute", HTMLElement);
const canvas = byId("timeline", HTMLCanvasElement);
const legend = byId("legend", HTMLUListElement);

/** @type {Moment[]} the oldest first */
let moments = [];
/** @type {readonly string[]} */
let labels = [];
let drawnAt = -REDRAW;
let saidAt = -RESAY;

/** @param {readonly string[]} names of the emotions, in the model's order */
export function prepareTimeline(names) {
  labels = names;
  legend.replaceChildren(...names.map(legendEntry));
}

/** @param {import("./page/server.js").Face | undefined} face the largest */
export function addMoment(face) {
  const time = performance.now();
  const shares = face ? labels.map((label) => face.probabilities[label] ?? 0) : null;
  moments.push({ time, shares });
  const first = moments.findIndex((moment) => moment.time >= time - MINUTE);
  if (first > 0) moments.splice(0, first);
  section.hidden = false;
  if (time - drawnAt >= REDRAW) draw(time);
  if (time - saidAt >= RESAY) say(time);
}

/** @param {number} now */
function draw(now) {
  drawnAt = now;
  const context = canvas.getContext("2d");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * devicePixelRatio));
  if (!context || !width || !height) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.clearRect(0, 0, width, height);
  const colours = labels.map((_, index) => colour(index));
  moments.forEach(({ time, shares }, index) => {
    if (!shares) return;
    // A moment lasts until the next, but not over the time in which the camera was off.
    const end = Math.min(moments[index + 1]?.time ?? now, time + 2000);
    const [left, right] = [time, end].map((at) => Math.round(width * (1 - (now - at) / MINUTE)));
    let top = height;
    shares.forEach((share, label) => {
      context.fillStyle = colours[label];
      context.fillRect(left, top - share * height, Math.max(1, right - left), share * height);
      top -= share * height;
    });
  });
}

/** @param {number} now */
function say(now) {
  saidAt = now;
  const seen = moments.flatMap(({ shares }) => (shares ? [shares] : []));
  const means = labels.map((label, index) => ({ label, mean: seen.reduce((sum, shares) => sum + shares[index], 0) / seen.length }));
  const likeliest = means.filter(({ mean }) => mean >= 0.1).sort((one, other) => other.mean - one.mean);
  const text = likeliest.map(({ label, mean }) => `${label} ${Math.round(mean * 100)} percent`).join(", ");
  canvas.setAttribute("aria-label", seen.length ? `On average: ${text}.` : "No face.");
}

/**
 * @param {string} label
 * @param {number} index
 */
function legendEntry(label, index) {
  // As an SVG's attribute: the page's policy allows no style in an element.
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ width: "100%", height: "100%", fill: `var(--emotion-${index % COLOURS})` })) square.setAttribute(name, value);
  swatch.append(square);
  return make("li", {}, swatch, label);
}

/** @param {number} index */
function colour(index) {
  return getComputedStyle(canvas).getPropertyValue(`--emotion-${index % COLOURS}`);
}
