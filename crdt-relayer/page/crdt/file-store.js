// A durable store for Node: a folder with a file of ops for each room, in the format of exported
// files. One program at a time may use it.

import { open, readFile, mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { isHex } from "./bytes.js";
import { randomId } from "./store.js";

/** @implements {import("./store.js").Store} */
export class FileStore {
  durable = true;
  #folder;
  /** room -> open file */
  #files = new Map();

  constructor(folder, id) {
    this.#folder = folder;
    /** @type {string} */
    this.id = id;
  }

  /**
   * Opens the store of a folder, or makes one.
   * @param {string} folder
   * @returns {Promise<FileStore>}
   * @throws {Error} if the folder cannot be read or written
   */
  static async open(folder) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, "store-id");
    try {
      await writeFile(path, `${randomId()}\n`, { flag: "wx", mode: 0o600, flush: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const id = (await readFile(path, "utf8")).trimEnd();
    if (!isHex(id, 64)) throw new Error(`${path} holds no store id`);
    return new FileStore(folder, id);
  }

  /** @param {string} room room id @returns {Promise<string[]>} */
  async load(room) {
    const path = join(this.#folder, `${room}.ops`);
    let bytes;
    try {
      bytes = await readFile(path);
    } catch (error) {
      if (error.code === "ENOENT") return [];
      throw error;
    }
    // A line without its end was being written when the program was killed; nobody was told of it.
    const whole = bytes.lastIndexOf(0x0a) + 1;
    if (whole < bytes.length) await truncate(path, whole);
    return bytes.subarray(0, whole).toString("utf8").split("\n").slice(0, -1);
  }

  /**
   * @param {string} room
   * @param {import("./op.js").Op[]} ops
   * @returns {Promise<void>} once they are on disk
   */
  async append(room, ops) {
    let file = this.#files.get(room);
    if (file === undefined) {
      file = await open(join(this.#folder, `${room}.ops`), "a", 0o600);
      this.#files.set(room, file);
    }
    await file.appendFile(ops.map((op) => `${op.envelope()}\n`).join(""));
    await file.sync();
  }

  /** Closes the files. @returns {Promise<void>} */
  async close() {
    for (const file of this.#files.values()) await file.close();
    this.#files.clear();
  }
}
