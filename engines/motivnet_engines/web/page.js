// The page without a server: the service's page, whose pictures are read by the library in this browser.

import { EmotionClassifier, MotivNetError } from "./motivnet.js";
import { startPage } from "./page/actions.js";
import { byId } from "./page/dom.js";
import { PageError, explain } from "./page/errors.js";
import { addMoment, prepareTimeline } from "./timeline.js";

/**
 * @typedef {import("./page/server.js").Answer} Answer
 * @typedef {{frame: ImageBitmap, answer: Promise<Answer>, asked: number}} Pending
 */

/** YuNet looks at no more than this of a near face, and twice as many pixels take four times as long. */
const CAMERA_SIZE = { width: 640, height: 480 };
/** Milliseconds after which a frame that was read ahead is no longer what the camera sees. */
const STALE = 1000;

/** Codes of the library that mean something else on the service's page. */
const CODES = { unreachable: "not_loaded", failed: "browser_failed", bad_source: "not_a_picture" };

const verdict = byId("verdict", HTMLParagraphElement);

/** @type {Promise<any> | null} */
let opening = null;
/** @type {Pending | null} the frame that is read while the one before is shown */
let ahead = null;

/** The classifier, opened once; after a failure a further call tries again. */
async function classifier() {
  const backend = /** @type {any} */ (new URLSearchParams(location.search).get("backend") ?? "auto");
  opening ??= EmotionClassifier.open("./", { backend });
  try {
    return await opening;
  } catch (error) {
    opening = null;
    throw pageError(error);
  }
}

/** @returns {Promise<import("./page/server.js").Model>} */
async function fetchModel() {
  try {
    const { name, labels, verified } = await classifier();
    prepareTimeline(labels);
    showVerdict(verified);
    const threads = verified.threads === 1 ? "1 thread" : `${verified.threads} threads`;
    const runtime = verified.backend === "webgpu" ? "WebGPU" : "WebAssembly";
    return { name, labels: [...labels], precision: verified.precision, runtime, compute: verified.backend === "webgpu" ? "GPU" : threads, detector: "YuNet", limits: null };
  } catch (error) {
    if (error instanceof PageError) refuse(error);
    throw error;
  }
}

/** @param {any} verified */
function showVerdict({ samples, maxAbsoluteError, precision, fallback }) {
  const difference = maxAbsoluteError.toExponential(1);
  verdict.textContent = `Verified here: ${samples} reference samples, largest difference ${difference} (${precision}).`;
  if (fallback) verdict.textContent += " WebGPU was tried and not used.";
  verdict.className = "verified";
  document.documentElement.dataset.verified = "yes";
}

/** @param {PageError} error */
function refuse(error) {
  verdict.textContent = `Not verified: ${explain(error.code).title.toLowerCase()}.`;
  verdict.className = "refused";
  document.documentElement.dataset.verified = "no";
}

/**
 * @param {Blob | ImageBitmap} picture
 * @returns {Promise<Answer>}
 */
async function read(picture) {
  const started = performance.now();
  try {
    const image = await (await classifier()).read(picture);
    const roundTrip = performance.now() - started;
    return { image: { ...image, faces_left_out: 0, error: null }, queue: 0, total: roundTrip, roundTrip, remote: false };
  } catch (error) {
    throw pageError(error);
  }
}

/**
 * The next frame of the camera with its result; the one after it is already on its way to the worker.
 *
 * @param {HTMLVideoElement} video
 * @param {AbortSignal} signal
 */
async function readFrame(video, signal) {
  if (ahead && performance.now() - ahead.asked > STALE) forget();
  const now = ahead ?? (await ask(video));
  ahead = null;
  if (!signal.aborted) ahead = await ask(video);
  signal.addEventListener("abort", forget, { once: true });
  try {
    return { frame: now.frame, answer: await now.answer };
  } catch (error) {
    now.frame.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", forget);
  }
}

/**
 * @param {HTMLVideoElement} video
 * @returns {Promise<Pending>}
 */
async function ask(video) {
  const frame = await createImageBitmap(video);
  const answer = read(frame);
  answer.catch(() => undefined); // it is awaited with the next frame, or not at all
  return { frame, answer, asked: performance.now() };
}

function forget() {
  ahead?.answer.finally(ahead.frame.close.bind(ahead.frame)).catch(() => undefined);
  ahead = null;
}

/** @param {unknown} error */
function pageError(error) {
  if (!(error instanceof MotivNetError)) return error;
  const code = /** @type {Record<string, string>} */ (CODES)[error.code] ?? error.code;
  return new PageError(code, { detail: error.message, cause: error });
}

/** From the second visit on the page needs no connection. */
async function keepForOffline() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("service-worker.js");
  await navigator.serviceWorker.ready;
  byId("offline", HTMLParagraphElement).textContent += " This page works without a connection.";
}

keepForOffline().catch(() => undefined); // it works with a connection then
await startPage({
  fetchModel,
  predict: read,
  readFrame,
  onAnswer: ({ image }) => addMoment(image.faces[0]),
  cameraSize: CAMERA_SIZE,
});
