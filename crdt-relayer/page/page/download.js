// Hands a text to the user as a file. Nothing leaves this machine.

const TAKEN_MS = 60_000;

/** @param {string} name @param {BlobPart | BlobPart[]} content */
export function download(name, content) {
  const file = new Blob([content].flat(), { type: "application/octet-stream" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), TAKEN_MS);
}
