// Emotions of faces, computed in the browser: no picture leaves the device.
//
//     import { EmotionClassifier } from "./motivnet.js";
//     const classifier = await EmotionClassifier.open("./");
//     const { faces } = await classifier.read(document.querySelector("img"));

import { checkSize } from "./decoding.js";
import { MotivNetError } from "./errors.js";

export { MotivNetError };

/**
 * @typedef {import("./motivnet.js").Source} Source
 * @typedef {{resolve: (value: any) => void, reject: (error: Error) => void}} Waiting
 */

/** A picture that is computed and one ahead of it, which waits decoded; others wait as they were given. */
const IN_WORKER = 2;

/** A function of one SIMD instruction (i8x16.splat), in WebAssembly's binary format. */
const SIMD_MODULE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

/** A verified model, open in a worker of its own. */
export class EmotionClassifier {
  #worker;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #next = 0;
  /** @type {(() => void)[]} */
  #queue = [];
  #inWorker = 0;
  /** @type {MotivNetError | null} why nothing more is answered */
  #end = null;

  /** @private */
  constructor() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "motivnet" });
    this.#worker.addEventListener("message", ({ data }) => this.#settle(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#finish(new MotivNetError("failed", `The worker of the model cannot run: ${event.message || "one of its files cannot be loaded"}.`));
    });
    /** @type {string} */
    this.name = "";
    /** @type {string} */
    this.created = "";
    /** @type {readonly string[]} */
    this.labels = [];
    /** @type {any} */
    this.verified = null;
  }

  /**
   * Open the model in a folder, and check it: every file by its SHA-256, and the model by its reference samples.
   *
   * @param {string | URL} url of the folder
   * @param {{backend?: "auto" | "webgpu" | "wasm", threads?: number}} [options]
   * @returns {Promise<EmotionClassifier>}
   */
  static async open(url, { backend = "auto", threads } = {}) {
    if (!["auto", "webgpu", "wasm"].includes(backend)) {
      throw new MotivNetError("bad_source", `No backend is called “${backend}”: choose auto, webgpu or wasm.`);
    }
    if (!hasSimd()) {
      throw new MotivNetError("no_simd", "This browser has no WebAssembly SIMD, which the model needs; browsers of 2023 and later have it.");
    }
    const classifier = new EmotionClassifier();
    try {
      const opened = await classifier.#ask({ method: "open", url: new URL(url, globalThis.location?.href).href, backend, threads });
      return Object.assign(classifier, opened);
    } catch (error) {
      classifier.close();
      throw error;
    }
  }

  /**
   * The emotion of a picture that is one face.
   *
   * @param {Source} source
   */
  async classify(source) {
    const { faces } = await this.#image("classify", source);
    return faces[0];
  }

  /**
   * The faces in a picture, the largest first, with their boxes and emotions.
   *
   * @param {Source} source
   * @param {{name?: string}} [options]
   */
  async read(source, { name } = {}) {
    return await this.#image("read", source, name);
  }

  /**
   * The grey levels that the model sees, for tests of the preprocessing.
   *
   * @param {Source} source
   * @private
   */
  async _pixels(source) {
    return await this.#image("pixels", source);
  }

  /**
   * The model's outputs by name for a batch of normalised inputs, for verdicts and benchmarks.
   *
   * @param {Float32Array} data (batch, 3, height, width)
   * @param {number} batch
   * @returns {Promise<Record<string, Float32Array>>}
   * @private
   */
  async _run(data, batch) {
    return await this.#ask({ method: "run", data, batch });
  }

  /** End the worker and free its memory; what was not answered is rejected. A second call does nothing. */
  close() {
    this.#finish(new MotivNetError("closed", "This classifier was closed."));
  }

  /**
   * @param {string} method
   * @param {Source} source
   * @param {string} [name]
   */
  async #image(method, source, name) {
    if (this.#end) throw this.#end;
    const sent = await sendable(source);
    if (this.#inWorker >= IN_WORKER) await new Promise((resolve) => this.#queue.push(() => resolve(undefined)));
    else this.#inWorker += 1;
    try {
      return await this.#ask({ method, source: sent, name: name ?? nameOf(source) }, sent instanceof ImageBitmap ? [sent] : []);
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#inWorker -= 1;
    }
  }

  /**
   * @param {object} message
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  #ask(message, transfer = []) {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      const id = (this.#next += 1);
      this.#waiting.set(id, { resolve, reject });
      try {
        this.#worker.postMessage({ id, ...message }, transfer);
      } catch (cause) {
        this.#waiting.delete(id);
        reject(foreign(cause));
      }
    });
  }

  /** @param {{id: number, result?: any, error?: {code: any, message: string}}} answer */
  #settle({ id, result, error }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new MotivNetError(error.code, error.message));
    else waiting?.resolve(result);
  }

  /** @param {MotivNetError} error */
  #finish(error) {
    if (this.#end) return;
    this.#end = error;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    for (const proceed of this.#queue.splice(0)) proceed();
  }
}

/** Whether this browser runs WebAssembly SIMD. */
export function hasSimd() {
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(SIMD_MODULE));
}

/**
 * What can go to the worker: a file as it is, which the worker decodes, and of everything else a copy of its pixels.
 *
 * @param {any} source
 * @returns {Promise<Blob | ImageBitmap>}
 */
async function sendable(source) {
  if (source instanceof Blob) return source;
  checkSource(source);
  if (source instanceof HTMLImageElement) await source.decode().catch(() => undefined);
  const [width, height] = sizeOf(source);
  if (!width || !height) {
    const advice = source instanceof HTMLVideoElement ? "The video has no picture yet: wait for its first frame." : "This picture has no pixels: it is not loaded, or cannot be read.";
    throw new MotivNetError("bad_image", advice);
  }
  checkSize({ width, height });
  try {
    return await createImageBitmap(source, { colorSpaceConversion: "none" });
  } catch (cause) {
    throw foreign(cause);
  }
}

/** @param {any} source */
function checkSource(source) {
  const kinds = [HTMLImageElement, HTMLVideoElement, HTMLCanvasElement, OffscreenCanvas, ImageBitmap, ImageData, globalThis.VideoFrame];
  if (kinds.some((kind) => kind && source instanceof kind)) return;
  const found = source === null || typeof source !== "object" ? String(source).slice(0, 60) : source.constructor?.name;
  throw new MotivNetError("bad_source", `A picture is a file (Blob), an image, a video, a canvas, an ImageBitmap or ImageData, not ${found}.`);
}

/** @param {any} source */
function sizeOf(source) {
  if (source instanceof HTMLImageElement) return [source.naturalWidth, source.naturalHeight];
  if (source instanceof HTMLVideoElement) return source.readyState < 2 ? [0, 0] : [source.videoWidth, source.videoHeight];
  return [source.displayWidth ?? source.width, source.displayHeight ?? source.height];
}

/**
 * @param {unknown} cause
 * @returns {MotivNetError}
 */
function foreign(cause) {
  const name = cause instanceof DOMException ? cause.name : "";
  if (name === "SecurityError" || name === "DataCloneError") {
    return new MotivNetError("foreign_image", "This picture is from another site, which does not let this page read it (CORS).", { cause });
  }
  return new MotivNetError("bad_image", "The browser cannot read this as a picture.", { cause });
}

/** @param {any} source */
function nameOf(source) {
  return source instanceof File ? source.name : undefined;
}
