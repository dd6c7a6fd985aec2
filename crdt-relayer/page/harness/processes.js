// Real relayers and nodes for tests. Their programs are those of CRDT_RELAYER and CRDT_NODE, or else
// of the debug build.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

function program(name, variable) {
  const built = fileURLToPath(new URL(`../../../target/debug/${name}`, import.meta.url));
  const path = process.env[variable] ?? built;
  assert.ok(existsSync(path), `${path} is missing: build it with \`cargo build -p ${name}\`, or set ${variable} to it`);
  return path;
}

/** A folder that is gone after the test. */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "crdt-page-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Starts a relayer. @returns {Promise<{ url: string, port: string, kill: () => Promise<void> }>} */
export async function relayer(t, { data = folder(t), port = "0" } = {}) {
  const args = ["--listen", `127.0.0.1:${port}`, "--data", data, "--json"];
  const child = spawn(program("crdt-relayer", "CRDT_RELAYER"), args, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  t.after(kill);
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, url } = JSON.parse(line);
    if (event === "ready") {
      child.stdout.resume();
      return { url, port: new URL(url).port, kill };
    }
  }
  throw new Error(`the relayer ended before it listened: ${said}`);
}

/** A node of its own home. */
export async function node(t, name) {
  const home = join(folder(t), name);
  const path = program("crdt-node", "CRDT_NODE");
  const call = async (command, ...rest) => {
    const { stdout } = await run(path, [command, name, "--home", home, ...rest], { maxBuffer: 2 ** 26, timeout: 120_000 });
    return stdout;
  };
  const { author } = JSON.parse(await call("init", "--json"));
  return {
    author,
    home,
    call,
    /** Checks a file. @returns {Promise<string>} */
    verify: async (file) => (await run(path, ["verify", file])).stdout,
    /** One room of `status --json`. */
    status: async (room = "main") => JSON.parse(await call("status", "--json")).rooms.find((one) => one.room === room),
    /** Entries of `log --json`. */
    log: async () => (await call("log", "--json")).trim().split("\n").map((line) => JSON.parse(line)),
  };
}

/** What `crdt-node verify FILE --json` says of a file. @returns {Promise<{ ok: boolean, problems: string[] }>} */
export async function verdictOfNode(file) {
  const path = program("crdt-node", "CRDT_NODE");
  // It exits with 5 for a bad file and says the same.
  const { stdout } = await run(path, ["verify", file, "--json"]).catch((error) => error);
  return JSON.parse(stdout);
}
