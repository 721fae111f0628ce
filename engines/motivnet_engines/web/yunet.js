// YuNet (MIT, OpenCV's model zoo) without OpenCV: faces of 10 to 300 pixels, looked for at two scales
// (motivnet_engines/faces/yunet.py).

import { resizeArea, roundHalfEven } from "./resampling.js";

/**
 * @typedef {import("./decoding.js").Picture} Picture
 * @typedef {import("./preprocess.js").Box} Box
 * @typedef {{box: Box, score: number}} Face
 * @typedef {(input: Float32Array, shape: number[]) => Promise<Record<string, Float32Array>>} Network
 */

const STRIDES = [8, 16, 32];

export const DEFAULTS = {
  threshold: 0.7,
  overlap: 0.3,
  coarse_side: 640,
  fine_side: 1600,
  fine_faces: 48,
  part_share: 0.5,
  candidates: 5000,
  margin: 0.2,
};

/**
 * The faces of a picture, the largest first.
 *
 * @param {Picture} picture
 * @param {Network} network
 * @param {typeof DEFAULTS} options
 * @returns {Promise<Face[]>}
 */
export async function detectFaces(picture, network, options) {
  const longer = Math.max(picture.width, picture.height);
  const faces = await detectAt(picture, network, options.coarse_side, options);
  if (longer > options.coarse_side) {
    // The fine scale shows only parts of larger faces, and parts look like faces.
    const largest = (options.fine_faces * longer) / options.coarse_side;
    const coarse = faces.map((face) => face.box);
    for (const face of await detectAt(picture, network, options.fine_side, options)) {
      if (face.box.height < largest && !coarse.some((box) => isPart(face.box, box, options.part_share))) faces.push(face);
    }
  }
  return faces.sort((one, other) => area(other.box) - area(one.box));
}

/**
 * @param {Picture} picture
 * @param {Network} network
 * @param {number} side of the longer side, at most
 * @param {typeof DEFAULTS} options
 */
async function detectAt(picture, network, side, options) {
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  const size = {
    width: Math.max(1, roundHalfEven(picture.width * scale)),
    height: Math.max(1, roundHalfEven(picture.height * scale)),
  };
  const scaled = scale === 1 ? picture : resizeArea(picture, size);
  const padded = { width: 32 * Math.ceil(size.width / 32), height: 32 * Math.ceil(size.height / 32) };
  const outputs = await network(networkInput(scaled, padded), [1, 3, padded.height, padded.width]);
  const [across, down] = [picture.width / size.width, picture.height / size.height];
  return withoutOverlaps(candidates(outputs, padded, options.threshold), options).flatMap(({ box, score }) => {
    const [left, top] = [Math.max(box.x * across, 0), Math.max(box.y * down, 0)];
    const right = Math.min((box.x + box.width) * across, picture.width);
    const bottom = Math.min((box.y + box.height) * down, picture.height);
    if (!(right > left && bottom > top)) return [];
    return [{ box: { x: left, y: top, width: right - left, height: bottom - top }, score: Math.min(score, 1) }];
  });
}

/**
 * Blue, green, red in grey levels, black below and to the right.
 *
 * @param {Picture} picture
 * @param {{width: number, height: number}} padded
 */
function networkInput({ data, width, height }, padded) {
  const plane = padded.width * padded.height;
  const values = new Float32Array(3 * plane);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0, from = 4 * y * width, to = y * padded.width; x < width; x += 1, from += 4, to += 1) {
      values[to] = data[from + 2];
      values[plane + to] = data[from + 1];
      values[2 * plane + to] = data[from];
    }
  }
  return values;
}

/**
 * @param {Record<string, Float32Array>} outputs
 * @param {{width: number, height: number}} padded
 * @param {number} threshold
 * @returns {Face[]}
 */
function candidates(outputs, padded, threshold) {
  return STRIDES.flatMap((stride) => {
    const columns = padded.width / stride;
    const [classes, objects, boxes] = [outputs[`cls_${stride}`], outputs[`obj_${stride}`], outputs[`bbox_${stride}`]];
    const faces = [];
    for (let index = 0; index < classes.length; index += 1) {
      const score = Math.fround(Math.sqrt(clamped(classes[index]) * clamped(objects[index])));
      if (score < threshold) continue;
      const [dx, dy, logWidth, logHeight] = boxes.subarray(4 * index, 4 * index + 4);
      const [width, height] = [Math.exp(logWidth) * stride, Math.exp(logHeight) * stride];
      const x = ((index % columns) + dx) * stride - width / 2;
      const y = (Math.floor(index / columns) + dy) * stride - height / 2;
      faces.push({ box: { x, y, width, height }, score });
    }
    return faces;
  });
}

/**
 * Of boxes that overlap, the one with the best score. OpenCV compares whole pixels here.
 *
 * @param {Face[]} faces
 * @param {typeof DEFAULTS} options
 */
function withoutOverlaps(faces, options) {
  /** @type {{face: Face, whole: Box}[]} */
  const kept = [];
  for (const face of [...faces].sort((one, other) => other.score - one.score).slice(0, options.candidates)) {
    const { x, y, width, height } = face.box;
    const whole = { x: Math.trunc(x), y: Math.trunc(y), width: Math.trunc(width), height: Math.trunc(height) };
    if (kept.every((other) => overlap(whole, other.whole) <= options.overlap)) kept.push({ face, whole });
  }
  return kept.map(({ face }) => face);
}

/**
 * Intersection over union.
 *
 * @param {Box} one
 * @param {Box} other
 */
function overlap(one, other) {
  const common = shared(one, other);
  return common / (area(one) + area(other) - common) || 0;
}

/**
 * @param {Box} box
 * @param {Box} other
 * @param {number} share
 */
function isPart(box, other, share) {
  return shared(box, other) >= share * area(box);
}

/**
 * @param {Box} one
 * @param {Box} other
 */
function shared(one, other) {
  const width = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const height = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  return Math.max(width, 0) * Math.max(height, 0);
}

/** @param {Box} box */
function area({ width, height }) {
  return width * height;
}

/** @param {number} value */
function clamped(value) {
  return Math.min(Math.max(value, 0), 1);
}

/**
 * YuNet's file says that its input has 640 x 640 pixels, though every one of its layers takes any size. In a protobuf
 * the size 640 (a number) and the size "h" (a name) take the same three bytes, so that the file can be opened up in
 * place; the same for the 6400, 1600 and 400 places of its outputs.
 *
 * @param {Uint8Array<ArrayBuffer>} model
 */
export function withAnySize(model) {
  const opened = model.slice();
  const names = new TextEncoder().encode("hwabc");
  const sizes = [[0x80, 0x05, 0, 1], [0x80, 0x32, 2, 2], [0xc0, 0x0c, 3, 3], [0x90, 0x03, 4, 4]];
  for (const [low, high, first, last] of sizes) {
    let name = first;
    for (let at = 0; at + 4 < opened.length; at += 1) {
      const isSize = opened[at] === 0x0a && opened[at + 1] === 3 && opened[at + 2] === 8 && opened[at + 3] === low && opened[at + 4] === high;
      if (!isSize) continue;
      opened.set([0x12, 1, names[name]], at + 2);
      name = Math.min(name + 1, last);
    }
  }
  return opened;
}
