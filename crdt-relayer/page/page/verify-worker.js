// Verifies a file beside the page, which stays responsive.

import { verifyFile } from "./verification.js";

/** A message to the page costs more than an op. */
const TOLD_MS = 100;

self.onmessage = async ({ data: file }) => {
  let told = 0;
  const onProgress = (ops) => {
    const now = Date.now();
    if (now - told < TOLD_MS) return;
    told = now;
    self.postMessage({ type: "progress", ops });
  };
  try {
    self.postMessage({ type: "done", result: await verifyFile(file, onProgress) });
  } catch (error) {
    self.postMessage({ type: "failed", message: String(error?.message ?? error) });
  }
};
