// The model and the face detector in ONNX Runtime Web, and the proof that they compute here what they computed where
// the folder was built.

import { MotivNetError } from "./errors.js";
import { withAnySize } from "./yunet.js";

/**
 * @typedef {import("./folder.js").Folder} Folder
 * @typedef {"webgpu" | "wasm"} Backend
 * @typedef {{samples: number, maxAbsoluteError: number, atol: number, rtol: number, precision: string,
 *   backend: Backend, threads: number, runtime: string, fallback: string | null}} Verdict
 *   `fallback`: why WebGPU was not taken, if it was tried
 * @typedef {{backend: Backend, threads: number, classify: (input: Float32Array) => Promise<Float32Array>,
 *   run: (input: Float32Array, batch: number) => Promise<Record<string, Float32Array>>,
 *   detect: import("./yunet.js").Network, close: () => Promise<void>}} Session `run` gives all outputs of a batch
 */

/** More threads than this make a model of this size slower, not faster. */
const MAX_THREADS = 8;

const FILES = {
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"],
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
};

/**
 * The model on the first backend on which it gives the reference results.
 *
 * @param {Folder} folder
 * @param {Backend | "auto"} wanted
 * @param {number} [threads] of WebAssembly, at most
 * @returns {Promise<{session: Session, verified: Verdict}>}
 */
export async function verifiedSession(folder, wanted, threads = MAX_THREADS) {
  const reference = await referenceOf(folder);
  let fallback = null;
  if (wanted === "webgpu" || (wanted === "auto" && (await hasGpu(folder)))) {
    try {
      return await opened(folder, "webgpu", threads, reference, null);
    } catch (error) {
      if (wanted === "webgpu") throw error;
      fallback = error instanceof Error ? error.message : String(error);
    }
  }
  return await opened(folder, "wasm", threads, reference, fallback);
}

/**
 * The files of the runtime that a backend does not need, and which need no check then: up to 27 MB.
 *
 * @param {Folder} folder
 * @param {Backend} backend
 */
export function filesOfOther(folder, backend) {
  return new Set(FILES[backend === "wasm" ? "webgpu" : "wasm"].map((name) => folder.runtimeFile(name)));
}

/** @param {Folder} folder */
async function hasGpu(folder) {
  if (!FILES.webgpu.every((name) => folder.has(folder.runtimeFile(name)))) return false;
  const gpu = /** @type {any} */ (navigator).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

/**
 * @param {Folder} folder
 * @param {Backend} backend
 * @param {number} threads
 * @param {Reference} reference
 * @param {string | null} fallback
 */
async function opened(folder, backend, threads, reference, fallback) {
  const session = await openSession(folder, backend, threads);
  try {
    return { session, verified: { ...(await verify(folder, session, reference)), fallback } };
  } catch (error) {
    await session.close();
    throw error;
  }
}

/**
 * @param {Folder} folder
 * @param {Backend} backend
 * @param {number} threads
 * @returns {Promise<Session>}
 */
async function openSession(folder, backend, threads) {
  const ort = await openRuntime(folder, backend, threads);
  const { model, detector } = folder.description;
  /** @param {Uint8Array} bytes @param {string} provider */
  const create = (bytes, provider) =>
    ort.InferenceSession.create(bytes, { executionProviders: [provider], logSeverityLevel: 3, graphOptimizationLevel: "all" });
  /** @type {any[]} */
  const sessions = [];
  try {
    sessions.push(await create(await folder.bytes(model.file), backend));
    // The detector's input is of another size with each picture, for which WebGPU would compile again.
    sessions.push(await create(withAnySize(await folder.bytes(detector.file)), "wasm"));
  } catch (cause) {
    if (cause instanceof MotivNetError) throw cause;
    throw new MotivNetError("no_backend", `The model cannot be opened with ${backendName(backend)} in this browser: ${sentence(cause)}`, { cause });
  }
  const [classifier, faces] = sessions;
  const [height, width] = model.size;
  return {
    backend,
    threads: ort.env.wasm.numThreads,
    classify: async (input) => {
      const outputs = await run(ort, classifier, model.input, input, [1, 3, height, width], ["logits"]);
      return outputs.logits;
    },
    run: (input, batch) => run(ort, classifier, model.input, input, [batch, 3, height, width], model.outputs),
    detect: (input, shape) => run(ort, faces, faces.inputNames[0], input, shape, faces.outputNames),
    close: async () => {
      for (const session of sessions) await session.release();
    },
  };
}

/**
 * @param {Folder} folder
 * @param {Backend} backend
 * @param {number} threads
 */
async function openRuntime(folder, backend, threads) {
  const [entry, loader, binary] = FILES[backend].map((name) => folder.runtimeFile(name));
  if (!folder.has(entry)) throw new MotivNetError("no_backend", `This folder was built without the files for ${backendName(backend)}.`);
  const [, , wasmBinary] = await Promise.all([entry, loader, binary].map((name) => folder.bytes(name)));
  const ort = await import(folder.address(entry));
  Object.assign(ort.env.wasm, {
    numThreads: globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, threads) : 1,
    wasmPaths: { mjs: folder.address(loader), wasm: folder.address(binary) },
    wasmBinary: wasmBinary.buffer, // the bytes that were checked
  });
  ort.env.logLevel = "error";
  return ort;
}

/**
 * Outputs are copied out of the memory of the runtime, and that is freed.
 *
 * @param {any} ort
 * @param {any} session
 * @param {string} name
 * @param {Float32Array} input
 * @param {number[]} shape
 * @param {string[]} fetches
 */
async function run(ort, session, name, input, shape, fetches) {
  const tensor = new ort.Tensor("float32", input, shape);
  const outputs = await session.run({ [name]: tensor }, fetches);
  /** @type {Record<string, Float32Array>} */
  const values = {};
  for (const output of fetches) {
    values[output] = Float32Array.from(await outputs[output].getData());
    outputs[output].dispose();
  }
  tensor.dispose();
  return values;
}

/** @typedef {{inputs: Float32Array[], logits: Float32Array[]}} Reference */

/**
 * @param {Folder} folder
 * @returns {Promise<Reference>}
 */
async function referenceOf(folder) {
  const { file, count, input_shape: inputShape, logits_shape: logitsShape } = folder.description.samples;
  const bytes = await folder.bytes(file);
  const [width, classes] = [inputShape, logitsShape].map((shape) => shape.reduce((product, side) => product * side, 1));
  if (bytes.length !== 4 * count * (width + classes)) {
    throw new MotivNetError("damaged", `${file} does not hold the ${count} reference samples that motivnet.json names; build the folder again.`);
  }
  const values = new Float32Array(bytes.buffer);
  /** @param {number} start @param {number} size */
  const rows = (start, size) => Array.from({ length: count }, (_, index) => values.slice(start + index * size, start + (index + 1) * size));
  return { inputs: rows(0, width), logits: rows(count * width, classes) };
}

/**
 * @param {Folder} folder
 * @param {Session} session
 * @param {Reference} reference
 */
async function verify(folder, session, { inputs, logits }) {
  const { samples, model, runtime } = folder.description;
  let maxAbsoluteError = 0;
  for (const [index, input] of inputs.entries()) {
    const found = await session.classify(input);
    logits[index].forEach((expected, place) => {
      const difference = Math.abs(found[place] - expected);
      maxAbsoluteError = Math.max(maxAbsoluteError, difference);
      if (difference <= samples.atol + samples.rtol * Math.abs(expected)) return;
      throw new MotivNetError("not_verified", `The model does not give its reference results here with ${backendName(session.backend)}: sample ${index + 1} of ${samples.count} is off by ${difference.toPrecision(2)}, more than ${model.precision} may be. Nothing is classified.`);
    });
  }
  return {
    samples: samples.count,
    maxAbsoluteError,
    atol: samples.atol,
    rtol: samples.rtol,
    precision: model.precision,
    backend: session.backend,
    threads: session.threads,
    runtime: `${runtime.name} ${runtime.version}`,
  };
}

/** @param {Backend} backend */
function backendName(backend) {
  return backend === "webgpu" ? "WebGPU" : "WebAssembly";
}

/** @param {unknown} error */
function sentence(error) {
  const text = (error instanceof Error ? error.message : String(error)).trim().slice(0, 300);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
