// Announcements for screen readers, not more often than one can listen.

import { byId } from "./dom.js";

const PAUSE = 3000;

const region = byId("announcement", HTMLParagraphElement);

let spokenAt = -PAUSE;
let subject = "";

/** @param {string} text */
export function announce(text) {
  subject = "";
  region.textContent = text;
}

/**
 * Announce a passing state: only when its subject changed, and after a pause.
 *
 * @param {string} text
 * @param {string} about what makes it worth saying again
 */
export function announceChange(text, about) {
  const now = performance.now();
  if (about === subject || now - spokenAt < PAUSE) return;
  subject = about;
  spokenAt = now;
  region.textContent = text;
}
