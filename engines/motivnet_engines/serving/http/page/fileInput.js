// A picture by file, by drop or by paste.

import { byId } from "./dom.js";

/** @param {(files: File[]) => void} take */
export function onPictures(take) {
  const input = byId("file", HTMLInputElement);
  byId("choose", HTMLButtonElement).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    give(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => give(event.clipboardData?.files));
  acceptDrops(give);

  /** @param {FileList | null | undefined} files */
  function give(files) {
    if (files?.length) take([...files]);
  }
}

/** @param {(files: FileList | undefined) => void} give */
function acceptDrops(give) {
  const { classList } = document.documentElement;
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // the browser would leave the page and open the file
    classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    classList.remove("dragging");
    give(event.dataTransfer?.files);
  });
}
