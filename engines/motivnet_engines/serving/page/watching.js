// Frames to the server one after the other: the next leaves only when the last was answered.

import { Problem, explain } from "./problems.js";

const FAILURES_IN_A_ROW = 6;

/**
 * Reads frames until the signal is aborted.
 *
 * A busy or absent server is asked again after the pause that it named, or a growing one; any other problem, and one
 * that does not pass, is thrown.
 *
 * @param {() => Promise<void>} readFrame
 * @param {(problem: Problem) => void} onWait
 * @param {AbortSignal} signal
 */
export async function watch(readFrame, onWait, signal) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await untilVisible(signal);
      await readFrame();
      failures = 0;
    } catch (error) {
      failures += 1;
      if (signal.aborted) return;
      if (!(error instanceof Problem) || !explain(error.code).passes || failures === FAILURES_IN_A_ROW) throw error;
      onWait(error);
      await pause(error.retryAfter || Math.min(2 ** (failures - 2), 8), signal);
    }
  }
}

/**
 * A tab in the background sends nothing.
 *
 * @param {AbortSignal} signal
 */
async function untilVisible(signal) {
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true, signal });
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal} signal
 */
async function pause(seconds, signal) {
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
