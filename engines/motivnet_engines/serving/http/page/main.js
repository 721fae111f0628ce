// The service's page: the server that sent it reads the pictures.

import { resume, startPage } from "./actions.js";
import { frameOf } from "./cameraLoop.js";
import { byId } from "./dom.js";
import { fetchModel, forgetToken, keepToken, predict } from "./server.js";

byId("token-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const field = byId("token", HTMLInputElement);
  keepToken(field.value);
  field.value = "";
  resume();
});

await startPage({
  fetchModel,
  predict,
  readFrame: async (video, signal) => {
    const frame = await frameOf(video);
    return { frame, answer: await predict(frame, signal) };
  },
  onError: (error) => {
    if (error.code === "wrong_token") forgetToken();
  },
});
