// A Chromium without a window, spoken to over pipes in the DevTools protocol.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/** Generous: the machine may be busy. */
const WAIT_MS = 60_000;

/** The program, or `undefined`. `CRDT_CHROMIUM` names another. @returns {string | undefined} */
export function chromium() {
  if (process.env.CRDT_CHROMIUM) return process.env.CRDT_CHROMIUM;
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.flatMap((at) => NAMES.map((name) => join(at, name))).find((path) => existsSync(path));
}

/** Starts it. It ends with the test. @returns {Promise<Browser>} */
export async function browser(t) {
  const profile = mkdtempSync(join(tmpdir(), "crdt-chromium-"));
  const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn(chromium(), args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], detached: true });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => {
    // Its helpers too: they are of its group.
    process.kill(-child.pid, "SIGKILL");
    await exited;
    // The last of them may still be on its way out of the folder.
    rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  });
  return new Browser(child.stdio[3], child.stdio[4], exited);
}

class Browser {
  #send;
  #next = 1;
  #waiting = new Map();
  #listeners = new Set();

  constructor(to, from, exited) {
    this.#send = (message) => to.write(`${JSON.stringify(message)}\0`);
    to.on("error", () => {});
    let rest = "";
    from.setEncoding("utf8");
    from.on("data", (chunk) => {
      const parts = (rest + chunk).split("\0");
      rest = parts.pop();
      for (const part of parts) this.#receive(JSON.parse(part));
    });
    exited.then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Error("Chromium ended"));
    });
  }

  #receive(message) {
    if (message.id === undefined) {
      for (const listener of this.#listeners) listener(message);
      return;
    }
    const { resolve, reject } = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }

  call(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ id, method, params, sessionId });
    });
  }

  listen(listener) {
    this.#listeners.add(listener);
  }

  /** Opens an address in a new tab. @returns {Promise<Tab>} */
  async open(url, { width = 1280, height = 900, dark = false } = {}) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, sessionId);
    await tab.call("Page.enable");
    await tab.call("Runtime.enable");
    await tab.call("Log.enable");
    await tab.look({ width, height, dark });
    await tab.call("Page.navigate", { url });
    return tab;
  }
}

/** A tab. `problems` holds what its console said was wrong: errors, and what the policy forbade. */
class Tab {
  problems = [];
  #browser;
  #session;

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
    browser.listen(({ sessionId, method, params }) => {
      if (sessionId !== session) return;
      if (method === "Runtime.exceptionThrown") this.problems.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      if (method === "Log.entryAdded" && params.entry.level === "error") this.problems.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    });
  }

  call(method, params = {}) {
    return this.#browser.call(method, params, this.#session);
  }

  /** How large the window is, and which colours are preferred. Nothing moves: what is looked at is there. */
  async look({ width, height, dark }) {
    await this.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }, { name: "prefers-reduced-motion", value: "reduce" }];
    await this.call("Emulation.setEmulatedMedia", { features });
  }

  /** The value of an expression. */
  async value(expression) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is true: it is looked at again with every change of the document. */
  async until(expression) {
    const waiting = `new Promise((resolve, reject) => {
      const test = () => { try { return ${expression}; } catch { return false; } };
      if (test()) return resolve(true);
      const watch = new MutationObserver(() => { if (test()) { watch.disconnect(); resolve(true); } });
      watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      setTimeout(() => reject(new Error("never true: " + ${JSON.stringify(expression)} + "\\n" + document.body.innerText.slice(0, 3000))), ${WAIT_MS});
    })`;
    // A page that is still loading forgets what waits in it.
    await this.started();
    return this.value(waiting);
  }

  async started() {
    for (;;) {
      const started = await this.value("document.readyState === 'complete' && 'started' in document.documentElement.dataset").catch(() => false);
      if (started) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Types into what a selector names, as a user does. */
  async type(selector, text) {
    await this.value(`document.querySelector(${JSON.stringify(selector)}).focus()`);
    await this.call("Input.insertText", { text });
  }

  async press(key, code = key, windowsVirtualKeyCode = { Enter: 13, Tab: 9 }[key]) {
    const text = key === "Enter" ? "\r" : undefined;
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", key, code, windowsVirtualKeyCode, text });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", key, code, windowsVirtualKeyCode });
  }

  click(selector) {
    return this.value(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  /** Goes to another part of the page. */
  go(hash) {
    return this.value(`location.hash = ${JSON.stringify(hash)}`);
  }

  /** A picture of the window as PNG. @returns {Promise<Buffer>} */
  async picture({ whole = false } = {}) {
    const { data } = await this.call("Page.captureScreenshot", { format: "png", captureBeyondViewport: whole });
    return Buffer.from(data, "base64");
  }
}
