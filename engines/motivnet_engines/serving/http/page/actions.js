// The page's actions, one at a time, for a picture or for the camera; a server or the browser itself reads them.

import { closeCamera, jpegOf, openCamera, sendFrames } from "./cameraLoop.js";
import { byId, setText } from "./dom.js";
import { PageError, canBeRetried } from "./errors.js";
import { onPictures } from "./fileInput.js";
import { hideError, showAnswer, showError, showIdle, showRest, showWork } from "./results.js";
import { showModel } from "./timing.js";
import { clearViewer, showPicture, showVideo } from "./viewer.js";

/**
 * @typedef {import("./server.js").Answer} Answer
 * @typedef {import("./server.js").Model} Model
 * @typedef {{frame: Blob | ImageBitmap, answer: Answer}} Seen
 * @typedef {{fetchModel: () => Promise<Model>, predict: (picture: Blob, signal: AbortSignal) => Promise<Answer>,
 *   readFrame: (video: HTMLVideoElement, signal: AbortSignal) => Promise<Seen>,
 *   onAnswer?: (answer: Answer) => void, onError?: (error: PageError) => void,
 *   cameraSize?: {width: number, height: number}}} Reader
 *   `onAnswer` hears of each result of the camera, `onError` of each error.
 */

const STOPPED = "stopped";

const cameraButton = byId("camera", HTMLButtonElement);

/** @type {Reader} */
let reader;
/** @type {Model | null} */
let model = null;
/** The running action; aborted when another one begins. */
let action = new AbortController();
let cameraIsOn = false;
/** @type {(() => Promise<void>) | null} what "Try again" does */
let again = null;

/** @param {{camera: boolean, reason?: string}} options `reason`: why the action before ends */
function startAction({ camera, reason }) {
  action.abort(reason);
  action = new AbortController();
  cameraIsOn = camera;
  setText(cameraButton, camera ? "Stop the camera" : "Turn on the camera");
  return action.signal;
}

/**
 * @param {unknown} error
 * @param {{waiting?: boolean}} [options]
 */
function report(error, { waiting = false } = {}) {
  const told = error instanceof PageError ? error : new PageError("page_failed", { detail: String(error) });
  reader.onError?.(told);
  showError(told, { model, waiting });
}

async function loadModel() {
  try {
    model = await reader.fetchModel();
    showModel(model);
  } catch (error) {
    report(error);
  }
}

/** @param {File[]} files of which the first is read */
async function readPicture([file, ...others]) {
  const signal = startAction({ camera: false });
  again = () => readPicture([file, ...others]);
  clearViewer();
  showWork("Reading the picture…");
  try {
    refuseEarly(file);
    showPicture(file, file.name);
    showAnswer(await reader.predict(file, signal), { camera: false, model, others: others.length });
  } catch (error) {
    if (signal.aborted) return;
    showIdle("No result");
    report(error);
    if (!canBeRetried(error)) clearViewer();
  }
}

/**
 * What the server would refuse need not travel.
 *
 * @param {File} file
 */
function refuseEarly(file) {
  if (file.type && !file.type.startsWith("image/")) {
    throw new PageError("not_a_picture", { detail: `“${file.name}” is of the type ${file.type}` });
  }
  if (file.size === 0) throw new PageError("bad_image", { detail: `“${file.name}” is empty` });
  if (model?.limits && file.size > model.limits.max_body_bytes) throw new PageError("too_large");
}

async function readCamera() {
  const signal = startAction({ camera: true });
  again = readCamera;
  clearViewer();
  showWork("Turning on the camera…");
  try {
    const stream = await openCamera(reader.cameraSize);
    await readStream(stream, signal).finally(() => closeCamera(stream));
  } catch (error) {
    if (signal.aborted) return;
    startAction({ camera: false });
    clearViewer();
    showIdle("No result");
    report(error);
  }
}

/**
 * @param {MediaStream} stream
 * @param {AbortSignal} signal
 */
async function readStream(stream, signal) {
  if (signal.aborted) return; // while the browser asked for the permission
  const [track] = stream.getVideoTracks();
  // As in a mirror, which is what people expect of a camera that looks at them.
  const mirror = track.getSettings().facingMode !== "environment";
  const video = await showVideo(stream, { mirror });
  /** @type {Seen | null} */
  let last = null;
  await sendFrames(readFrame, (error) => report(error, { waiting: true }), signal);
  if (signal.reason === STOPPED) await rest(last, mirror);
  release(last);

  async function readFrame() {
    if (track.readyState === "ended") throw new PageError("camera_lost");
    const seen = await reader.readFrame(video, signal);
    if (signal.aborted) return release(seen);
    showAnswer(seen.answer, { camera: true, model });
    reader.onAnswer?.(seen.answer);
    release(last);
    last = seen;
  }
}

/** @param {Seen | null} seen */
function release(seen) {
  if (seen?.frame instanceof ImageBitmap) seen.frame.close();
}

/**
 * The last picture that was read stays, with the boxes that belong to it.
 *
 * @param {Seen | null} last
 * @param {boolean} mirror
 */
async function rest(last, mirror) {
  const begun = action;
  const picture = last && (await pictureOf(last.frame));
  if (begun !== action) return;
  clearViewer();
  hideError();
  if (last === null || picture === null) return showIdle("No picture yet");
  showPicture(picture, "The last picture of the camera", { mirror });
  showAnswer(last.answer, { camera: true, model });
  showRest();
}

/** @param {Blob | ImageBitmap} frame */
async function pictureOf(frame) {
  return frame instanceof Blob ? frame : await jpegOf(frame, frame.width, frame.height);
}

/** After a token was given or "Try again" pressed. */
export async function resume() {
  hideError();
  if (model === null) await loadModel();
  if (model !== null) await again?.();
}

/**
 * Let the page work with whoever reads its pictures.
 *
 * @param {Reader} given
 */
export async function startPage(given) {
  reader = given;
  cameraButton.addEventListener("click", () => {
    if (cameraIsOn) startAction({ camera: false, reason: STOPPED });
    else readCamera();
  });
  byId("retry", HTMLButtonElement).addEventListener("click", resume);
  onPictures(readPicture);
  await loadModel();
}
