// Requests to the service that sent this page.

import { PageError } from "./errors.js";

/**
 * @typedef {{x: number, y: number, width: number, height: number}} Box
 * @typedef {{label: string, confidence: number, probabilities: Record<string, number>, known: boolean | null,
 *   box: Box | null}} Face
 * @typedef {{code: string, message: string}} ErrorDetail
 * @typedef {{width: number, height: number, faces: Face[], faces_left_out: number, error: ErrorDetail | null,
 *   timing: {prepare_ms: number, classify_ms: number}}} ImageResult
 * @typedef {{images: ImageResult[], timing: {queue_ms: number, total_ms: number}}} Prediction
 * @typedef {{image: ImageResult, queue: number, total: number, roundTrip: number,
 *   remote: boolean}} Answer `remote`: a server was asked
 * @typedef {{name: string, labels: string[], precision: string, runtime: string, compute: string,
 *   detector: string | null, purpose?: string | null, limits: {max_body_bytes: number, max_pixels: number, deadline_ms: number} | null}} Model
 */

const PATIENCE = 120_000;

// The access token is kept in this tab's session storage, and in no other place. Behind a proxy there may be several
// services, each under a path of its own, with one storage for all.
const TOKEN_KEY = `motivnet-token ${location.pathname}`;

/** @param {string} token */
export function keepToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN_KEY);
}

/** @returns {Promise<Model>} */
export async function fetchModel() {
  return await request("v1/model", {});
}

/**
 * Ask for the faces in one picture.
 *
 * @param {Blob} picture
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function predict(picture, signal) {
  const started = performance.now();
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  /** @type {Prediction} */
  const { images, timing } = await request("v1/predict", { method: "POST", body: picture, headers }, signal);
  const image = images[0];
  if (image.error) throw new PageError(image.error.code, { detail: image.error.message });
  return { image, queue: timing.queue_ms, total: timing.total_ms, roundTrip: performance.now() - started, remote: true };
}

/**
 * @param {string} path
 * @param {{method?: string, body?: Blob, headers?: Record<string, string>}} options
 * @param {AbortSignal} [cancelled]
 */
async function request(path, options, cancelled) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const timeout = AbortSignal.timeout(PATIENCE);
  const signal = cancelled ? AbortSignal.any([cancelled, timeout]) : timeout;
  try {
    const response = await fetch(path, { ...options, headers, signal, cache: "no-store" });
    if (!response.ok) throw await pageError(response, token !== null);
    return await response.json();
  } catch (error) {
    if (error instanceof PageError || cancelled?.aborted) throw error;
    throw new PageError(timeout.aborted ? "no_answer" : "unreachable", { cause: error });
  }
}

/**
 * @param {Response} response
 * @param {boolean} hadToken
 */
async function pageError(response, hadToken) {
  const { error } = await response.json().catch(() => ({ error: null }));
  const code = response.status === 401 && hadToken ? "wrong_token" : (error?.code ?? (response.status === 503 ? "overloaded" : `http_${response.status}`));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return new PageError(code, { detail: error?.message, request: error?.request, retryAfter });
}
