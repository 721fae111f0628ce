// Brings the parts of the page together: one turn at a time, of a picture or of the camera.

import { closeCamera, frameOf, openCamera } from "./camera.js";
import { byId, setText } from "./elements.js";
import { showModel } from "./facts.js";
import { onPictures } from "./intake.js";
import { Problem, canBeRetried } from "./problems.js";
import { fetchModel, predict } from "./server.js";
import { clearStage, showBoxes, showPicture, showVideo } from "./stage.js";
import { forgetToken, keepToken } from "./token.js";
import { hideProblem, showAnswer, showIdle, showProblem, showRest, showWork } from "./view.js";
import { watch } from "./watching.js";

/** @typedef {import("./server.js").Answer} Answer */

const STOPPED = "stopped";

const cameraButton = byId("camera", HTMLButtonElement);

/** @type {import("./server.js").Model | null} */
let model = null;
/** What is going on now; aborted when something else begins. */
let turn = new AbortController();
let cameraIsOn = false;
/** @type {(() => Promise<void>) | null} what "Try again" does */
let again = null;

/** @param {{camera: boolean, reason?: string}} options `reason`: why the turn before is over */
function takeTurn({ camera, reason }) {
  turn.abort(reason);
  turn = new AbortController();
  cameraIsOn = camera;
  setText(cameraButton, camera ? "Stop the camera" : "Turn on the camera");
  return turn.signal;
}

/**
 * @param {unknown} error
 * @param {{waiting?: boolean}} [options]
 */
function tell(error, { waiting = false } = {}) {
  const problem = error instanceof Problem ? error : new Problem("page_failed", { detail: String(error) });
  if (problem.code === "wrong_token") forgetToken();
  showProblem(problem, { model, waiting });
}

async function loadModel() {
  try {
    model = await fetchModel();
    showModel(model);
  } catch (error) {
    tell(error);
  }
}

/** @param {File[]} files of which the first is read */
async function readPicture([file, ...others]) {
  const signal = takeTurn({ camera: false });
  again = () => readPicture([file, ...others]);
  clearStage();
  showWork("Reading the picture…");
  try {
    refuseEarly(file);
    showPicture(file, file.name);
    showAnswer(await predict(file, signal), { camera: false, model, others: others.length });
  } catch (error) {
    if (signal.aborted) return;
    showIdle("No result");
    tell(error);
    if (!canBeRetried(error)) clearStage();
  }
}

/**
 * What the server would refuse need not travel.
 *
 * @param {File} file
 */
function refuseEarly(file) {
  if (file.type && !file.type.startsWith("image/")) {
    throw new Problem("not_a_picture", { detail: `“${file.name}” is of the type ${file.type}` });
  }
  if (file.size === 0) throw new Problem("bad_image", { detail: `“${file.name}” is empty` });
  if (model?.limits && file.size > model.limits.max_body_bytes) throw new Problem("too_large");
}

async function readCamera() {
  const signal = takeTurn({ camera: true });
  again = readCamera;
  clearStage();
  showWork("Turning on the camera…");
  try {
    const stream = await openCamera();
    await readStream(stream, signal).finally(() => closeCamera(stream));
  } catch (error) {
    if (signal.aborted) return;
    takeTurn({ camera: false });
    clearStage();
    showIdle("No result");
    tell(error);
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
  await watch(readFrame, (problem) => tell(problem, { waiting: true }), signal);
  if (signal.reason === STOPPED) rest(last, mirror);

  async function readFrame() {
    if (track.readyState === "ended") throw new Problem("camera_lost");
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
  clearStage();
  hideProblem();
  if (last === null) return showIdle("No picture yet");
  showPicture(last.frame, "The last picture of the camera", { mirror });
  showAnswer(last.answer, { camera: true, model });
  showRest();
}

/** After a token was given or "Try again" pressed. */
async function resume() {
  hideProblem();
  if (model === null) await loadModel();
  if (model !== null) await again?.();
}

cameraButton.addEventListener("click", () => {
  if (cameraIsOn) takeTurn({ camera: false, reason: STOPPED });
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
