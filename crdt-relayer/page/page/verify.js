// Verifies a file in a worker, or where none can be started in the page itself.

import { verifyFile } from "./verification.js";

/** The one program that the page may start: its address is fixed here. */
const WORKER = new URL("./verify-worker.js", import.meta.url).href;
const policy = globalThis.trustedTypes?.createPolicy("crdt-worker", {
  createScriptURL: (url) => {
    if (url !== WORKER) throw new TypeError("no other program is started");
    return url;
  },
});

function startWorker() {
  return new Worker(policy ? policy.createScriptURL(WORKER) : WORKER, { type: "module" });
}

/**
 * @param {Blob} file
 * @param {(ops: number) => void} onProgress
 * @returns {{ result: Promise<{ report: import("./verification.js").Report, rooms: object[],
 *   verifiedBy: string, more: number, where: "worker" | "page" }>, stop: () => void }}
 */
export function verify(file, onProgress) {
  let worker;
  const result = new Promise((resolve, reject) => {
    const here = () => verifyFile(file, onProgress).then((found) => resolve({ ...found, where: "page" }), reject);
    try {
      worker = startWorker();
    } catch {
      here();
      return;
    }
    let spoke = false;
    worker.onmessage = ({ data }) => {
      spoke = true;
      if (data.type === "progress") return onProgress(data.ops);
      worker.terminate();
      if (data.type === "done") resolve({ ...data.result, where: "worker" });
      else reject(new Error(data.message));
    };
    worker.onerror = (event) => {
      worker.terminate();
      if (spoke) reject(new Error(event.message || "the worker failed"));
      else here();
    };
    worker.postMessage(file);
  });
  return { result, stop: () => worker?.terminate() };
}
