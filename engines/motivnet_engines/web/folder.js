// The folder of a model: its description in motivnet.json, and files whose SHA-256 was checked.

import { MotivNetError } from "./errors.js";

const FORMAT = 1;

/**
 * @typedef {{name: "stretch" | "square-white-pad", mean: number[], std: number[]}} Recipe
 * @typedef {{format: 1, name: string, created: string, labels: string[], temperature: number,
 *   model: {file: string, precision: string, input: string, outputs: string[], size: [number, number]},
 *   preprocess: Recipe, detector: {file: string} & Record<string, number | string>,
 *   runtime: {name: string, version: string, folder: string},
 *   files: Record<string, {sha256: string, bytes: number}>,
 *   samples: {file: string, count: number, input_shape: number[], logits_shape: number[], atol: number, rtol: number}}
 *   } Description
 */

/** The files of a folder; each is fetched when it is first asked for, and checked before it is given out. */
export class Folder {
  /** @type {Set<string>} names of files whose content was as it should be */
  #checked = new Set();

  /**
   * @param {string} url ends with a slash
   * @param {Description} description
   */
  constructor(url, description) {
    this.url = url;
    this.description = description;
  }

  /**
   * @param {string} url
   * @returns {Promise<Folder>}
   */
  static async open(url) {
    if (!globalThis.crypto?.subtle) {
      throw new MotivNetError("insecure", "Browsers let a page check and run a model only over https or on this computer (localhost).");
    }
    const base = url.endsWith("/") ? url : `${url}/`;
    const bytes = await fetched(new URL("motivnet.json", base).href);
    return new Folder(base, described(bytes));
  }

  /** @param {string} name */
  has(name) {
    return Object.hasOwn(this.description.files, name);
  }

  /**
   * The address of a file of the runtime.
   *
   * @param {string} name
   */
  runtimeFile(name) {
    return `${this.description.runtime.folder}/${name}`;
  }

  /** @param {string} name */
  address(name) {
    return new URL(name, this.url).href;
  }

  /**
   * The content of a file, which is what motivnet.json says.
   *
   * @param {string} name
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async bytes(name) {
    const expected = this.description.files[name];
    if (!this.has(name)) throw new MotivNetError("damaged", `The motivnet.json of this folder does not name ${name}; build the folder again.`);
    let content = await fetched(this.address(name));
    // The browser may have kept the file of an older folder at the same address.
    if ((await sha256(content)) !== expected.sha256) content = await fetched(this.address(name), { cache: "reload" });
    if ((await sha256(content)) === expected.sha256) {
      this.#checked.add(name);
      return content;
    }
    const size = content.length === expected.bytes ? "" : ` (${content.length} bytes instead of ${expected.bytes})`;
    throw new MotivNetError("damaged", `The file ${name} is not the one that this folder was built with${size}: it is damaged or was exchanged.`);
  }

  /**
   * Check every file that was not yet, but some.
   *
   * @param {Set<string>} exceptions
   */
  async check(exceptions) {
    const names = Object.keys(this.description.files);
    await Promise.all(names.filter((name) => !exceptions.has(name) && !this.#checked.has(name)).map((name) => this.bytes(name)));
  }
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
async function fetched(address, options) {
  const file = decodeURIComponent(new URL(address).pathname.split("/").pop() ?? address);
  let response;
  try {
    response = await fetch(address, options);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new MotivNetError("unreachable", `The file ${file} cannot be loaded: there is no connection to the folder.`, { cause });
  }
  throw new MotivNetError("unreachable", `The file ${file} cannot be loaded: the server answers with status ${response.status}.`);
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {Uint8Array} bytes
 * @returns {Description}
 */
function described(bytes) {
  let description;
  try {
    description = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new MotivNetError("damaged", "The motivnet.json of this folder is not JSON: it is damaged, or the address is of something else.", { cause });
  }
  if (description?.format !== FORMAT) {
    const found = JSON.stringify(description?.format) ?? "none";
    throw new MotivNetError("wrong_version", `This folder is of another version (format ${found.slice(0, 20)}; this page reads ${FORMAT}); build it again with motivnet-export build --target web.`);
  }
  if (!isComplete(description)) throw new MotivNetError("damaged", "The motivnet.json of this folder lacks something that it needs; build the folder again.");
  return description;
}

/** @param {any} description */
function isComplete({ labels, temperature, model, preprocess, detector, runtime, files, samples }) {
  return (
    Array.isArray(labels) && labels.length > 1 && temperature > 0 &&
    Array.isArray(model?.size) && model.size.every(isSide) && model.outputs?.includes("logits") &&
    ["stretch", "square-white-pad"].includes(preprocess?.name) &&
    preprocess.mean?.length === 3 && preprocess.std?.length === 3 &&
    typeof detector?.file === "string" && typeof runtime?.folder === "string" &&
    typeof files === "object" && samples?.count > 0 && samples.logits_shape?.at(-1) === labels.length
  );
}

/** @param {unknown} value */
function isSide(value) {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 8192;
}
