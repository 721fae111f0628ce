// Everything heavy, away from the page's thread: it opens the model, decodes, finds faces, preprocesses and classifies.

import { bitmapOf, pixelsOf } from "./decoding.js";
import { plainError } from "./errors.js";
import { Folder } from "./folder.js";
import { predictionOf } from "./predictions.js";
import { modelPixels, normalised, squareAround } from "./preprocess.js";
import { filesOfOther, verifiedSession } from "./session.js";
import { DEFAULTS, detectFaces } from "./yunet.js";

/**
 * @typedef {import("./decoding.js").Picture} Picture
 * @typedef {{id: number, method: string, source?: Blob | ImageBitmap, url?: string, backend?: any, threads?: number,
 *   name?: string, data?: Float32Array, batch?: number}} Message
 */

/** @type {{folder: Folder, session: import("./session.js").Session} | null} */
let model = null;

/** The work so far: a picture is decoded at once, and computed when those before it are done. */
let last = Promise.resolve();

addEventListener("message", ({ data }) => {
  const bitmap = data.source && bitmapOf(data.source);
  bitmap?.catch(() => undefined); // it is awaited later
  last = last.then(() => answer(data, bitmap));
});

/**
 * @param {Message} message
 * @param {Promise<ImageBitmap> | undefined} bitmap
 */
async function answer(message, bitmap) {
  try {
    postMessage({ id: message.id, result: await perform(message, bitmap) });
  } catch (error) {
    postMessage({ id: message.id, error: plainError(error) });
  }
}

/**
 * @param {Message} message
 * @param {Promise<ImageBitmap> | undefined} bitmap
 */
async function perform({ method, url, backend, threads, name, data, batch }, bitmap) {
  if (method === "open") return await open(String(url), backend, threads);
  if (method === "close") return await close();
  if (method === "run") return await opened().session.run(data ?? new Float32Array(), batch ?? 1);
  const started = performance.now();
  const picture = pixelsOf(await /** @type {Promise<ImageBitmap>} */ (bitmap));
  if (method === "pixels") return pixelsOfFaces(picture);
  return await read(picture, { detect: method === "read", name, started });
}

/**
 * @param {string} url
 * @param {any} backend
 * @param {number} [threads]
 */
async function open(url, backend, threads) {
  const folder = await Folder.open(url);
  const { session, verified } = await verifiedSession(folder, backend, threads);
  model = { folder, session };
  await folder.check(filesOfOther(folder, session.backend));
  const { name, created, labels } = folder.description;
  return { name, created, labels, verified };
}

async function close() {
  await model?.session.close();
  model = null;
}

function opened() {
  if (!model) throw new Error("no model is open");
  return model;
}

/**
 * @param {Picture} picture
 * @param {{detect: boolean, name?: string, started: number}} options
 */
async function read(picture, { detect, name = "the image", started }) {
  const { folder, session } = opened();
  const faces = detect ? await facesOf(picture) : [null];
  const inputs = faces.map((face) => normalised(pixelsOfFace(picture, face), folder.description.preprocess));
  const prepared = performance.now();
  const predictions = [];
  for (const [index, input] of inputs.entries()) {
    predictions.push(predictionOf(await session.classify(input), folder.description, faces[index]));
  }
  const timing = { prepare_ms: prepared - started, classify_ms: performance.now() - prepared };
  return { name, width: picture.width, height: picture.height, faces: predictions, timing };
}

/** @param {Picture} picture */
async function facesOf(picture) {
  const { folder, session } = opened();
  return await detectFaces(picture, session.detect, detectorOptions(folder));
}

/**
 * @param {Folder} folder
 * @returns {typeof DEFAULTS}
 */
function detectorOptions(folder) {
  return { ...DEFAULTS, .../** @type {any} */ (folder.description.detector) };
}

/**
 * What the model sees of a face, or of a picture that is one.
 *
 * @param {Picture} picture
 * @param {import("./yunet.js").Face | null} face
 */
function pixelsOfFace(picture, face) {
  const { folder } = opened();
  const { preprocess, model: entry } = folder.description;
  const whole = { left: 0, top: 0, width: picture.width, height: picture.height };
  const region = face ? squareAround(face.box, detectorOptions(folder).margin) : whole;
  return modelPixels(picture, region, preprocess, entry.size);
}

/**
 * For tests of the preprocessing against Python's: the grey levels that the model sees of each face and of the whole.
 *
 * @param {Picture} picture
 */
async function pixelsOfFaces(picture) {
  const faces = await facesOf(picture);
  return { whole: pixelsOfFace(picture, null), faces: faces.map((face) => ({ ...face, pixels: pixelsOfFace(picture, face) })) };
}
