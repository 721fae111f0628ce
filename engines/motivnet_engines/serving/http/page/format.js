// Results as text, for the page and for screen readers.

const COUNTS = ["No face", "One face", "Two faces", "Three faces", "Four faces", "Five faces", "Six faces"];

/** @param {number} count */
export function faceCount(count) {
  return COUNTS[count] ?? `${count} faces`;
}

/**
 * A probability as a percentage that never rounds to certainty.
 *
 * @param {number} probability
 */
export function percent(probability) {
  if (probability > 0 && probability < 0.0005) return "<0.1%";
  if (probability < 1 && probability >= 0.9995) return ">99.9%";
  return `${(probability * 100).toFixed(1)}%`;
}

/** @param {number} probability */
function spokenPercent(probability) {
  if (probability < 1 && probability >= 0.995) return "over 99 percent";
  return `${Math.round(probability * 100)} percent`;
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  if (milliseconds >= 9950) return `${Math.round(milliseconds / 1000)} s`;
  if (milliseconds >= 995) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${milliseconds.toFixed(milliseconds < 9.95 ? 1 : 0)} ms`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  const value = bytes / 1e6;
  return `${value < 10 ? Number(value.toPrecision(2)) : Math.floor(value)} MB`;
}

/** @param {string} text */
export function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * The likeliest emotion, whatever the label says.
 *
 * @param {import("./server.js").Face} face
 */
export function likeliest(face) {
  const entries = Object.entries(face.probabilities);
  return entries.reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}

/** @param {import("./server.js").Face} face */
export function isUnknown(face) {
  return face.label === "unknown";
}

/**
 * The remark on a face that is far from what the model was calibrated on; else nothing.
 *
 * @param {import("./server.js").Face} face
 */
export function doubt(face) {
  if (isUnknown(face)) return `Unlike what the model has learnt from; closest to ${likeliest(face)}.`;
  return face.known === false ? "Unlike what the model has learnt from; do not rely on it." : "";
}

/**
 * The result in one sentence: "One face: happiness, 93 percent."
 *
 * @param {import("./server.js").Face[]} faces
 */
export function sentence(faces) {
  if (faces.length === 0) return "No face found.";
  return `${faceCount(faces.length)}: ${faces.map(spoken).join("; ")}.`;
}

/**
 * The remark on faces beyond the server's limit; else nothing.
 *
 * @param {number} count
 */
export function leftOut(count) {
  if (count === 0) return "";
  return count === 1 ? "One smaller face was left out." : `${count} smaller faces were left out.`;
}

/** @param {import("./server.js").Face} face */
function spoken(face) {
  const closest = `${likeliest(face)}, ${spokenPercent(face.confidence)}`;
  return isUnknown(face) ? `unknown, closest to ${closest}` : closest;
}
