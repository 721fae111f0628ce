// A card for each face: its emotion, and a bar for each emotion of the model.

import { byId, make, setText } from "./dom.js";
import { pointOut } from "./viewer.js";
import { capitalised, doubt, isUnknown, likeliest, percent } from "./format.js";

/** @typedef {import("./server.js").Face} Face */
/** @typedef {{element: HTMLElement, labels: string, update: (face: Face, number: number | null) => void}} Card */

const list = byId("faces", HTMLDivElement);

/** @type {Card[]} */
let cards = [];

/**
 * Cards are kept from frame to frame, so that bars move and a reader's place is not lost.
 *
 * @param {Face[]} faces
 * @param {string[]} order of the model's labels
 */
export function showFaces(faces, order) {
  const labels = faces.length ? inOrder(Object.keys(faces[0].probabilities), order) : [];
  if (cards.length && cards[0].labels !== labels.join()) clearFaces();
  cards.splice(faces.length).forEach((card) => card.element.remove());
  while (cards.length < faces.length) cards.push(appendCard(cards.length, labels));
  faces.forEach((face, index) => cards[index].update(face, faces.length > 1 ? index + 1 : null));
}

export function clearFaces() {
  cards = [];
  list.replaceChildren();
}

/**
 * JavaScript moves keys that look like numbers to the front, so the order is the model's list.
 *
 * @param {string[]} labels
 * @param {string[]} order
 */
function inOrder(labels, order) {
  const known = order.filter((label) => labels.includes(label));
  return [...known, ...labels.filter((label) => !order.includes(label))];
}

/**
 * @param {number} index
 * @param {string[]} labels
 * @returns {Card}
 */
function appendCard(index, labels) {
  const heading = make("h3", { id: `face-${index + 1}` });
  const note = make("p", { class: "doubt" });
  const rows = labels.map(makeRow);
  const caption = make("caption", { class: "visually-hidden" }, "Probability of each emotion");
  const table = make("table", {}, caption, make("tbody", {}, ...rows.map((row) => row.element)));
  const element = make("article", { class: "card", "aria-labelledby": heading.id }, heading, note, table);
  element.addEventListener("pointerenter", () => pointOut(index));
  element.addEventListener("pointerleave", () => pointOut(-1));
  list.append(element);
  return { element, labels: labels.join(), update };

  /**
   * @param {Face} face
   * @param {number | null} number
   */
  function update(face, number) {
    const best = likeliest(face);
    const unknown = isUnknown(face);
    setText(heading, `${number ? `Face ${number}: ` : ""}${unknown ? "unknown" : best}`);
    if (!number) setText(heading, capitalised(heading.textContent ?? ""));
    element.classList.toggle("unknown", unknown);
    setText(note, doubt(face));
    rows.forEach((row) => row.update(face.probabilities[row.label], row.label === best));
  }
}

/** @param {string} label */
function makeRow(label) {
  const bar = make("span", { class: "bar" });
  const value = make("span", { class: "value" });
  const cell = make("td", {}, make("div", {}, make("span", { class: "track" }, bar), value));
  const element = make("tr", {}, make("th", { scope: "row" }, label), cell);
  return { element, label, update };

  /**
   * @param {number} probability
   * @param {boolean} best
   */
  function update(probability, best) {
    element.classList.toggle("best", best);
    bar.style.width = `${probability * 100}%`;
    setText(value, percent(probability));
  }
}
