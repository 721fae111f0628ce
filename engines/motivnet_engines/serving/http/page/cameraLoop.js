// The camera, and the loop that sends its frames one after the other: the next is sent when the last was answered.

import { PageError, explain } from "./errors.js";

const FAILURES_IN_A_ROW = 6;

/**
 * Send frames until the signal is aborted.
 *
 * A busy or absent server is asked again after the pause that it named, or a growing one. Other errors, and the sixth
 * in a row, are thrown.
 *
 * @param {() => Promise<void>} readFrame
 * @param {(error: PageError) => void} onWait
 * @param {AbortSignal} signal
 */
export async function sendFrames(readFrame, onWait, signal) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await untilVisible(signal);
      await readFrame();
      failures = 0;
    } catch (error) {
      failures += 1;
      if (signal.aborted) return;
      if (!(error instanceof PageError) || !explain(error.code).passes || failures === FAILURES_IN_A_ROW) throw error;
      onWait(error);
      await pause(error.retryAfter || Math.min(2 ** (failures - 2), 8), signal);
    }
  }
}

/**
 * A tab in the background sends nothing.
 *
 * @param {AbortSignal} signal
 */
async function untilVisible(signal) {
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true, signal });
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal} signal
 */
async function pause(seconds, signal) {
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", resolve, { once: true });
  });
}

const SIZE = { width: 1280, height: 720 };

/** @type {Record<string, string>} */
const CODES = {
  NotAllowedError: "camera_denied",
  SecurityError: "camera_denied",
  NotFoundError: "camera_missing",
  OverconstrainedError: "camera_missing",
};

/**
 * Open the camera, which is on until the stream's tracks are stopped.
 *
 * @param {{width: number, height: number}} [size] that is wished for
 */
export async function openCamera({ width, height } = SIZE) {
  if (!navigator.mediaDevices?.getUserMedia) throw new PageError("camera_insecure");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "user", width: { ideal: width }, height: { ideal: height } } });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    throw new PageError(CODES[name] ?? "camera_busy", { cause: error });
  }
}

/** @param {MediaStream} stream */
export function closeCamera(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

/**
 * Return what the camera sees now, not mirrored.
 *
 * @param {HTMLVideoElement} video
 */
export async function frameOf(video) {
  return await jpegOf(video, video.videoWidth, video.videoHeight);
}

/**
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
export async function jpegOf(source, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(source, 0, 0);
  return await new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new PageError("camera_busy"))), "image/jpeg", 0.9);
  });
}
