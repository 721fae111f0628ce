// From logits to what a person reads, with the names of motivnet.prediction.Prediction.

import { MotivNetError } from "./errors.js";

/**
 * @typedef {import("./preprocess.js").Box} Box
 * @typedef {{label: string, confidence: number, probabilities: Record<string, number>, energy: number,
 *   distance: null, known: null, box: Box | null, score: number | null, answered_by: null}} Prediction
 */

/**
 * @param {Float32Array} logits of one face
 * @param {{labels: string[], temperature: number}} model
 * @param {import("./yunet.js").Face | null} face null if the image is the face
 * @returns {Prediction}
 */
export function predictionOf(logits, { labels, temperature }, face) {
  if (!logits.every(Number.isFinite)) {
    throw new MotivNetError("not_finite", "The model gives numbers that are not finite here; choose another backend, or build the folder with --precision fp32.");
  }
  const probabilities = softmax(Array.from(logits, (logit) => logit / temperature));
  const confidence = Math.max(...probabilities);
  return {
    label: labels[probabilities.indexOf(confidence)],
    confidence,
    probabilities: Object.fromEntries(labels.map((label, index) => [label, probabilities[index]])),
    energy: energyOf(logits),
    distance: null,
    known: null,
    box: face && face.box,
    score: face && face.score,
    answered_by: null,
  };
}

/** @param {number[]} logits */
function softmax(logits) {
  const largest = Math.max(...logits);
  const exponentials = logits.map((logit) => Math.exp(logit - largest));
  const total = exponentials.reduce((sum, value) => sum + value, 0);
  return exponentials.map((value) => value / total);
}

/**
 * Lower for images like the training images (Liu et al. 2020, arXiv 2010.03759, equation 4).
 *
 * @param {Float32Array} logits
 */
function energyOf(logits) {
  const largest = Math.max(...logits);
  return -largest - Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
}
