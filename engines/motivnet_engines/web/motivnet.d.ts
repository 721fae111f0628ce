/** Emotions of faces, computed in the browser: no picture leaves the device. */

/** What can be read: a file or its bytes, or anything with pixels. An ImageBitmap stays yours. */
export type Source =
  | Blob
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | ImageBitmap
  | ImageData
  | VideoFrame;

export type Backend = "webgpu" | "wasm";

/** A rectangle in pixels of the upright picture: top left corner and size. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The emotion of one face, with the names of Python's `Prediction.to_dict()`. */
export interface Prediction {
  /** The most likely emotion. */
  label: string;
  /** Its probability. */
  confidence: number;
  /** All probabilities by label, in the model's order. */
  probabilities: Record<string, number>;
  /** `-log(sum(exp(logits)))`, lower for images like the training images. */
  energy: number;
  /** Always null: a calibration's distances are not computed in the browser. */
  distance: null;
  known: null;
  /** Where the face is; null if the picture was given as the face itself. */
  box: Box | null;
  /** The face detector's score, from 0 to 1. */
  score: number | null;
  answered_by: null;
}

/** The faces of a picture, the largest first, with the names of Python's `ImageResult.to_dict()`. */
export interface ImageResult {
  name: string;
  width: number;
  height: number;
  faces: Prediction[];
  /** Milliseconds: of face detection, cropping and resizing, and of the model. */
  timing: { prepare_ms: number; classify_ms: number };
}

/** That the model computes here what it computed where the folder was built. */
export interface Verdict {
  /** Reference samples that were computed. */
  samples: number;
  /** The largest difference of a logit from its reference. */
  maxAbsoluteError: number;
  /** A logit may differ by `atol + rtol * |reference|`. */
  atol: number;
  rtol: number;
  precision: string;
  backend: Backend;
  /** Threads of WebAssembly: one unless the page is cross-origin isolated. */
  threads: number;
  /** Name and version of the runtime. */
  runtime: string;
  /** Why WebGPU was tried and not taken; null if it was not tried. */
  fallback: string | null;
}

export type ErrorCode =
  | "no_simd"
  | "insecure"
  | "unreachable"
  | "wrong_version"
  | "damaged"
  | "not_verified"
  | "no_backend"
  | "bad_source"
  | "foreign_image"
  | "bad_image"
  | "too_large"
  | "not_finite"
  | "closed"
  | "failed";

/** Every error of this library; its message is a whole sentence for people. */
export class MotivNetError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown });
}

/** A verified model, open in a worker of its own. */
export class EmotionClassifier {
  private constructor();

  /**
   * Open the model in a folder, and check it: every file by its SHA-256, and the model by its reference samples.
   *
   * @param url of a folder that `motivnet-export build --target web` wrote
   * @param options.backend "auto" (the default) takes WebGPU where there is a GPU and the model is verified on it, else
   *   WebAssembly
   * @param options.threads of WebAssembly, at most; 8 and the processor's own number are the limits without it
   * @throws MotivNetError
   */
  static open(url: string | URL, options?: { backend?: "auto" | Backend; threads?: number }): Promise<EmotionClassifier>;

  readonly name: string;
  readonly created: string;
  /** The emotions, in the model's order. */
  readonly labels: readonly string[];
  readonly verified: Verdict;

  /** The emotion of a picture that is one face. */
  classify(source: Source): Promise<Prediction>;

  /**
   * The faces in a picture, the largest first. A call need not wait for the one before: two pictures are in work at a
   * time, and results come in order.
   *
   * @param options.name of the picture in the result; a file's own name by default
   */
  read(source: Source, options?: { name?: string }): Promise<ImageResult>;

  /** End the worker and free its memory; what was not answered is rejected. A second call does nothing. */
  close(): void;
}

/** Whether this browser runs WebAssembly SIMD, without which there is no model. */
export function hasSimd(): boolean;
