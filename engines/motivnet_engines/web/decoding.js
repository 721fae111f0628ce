// From what a page gives, a file or a bitmap, to pixels. Runs in the worker.

import { MotivNetError, megapixels } from "./errors.js";

/** @typedef {{width: number, height: number, data: Uint8ClampedArray}} Picture `data` is RGBA; alpha counts no more */

/** A picture of this many pixels takes 256 MB when it is decoded, and a browser's tab has few gigabytes. */
export const MAX_PIXELS = 64e6;

/** @type {OffscreenCanvas | null} kept from picture to picture, so that nothing is left to collect */
let canvas = null;

/**
 * The bitmap of a file, which the browser decodes in the background, upright and without its colour profile.
 *
 * @param {Blob | ImageBitmap} source
 */
export async function bitmapOf(source) {
  if (source instanceof ImageBitmap) return source;
  if (source.size === 0) throw new MotivNetError("bad_image", "This picture is an empty file.");
  const declared = declaredSize(new DataView(await source.slice(0, 1 << 20).arrayBuffer()));
  if (declared) checkSize(declared);
  try {
    return await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "premultiply" });
  } catch (cause) {
    throw new MotivNetError("bad_image", "The browser cannot read this as a picture: it is damaged, or of a kind that the browser does not know.", { cause });
  }
}

/**
 * The pixels of a bitmap on white; the bitmap is closed.
 *
 * @param {ImageBitmap} bitmap
 * @returns {Picture}
 */
export function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  try {
    checkSize(bitmap);
    canvas ??= new OffscreenCanvas(width, height);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new MotivNetError("failed", "The browser has no memory for this picture.");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height);
  } finally {
    bitmap.close();
    if (canvas && width * height > 4e6) canvas = null;
  }
}

/** @param {{width: number, height: number}} size */
export function checkSize({ width, height }) {
  if (width * height > MAX_PIXELS) {
    throw new MotivNetError("too_large", `This picture has ${megapixels(width * height)}; up to ${megapixels(MAX_PIXELS)} can be read in a browser. Make it smaller and try again.`);
  }
}

/**
 * The size that a file claims, before it is decoded: a small file may hold a very large picture.
 *
 * @param {DataView} head the first bytes
 * @returns {{width: number, height: number} | null} null if the kind of file is not known here
 */
export function declaredSize(head) {
  if (head.byteLength < 30) return null;
  if (head.getUint32(0) === 0x89504e47) return { width: head.getUint32(16), height: head.getUint32(20) }; // PNG
  if (head.getUint16(0) === 0xffd8) return jpegSize(head);
  if (head.getUint16(0) === 0x424d) return { width: Math.abs(head.getInt32(18, true)), height: Math.abs(head.getInt32(22, true)) }; // BMP
  if (head.getUint32(0) === 0x47494638) return { width: head.getUint16(6, true), height: head.getUint16(8, true) }; // GIF
  if (head.getUint32(0) === 0x52494646 && head.getUint32(8) === 0x57454250) return webpSize(head);
  return null;
}

/**
 * Segment by segment to the frame header (SOF0 to SOF15 without the tables DHT, JPG and DAC).
 *
 * @param {DataView} head
 */
function jpegSize(head) {
  let place = 2;
  while (place + 9 < head.byteLength && head.getUint8(place) === 0xff) {
    const marker = head.getUint8(place + 1);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { width: head.getUint16(place + 7), height: head.getUint16(place + 5) };
    }
    place += marker === 0xff ? 1 : 2 + head.getUint16(place + 2);
  }
  return null;
}

/** @param {DataView} head */
function webpSize(head) {
  const kind = head.getUint32(12);
  if (kind === 0x56503858) return { width: 1 + (head.getUint32(24, true) & 0xffffff), height: 1 + (head.getUint32(26, true) >>> 8) }; // VP8X
  if (kind === 0x5650384c) {
    const bits = head.getUint32(21, true); // VP8L
    return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
  }
  return { width: head.getUint16(26, true) & 0x3fff, height: head.getUint16(28, true) & 0x3fff }; // VP8
}
