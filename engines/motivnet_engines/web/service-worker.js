// Keeps the folder in the browser, so that the page works without a connection after the first visit.
//
// Answers come from there and from nowhere else. version.js is one line with the SHA-256 of motivnet.json, which names
// every file with its own: when the folder is built again that line changes, the browser sees another service worker,
// and the whole folder is kept anew. It takes the place of the old one when no tab shows that any more, so that a page
// never has files of two builds.

/* global self, caches */
importScripts("version.js");

const PREFIX = `motivnet ${self.registration.scope} `;
const CACHE = PREFIX + self.VERSION;

/** Threads need a page that is isolated from other sites; static servers rarely say so themselves. */
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

self.addEventListener("install", (event) => event.waitUntil(keepFolder()));

self.addEventListener("activate", (event) => event.waitUntil(takeOver()));

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function keepFolder() {
  const response = await fetch("motivnet.json", { cache: "no-cache" });
  const content = await response.clone().arrayBuffer();
  if ((await sha256(content)) !== self.VERSION) throw new Error("version.js is not of this motivnet.json");
  const { files } = JSON.parse(new TextDecoder().decode(content));
  const cache = await caches.open(CACHE);
  // The runtime for WebGPU is as large as all else together: it is kept when it is used.
  const names = Object.keys(files).filter((name) => !/webgpu|asyncify/.test(name));
  await cache.addAll(["./", ...names].map((name) => new Request(name, { cache: "no-cache" })));
  await cache.put("motivnet.json", response);
}

async function takeOver() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return isolated(kept);
  const fresh = await fetch(request);
  if (fresh.ok && /webgpu|asyncify/.test(request.url)) await cache.put(request, fresh.clone());
  return isolated(fresh);
}

/** @param {Response} response */
function isolated(response) {
  if (response.type === "opaque" || response.redirected) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

/** @param {ArrayBuffer} content */
async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
