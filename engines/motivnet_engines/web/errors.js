// The errors of the library: a code for programs and a sentence for people.

/**
 * @typedef {"no_simd" | "insecure" | "unreachable" | "wrong_version" | "damaged" | "not_verified" | "no_backend" |
 *   "bad_source" | "foreign_image" | "bad_image" | "too_large" | "not_finite" | "closed" | "failed"} ErrorCode
 */

export class MotivNetError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message a whole sentence
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = "MotivNetError";
    /** @type {ErrorCode} */
    this.code = code;
  }
}

/**
 * An error as it travels from the worker to the page, and back into an error there.
 *
 * @param {unknown} error
 * @returns {{code: ErrorCode, message: string}}
 */
export function plainError(error) {
  if (error instanceof MotivNetError) return { code: error.code, message: error.message };
  const text = error instanceof Error ? error.message : String(error);
  return { code: "failed", message: `The browser failed at this: ${text.slice(0, 300)}` };
}

/** @param {number} pixels */
export function megapixels(pixels) {
  return `${Math.round(pixels / 1e6)} megapixels`;
}
