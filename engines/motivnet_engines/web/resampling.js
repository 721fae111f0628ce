// OpenCV's two ways to resize that the toolkit uses, written out: a canvas resizes differently in every browser.

/**
 * @typedef {import("./decoding.js").Picture} Picture
 * @typedef {{width: number, height: number}} Size
 * @typedef {{left: number, top: number, width: number, height: number}} Region whole pixels; may reach beyond the picture
 */

/** 11 bits of a weight after the point, as in OpenCV: with them also the rounding is the same. */
const ONE = 2048;

/**
 * Resize a region as INTER_LINEAR does (half-pixel centres, no antialiasing); beyond the edge of the picture its
 * outermost pixels are repeated.
 *
 * @param {Picture} picture
 * @param {Region} region
 * @param {Size} size
 * @returns {Uint8Array} RGB, row by row
 */
export function resizeLinear(picture, region, { width, height }) {
  const columns = taps(region.width, width, region.left, picture.width);
  const rows = taps(region.height, height, region.top, picture.height);
  const line = 3 * width;
  const result = new Uint8Array(line * height);
  const cache = { upper: new Int32Array(line), lower: new Int32Array(line), upperRow: -1, lowerRow: -1 };
  for (let y = 0; y < height; y += 1) {
    const [first, second] = [rows.first[y], rows.second[y]];
    if (cache.upperRow !== first) {
      if (cache.lowerRow === first) {
        [cache.upper, cache.lower, cache.lowerRow] = [cache.lower, cache.upper, -1];
      } else blendRow(picture, first, columns, cache.upper);
      cache.upperRow = first;
    }
    if (cache.lowerRow !== second) {
      blendRow(picture, second, columns, cache.lower);
      cache.lowerRow = second;
    }
    const { upper, lower } = cache;
    const weight = rows.weight[y];
    const rest = ONE - weight;
    for (let x = 0, at = y * line; x < line; x += 1, at += 1) {
      result[at] = (((rest * (upper[x] >> 4)) >> 16) + ((weight * (lower[x] >> 4)) >> 16) + 2) >> 2;
    }
  }
  return result;
}

/**
 * Between which two pixels of the picture each new pixel lies, and the weight of the second.
 *
 * @param {number} from pixels of the region
 * @param {number} to pixels of the result
 * @param {number} offset of the region in the picture
 * @param {number} limit pixels of the picture
 */
function taps(from, to, offset, limit) {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const weight = new Int32Array(to);
  for (let index = 0; index < to; index += 1) {
    const place = Math.fround((index + 0.5) * (from / to) - 0.5);
    const whole = Math.floor(place);
    const inside = whole >= 0 && whole < from - 1;
    const start = Math.min(Math.max(whole, 0), from - 1);
    first[index] = clamp(offset + start, limit);
    second[index] = clamp(offset + (inside ? start + 1 : start), limit);
    weight[index] = inside ? roundHalfEven(Math.fround(place - whole) * ONE) : 0;
  }
  return { first, second, weight };
}

/**
 * @param {Picture} picture
 * @param {number} row
 * @param {ReturnType<typeof taps>} columns
 * @param {Int32Array} result
 */
function blendRow({ data, width }, row, { first, second, weight }, result) {
  const start = row * width;
  for (let x = 0, at = 0; x < first.length; x += 1, at += 3) {
    const one = 4 * (start + first[x]);
    const two = 4 * (start + second[x]);
    const share = weight[x];
    const rest = ONE - share;
    result[at] = data[one] * rest + data[two] * share;
    result[at + 1] = data[one + 1] * rest + data[two + 1] * share;
    result[at + 2] = data[one + 2] * rest + data[two + 2] * share;
  }
}

/**
 * Shrink a picture as INTER_AREA does: each new pixel is the mean of what it covers.
 *
 * @param {Picture} picture
 * @param {Size} size not larger than the picture
 * @returns {Picture}
 */
export function resizeArea(picture, { width, height }) {
  const columns = covers(picture.width, width);
  const line = 3 * width;
  const sums = new Float32Array(line);
  const across = new Float32Array(line);
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  covers(picture.height, height).forEach((cover, y) => {
    sums.fill(0);
    cover.forEach(([row, share]) => {
      sumRow(picture, row, columns, across);
      for (let x = 0; x < line; x += 1) sums[x] += share * across[x];
    });
    for (let x = 0, at = 4 * y * width; x < line; x += 3, at += 4) {
      data[at] = roundHalfEven(sums[x]);
      data[at + 1] = roundHalfEven(sums[x + 1]);
      data[at + 2] = roundHalfEven(sums[x + 2]);
    }
  });
  return { width, height, data };
}

/**
 * The pixels that each new pixel covers, with their shares of it.
 *
 * @param {number} from
 * @param {number} to
 * @returns {[number, number][][]}
 */
function covers(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, index) => {
    const [start, end] = [index * scale, Math.min((index + 1) * scale, from)];
    /** @type {[number, number][]} */
    const cover = [];
    for (let pixel = Math.floor(start + 1e-3); pixel < end - 1e-3; pixel += 1) {
      const share = (Math.min(pixel + 1, end) - Math.max(pixel, start)) / (end - start);
      cover.push([pixel, Math.fround(share)]);
    }
    return cover;
  });
}

/**
 * @param {Picture} picture
 * @param {number} row
 * @param {[number, number][][]} columns
 * @param {Float32Array} result
 */
function sumRow({ data, width }, row, columns, result) {
  for (let x = 0, at = 0; x < columns.length; x += 1, at += 3) {
    let [red, green, blue] = [0, 0, 0];
    for (const [pixel, share] of columns[x]) {
      const place = 4 * (row * width + pixel);
      red += share * data[place];
      green += share * data[place + 1];
      blue += share * data[place + 2];
    }
    result[at] = red;
    result[at + 1] = green;
    result[at + 2] = blue;
  }
}

/**
 * @param {number} index
 * @param {number} limit
 */
function clamp(index, limit) {
  return Math.min(Math.max(index, 0), limit - 1);
}

/**
 * As Python and OpenCV round: a half goes to the even neighbour.
 *
 * @param {number} value
 */
export function roundHalfEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
