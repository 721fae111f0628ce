// From a face in a picture to the model's input, by one of the two published ways (motivnet/preprocess.py).

import { resizeLinear, roundHalfEven } from "./resampling.js";

/**
 * @typedef {import("./decoding.js").Picture} Picture
 * @typedef {import("./folder.js").Recipe} Recipe
 * @typedef {{x: number, y: number, width: number, height: number}} Box
 */

const WHITE = 255;

/**
 * The square around the centre of a box; the face is not rotated or aligned.
 *
 * @param {Box} box
 * @param {number} margin on each side, as a share of the longer side of the box
 */
export function squareAround(box, margin) {
  const side = Math.max(1, roundHalfEven(Math.max(box.width, box.height) * (1 + 2 * margin)));
  const left = Math.floor(box.x + box.width / 2 - side / 2 + 0.5);
  const top = Math.floor(box.y + box.height / 2 - side / 2 + 0.5);
  return { left, top, width: side, height: side };
}

/**
 * A region at the model's size, still in grey levels.
 *
 * @param {Picture} picture
 * @param {import("./resampling.js").Region} region
 * @param {Recipe} recipe
 * @param {[number, number]} size (height, width) of the model's input
 * @returns {Uint8Array} RGB, row by row
 */
export function modelPixels(picture, region, recipe, [height, width]) {
  if (recipe.name === "stretch") return resizeLinear(picture, region, { width, height });
  const side = Math.min(height, width);
  const content = resizeLinear(picture, region, { width: side, height: side });
  const pixels = new Uint8Array(3 * width * height).fill(WHITE);
  const [top, left] = [Math.floor((height - side) / 2), Math.floor((width - side) / 2)];
  for (let row = 0; row < side; row += 1) {
    pixels.set(content.subarray(3 * row * side, 3 * (row + 1) * side), 3 * ((top + row) * width + left));
  }
  return pixels;
}

/**
 * @param {Uint8Array} pixels RGB, row by row
 * @param {Recipe} recipe
 * @returns {Float32Array} channels first, with the mean subtracted and divided by the deviation
 */
export function normalised(pixels, { mean, std }) {
  const area = pixels.length / 3;
  const values = new Float32Array(pixels.length);
  for (let channel = 0; channel < 3; channel += 1) {
    const table = new Float32Array(256);
    const [centre, spread] = [Math.fround(mean[channel]), Math.fround(std[channel])];
    for (let level = 0; level < 256; level += 1) table[level] = Math.fround(level - centre) / spread;
    for (let pixel = 0; pixel < area; pixel += 1) values[channel * area + pixel] = table[pixels[3 * pixel + channel]];
  }
  return values;
}
