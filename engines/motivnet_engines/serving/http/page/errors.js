// The errors, and what a person can do about each.

import { capitalised, megabytes } from "./format.js";

/**
 * @typedef {{title: string, advice: string, token?: true, retry?: true, passes?: true}} Explanation
 *   `token`: the field for the token is shown. `retry`: so is "Try again". `passes`: the camera continues by itself.
 */

/** @type {Record<string, Explanation>} */
const EXPLANATIONS = {
  not_a_picture: { title: "This is not a picture", advice: "Choose a JPEG, PNG or WebP file." },
  wrong_type: { title: "This is not a picture", advice: "Choose a JPEG, PNG or WebP file." },
  bad_image: { title: "This picture cannot be read", advice: "Open it elsewhere, save it as JPEG or PNG, and try that." },
  too_large: { title: "This picture is too large", advice: "Make it smaller and try again." },
  bad_request: { title: "The server does not understand the request", advice: "Reload the page; the server may be of another version." },
  unauthorised: { title: "This server asks for a token", advice: "It is the one that the server was started with.", token: true },
  wrong_token: { title: "The server does not accept this token", advice: "Enter the one that the server was started with.", token: true },
  forbidden: { title: "The server does not answer to this address", advice: "Open the page by the address that the server printed when it started, or ask whoever runs it." },
  not_found: { title: "The server does not have what this page asked for", advice: "Reload the page; the server may be of another version." },
  wrong_method: { title: "The server does not understand the request", advice: "Reload the page; the server may be of another version." },
  too_many_headers: { title: "The browser sent too much beside the picture", advice: "An extension or a proxy may be adding to its requests. Try another browser." },
  failed: { title: "The server could not work on this picture", advice: "Try again, or another picture.", retry: true },
  too_slow: { title: "The picture took too long to arrive", advice: "The connection is slow. Try again, or a smaller picture.", retry: true, passes: true },
  overloaded: { title: "The server is busy", advice: "It has more to do than it can. Try again in a moment.", retry: true, passes: true },
  late: { title: "The server had no time for this picture", advice: "It is busy. Try again in a moment.", retry: true, passes: true },
  draining: { title: "The server is shutting down", advice: "Try again when it is back.", retry: true, passes: true },
  unreachable: { title: "The server does not answer", advice: "Check that it is running and that you are connected, then try again.", retry: true, passes: true },
  no_answer: { title: "The server took too long", advice: "It may be busy. Try again in a moment.", retry: true, passes: true },
  camera_denied: { title: "The camera is not allowed", advice: "Allow it for this page in the browser's settings, then turn it on again." },
  camera_missing: { title: "No camera was found", advice: "Connect one and turn it on again, or choose a picture." },
  camera_busy: { title: "The camera cannot be used", advice: "Another program may be using it. Close that and turn it on again." },
  camera_insecure: { title: "The camera is not available here", advice: "Browsers allow it only over https or on this computer (localhost)." },
  camera_lost: { title: "The camera was disconnected", advice: "Connect it and turn it on again." },
  no_simd: { title: "This browser cannot run the model", advice: "Update it, or try another one." },
  insecure: { title: "The model cannot run at this address", advice: "Open the page over https." },
  wrong_version: { title: "The model is of another version than this page", advice: "Whoever runs this page has to build its folder again." },
  damaged: { title: "A file of this page is not as it was built", advice: "Nothing is classified. Whoever runs this page has to build its folder again." },
  not_verified: { title: "The model is not verified in this browser", advice: "Try another browser." },
  no_backend: { title: "The model cannot be opened in this browser", advice: "Close other tabs or update the browser, and try again.", retry: true },
  not_loaded: { title: "The model cannot be loaded", advice: "Check that you are connected, then try again.", retry: true },
  not_finite: { title: "The model fails in this browser", advice: "Try another browser." },
  browser_failed: { title: "The browser could not work on this picture", advice: "Try again, or another picture.", retry: true },
  page_failed: { title: "Something went wrong in this page", advice: "Reload it and try again." },
};

/** @type {Explanation} */
const UNEXPECTED = { title: "Something went wrong in the server", advice: "Its log says what. Try again, or another picture.", retry: true };

/** An error that a person is told about; its code is a key of EXPLANATIONS, or any other. */
export class PageError extends Error {
  /**
   * @param {string} code
   * @param {{detail?: string, request?: string, retryAfter?: number, cause?: unknown}} [more] `request`: its id in the
   *   server's log. `retryAfter` is in seconds.
   */
  constructor(code, { detail = "", request = "", retryAfter = 0, cause } = {}) {
    super(detail || code, { cause });
    this.code = code;
    this.detail = detail;
    this.request = request;
    this.retryAfter = retryAfter;
  }
}

/** @param {string} code */
export function explain(code) {
  return EXPLANATIONS[code] ?? UNEXPECTED;
}

/** @param {unknown} error */
export function canBeRetried(error) {
  if (!(error instanceof PageError)) return false;
  const { retry, token } = explain(error.code);
  return retry || token || false;
}

/**
 * @param {PageError} error
 * @param {import("./server.js").Model | null} model
 */
export function adviceFor(error, model) {
  const { advice } = explain(error.code);
  if (error.code === "failed" && error.request) return `${advice} The server's log says what failed, under ${error.request}.`;
  if (error.code === "too_large" && model?.limits) {
    const { max_body_bytes: bytes, max_pixels: pixels } = model.limits;
    return `${advice} This server takes up to ${megabytes(bytes)} and ${Math.floor(pixels / 1e6)} million pixels.`;
  }
  return error.detail && error.code !== "unauthorised" ? `${sentenceOf(error.detail)} ${advice}` : advice;
}

/** @param {string} text */
function sentenceOf(text) {
  return capitalised(/[.!?]$/.test(text) ? text : `${text}.`);
}
