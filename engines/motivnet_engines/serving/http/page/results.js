// The column of results: nothing yet, at work, a result, an error; and what screen readers hear of it.

import { byId, setText } from "./dom.js";
import { clearFaces, showFaces } from "./faces.js";
import { clearTiming, showTiming } from "./timing.js";
import { adviceFor, explain } from "./errors.js";
import { seenAt, showBoxes } from "./viewer.js";
import { faceCount, leftOut, sentence } from "./format.js";

/** @typedef {import("./server.js").Model} Model */

const results = byId("faces", HTMLDivElement);
const summary = byId("summary", HTMLHeadingElement);
const note = byId("note", HTMLParagraphElement);
const problemBox = byId("problem", HTMLDivElement);
/** Not there where no server is asked. */
const tokenForm = document.getElementById("token-form");
const region = byId("announcement", HTMLParagraphElement);

/** Milliseconds between two announcements of the camera: not more often than one can listen. */
const PAUSE = 3000;

let spokenAt = -PAUSE;
let subject = "";

/** @param {string} text */
export function showWork(text) {
  hideError();
  showIdle(text);
  results.setAttribute("aria-busy", "true");
  announce(text);
}

/**
 * @param {import("./server.js").Answer} answer
 * @param {{camera: boolean, model: Model | null, others?: number}} options `others`: pictures that were not read
 */
export function showAnswer(answer, { camera, model, others = 0 }) {
  const { image } = answer;
  const faces = [...image.faces].sort((one, other) => seenAt(one, image.width) - seenAt(other, image.width));
  hideError();
  results.removeAttribute("aria-busy");
  showBoxes(faces, image);
  showFaces(faces, model?.labels ?? []);
  showTiming(answer, { camera });
  setText(summary, faces.length ? faceCount(faces.length) : "No face found");
  setText(note, remarks(faces.length, image.faces_left_out, others));
  const text = [sentence(faces), leftOut(image.faces_left_out)].join(" ").trim();
  if (camera) announceChange(text, faces.map((face) => face.label).join() || text);
  else announce(text);
}

/**
 * @param {import("./errors.js").PageError} error
 * @param {{model: Model | null, waiting: boolean}} options `waiting`: it is retried by itself
 */
export function showError(error, { model, waiting }) {
  const { title, retry, token } = explain(error.code);
  results.removeAttribute("aria-busy");
  setText(byId("problem-title", HTMLParagraphElement), title);
  const advice = waiting ? "The camera continues as soon as it can." : adviceFor(error, model);
  setText(byId("problem-advice", HTMLParagraphElement), advice);
  byId("retry", HTMLButtonElement).hidden = waiting || !retry;
  if (tokenForm) tokenForm.hidden = !token;
  problemBox.hidden = false;
  if (tokenForm && token) byId("token", HTMLInputElement).focus();
}

/** @param {string} text */
export function showIdle(text) {
  clearFaces();
  clearTiming();
  note.textContent = "";
  results.removeAttribute("aria-busy");
  summary.textContent = text;
}

/** After the camera: what is shown is what was read last. */
export function showRest() {
  note.textContent = "The camera is off. This is the last picture that was read.";
  announce("The camera is off.");
}

export function hideError() {
  if (problemBox.contains(document.activeElement)) summary.focus();
  problemBox.hidden = true;
}

/**
 * @param {number} count
 * @param {number} more faces that the server left out
 * @param {number} others
 */
function remarks(count, more, others) {
  const said = [];
  if (count === 0) said.push("Try a picture in which the face is larger, upright and well lit.");
  if (count > 1) said.push("Numbered from left to right.");
  if (more > 0) said.push(leftOut(more));
  if (others > 0) said.push(`Only the first of ${others + 1} pictures was read.`);
  return said.join(" ");
}

/** @param {string} text */
function announce(text) {
  subject = "";
  region.textContent = text;
}

/**
 * Announce a passing state: only when its subject changed, and after a pause.
 *
 * @param {string} text
 * @param {string} about what makes it worth saying again
 */
function announceChange(text, about) {
  const now = performance.now();
  if (about === subject || now - spokenAt < PAUSE) return;
  subject = about;
  spokenAt = now;
  region.textContent = text;
}
