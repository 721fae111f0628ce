// The picture, or the camera's video, with a box around each face.

import { byId, make, setText } from "./dom.js";
import { doubt, isUnknown } from "./format.js";

/** @typedef {import("./server.js").Face} Face */

const frame = byId("frame", HTMLDivElement);
const picture = byId("picture", HTMLImageElement);
const video = byId("video", HTMLVideoElement);
const boxes = byId("boxes", HTMLDivElement);
const hint = byId("hint", HTMLDivElement);
const unseen = byId("unseen", HTMLParagraphElement);

/** Of a face whose box is narrower than this share of the picture, only the number is shown. */
const WIDE_ENOUGH = 0.16;

let mirrored = false;

picture.addEventListener("load", () => setShape(picture.naturalWidth, picture.naturalHeight));
picture.addEventListener("error", () => {
  picture.hidden = true;
  unseen.hidden = !picture.src;
});
video.addEventListener("resize", () => setShape(video.videoWidth, video.videoHeight));

/**
 * @param {Blob} blob
 * @param {string} name
 * @param {{mirror?: boolean}} [options]
 */
export function showPicture(blob, name, { mirror = false } = {}) {
  clearViewer();
  setMirrored(mirror);
  picture.src = URL.createObjectURL(blob);
  picture.alt = name;
  picture.hidden = false;
  reveal();
}

/**
 * Resolves when the first frame is there.
 *
 * @param {MediaStream} stream
 * @param {{mirror: boolean}} options
 */
export async function showVideo(stream, { mirror }) {
  clearViewer();
  setMirrored(mirror);
  video.srcObject = stream;
  video.hidden = false;
  reveal();
  await video.play();
  return video;
}

export function clearViewer() {
  if (picture.src) URL.revokeObjectURL(picture.src);
  picture.removeAttribute("src");
  picture.alt = "";
  video.srcObject = null;
  boxes.replaceChildren();
  for (const element of [frame, picture, video, unseen]) element.hidden = true;
  hint.hidden = false;
}

/**
 * Where a face is seen, from the left edge of the stage.
 *
 * @param {Face} face
 * @param {number} width of the picture in its own pixels
 */
export function seenAt(face, width) {
  if (!face.box) return 0;
  return mirrored ? width - face.box.x - face.box.width : face.box.x;
}

/**
 * @param {Face[]} faces in the order of their numbers
 * @param {{width: number, height: number}} size of the picture in its own pixels
 */
export function showBoxes(faces, { width, height }) {
  setShape(width, height);
  while (boxes.children.length > faces.length) boxes.lastElementChild?.remove();
  while (boxes.children.length < faces.length) boxes.append(make("div", { class: "box" }, make("span")));
  faces.forEach((face, index) => place(/** @type {HTMLElement} */ (boxes.children[index]), face, index));

  /**
   * @param {HTMLElement} element
   * @param {Face} face
   * @param {number} index
   */
  function place(element, face, index) {
    element.hidden = face.box === null;
    if (!face.box) return;
    const left = seenAt(face, width) / width;
    const share = face.box.width / width;
    element.style.left = `${left * 100}%`;
    element.style.top = `${(face.box.y / height) * 100}%`;
    element.style.width = `${share * 100}%`;
    element.style.height = `${(face.box.height / height) * 100}%`;
    element.classList.toggle("doubtful", doubt(face) !== "");
    element.classList.toggle("high", face.box.y / height < 0.08);
    element.classList.toggle("right", left + share / 2 > 0.6);
    setText(/** @type {Element} */ (element.firstElementChild), boxLabel(face, index, share));
  }

  /**
   * @param {Face} face
   * @param {number} index
   * @param {number} share
   */
  function boxLabel(face, index, share) {
    const label = isUnknown(face) ? "unknown" : face.label;
    if (faces.length === 1) return label;
    return share < WIDE_ENOUGH ? `${index + 1}` : `${index + 1} ${label}`;
  }
}

/** @param {number} index of the face to point out, or -1 */
export function pointOut(index) {
  [...boxes.children].forEach((box, position) => box.classList.toggle("pointed", position === index));
}

/** @param {boolean} mirror */
function setMirrored(mirror) {
  mirrored = mirror;
  frame.classList.toggle("mirrored", mirror);
}

function reveal() {
  hint.hidden = true;
  frame.hidden = false;
}

/**
 * @param {number} width
 * @param {number} height
 */
function setShape(width, height) {
  if (width && height) frame.style.setProperty("--ratio", String(width / height));
}
