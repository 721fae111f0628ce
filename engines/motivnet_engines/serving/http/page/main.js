// The page's actions: one at a time, for a picture or for the camera.

import { closeCamera, frameOf, openCamera, sendFrames } from "./cameraLoop.js";
import { byId, setText } from "./dom.js";
import { PageError, canBeRetried } from "./errors.js";
import { onPictures } from "./fileInput.js";
import { hideError, showAnswer, showError, showIdle, showRest, showWork } from "./results.js";
import { fetchModel, forgetToken, keepToken, predict } from "./server.js";
import { showModel } from "./timing.js";
import { clearViewer, showPicture, showVideo } from "./viewer.js";

/** @typedef {import("./server.js").Answer} Answer */

const STOPPED = "stopped";

const cameraButton = byId("camera", HTMLButtonElement);

/** @type {import("./server.js").Model | null} */
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
  if (told.code === "wrong_token") forgetToken();
  showError(told, { model, waiting });
}

async function loadModel() {
  try {
    model = await fetchModel();
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
    showAnswer(await predict(file, signal), { camera: false, model, others: others.length });
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
    const stream = await openCamera();
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
  /** @type {{frame: Blob, answer: Answer} | null} */
  let last = null;
  await sendFrames(readFrame, (error) => report(error, { waiting: true }), signal);
  if (signal.reason === STOPPED) rest(last, mirror);

  async function readFrame() {
    if (track.readyState === "ended") throw new PageError("camera_lost");
    const frame = await frameOf(video);
    const answer = await predict(frame, signal);
    if (signal.aborted) return;
    showAnswer(answer, { camera: true, model });
    last = { frame, answer };
  }
}

/**
 * The last picture that was read stays, with the boxes that belong to it.
 *
 * @param {{frame: Blob, answer: Answer} | null} last
 * @param {boolean} mirror
 */
function rest(last, mirror) {
  clearViewer();
  hideError();
  if (last === null) return showIdle("No picture yet");
  showPicture(last.frame, "The last picture of the camera", { mirror });
  showAnswer(last.answer, { camera: true, model });
  showRest();
}

/** After a token was given or "Try again" pressed. */
async function resume() {
  hideError();
  if (model === null) await loadModel();
  if (model !== null) await again?.();
}

cameraButton.addEventListener("click", () => {
  if (cameraIsOn) startAction({ camera: false, reason: STOPPED });
  else readCamera();
});

byId("retry", HTMLButtonElement).addEventListener("click", resume);

byId("token-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const field = byId("token", HTMLInputElement);
  keepToken(field.value);
  field.value = "";
  resume();
});

onPictures(readPicture);
await loadModel();
