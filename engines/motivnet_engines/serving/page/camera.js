// The camera: on, one frame at a time, off.

import { Problem } from "./problems.js";

const WANTED = { audio: false, video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } } };

/** @type {Record<string, string>} */
const CODES = {
  NotAllowedError: "camera_denied",
  SecurityError: "camera_denied",
  NotFoundError: "camera_missing",
  OverconstrainedError: "camera_missing",
};

/** Asks for the camera, which is on until the stream's tracks are stopped. */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Problem("camera_insecure");
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    throw new Problem(CODES[name] ?? "camera_busy", { cause: error });
  }
}

/** @param {MediaStream} stream */
export function closeCamera(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

/**
 * What the camera sees now, as it is (not mirrored).
 *
 * @param {HTMLVideoElement} video
 * @returns {Promise<Blob>}
 */
export async function frameOf(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(video, 0, 0);
  return await new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Problem("camera_busy"))), "image/jpeg", 0.9);
  });
}
