// Sends the network back to the Python process that has opened the page (gpunn.playground).
import { find } from "./dom.js";
import { modelFile } from "./files/model.js";

const APART = 250; // milliseconds between two sendings

export class Sender {
  /** @param {import("./playground.js").Playground} playground */
  constructor(playground) {
    this.playground = playground;
    /** @type {Uint8Array | null} */
    this.sent = null;
    this.waiting = false;
    playground.changed = () => this.changed();
    this.changed();
  }

  /** Send the network soon, if it differs from what was sent. */
  changed() {
    if (this.waiting) return;
    this.waiting = true;
    setTimeout(() => this.send(), this.sent ? APART : 0);
  }

  async send() {
    const { training, settings } = this.playground;
    this.waiting = false;
    if (!training) return;
    const file = /** @type {Uint8Array<ArrayBuffer>} */ (modelFile(training, settings));
    const { sent } = this;
    if (sent && sent.length === file.length && sent.every((byte, i) => byte === file[i])) return;
    const { step } = training.now;
    this.sent = file;
    try {
      const { ok, status } = await fetch("sent", { method: "POST", body: file });
      if (!ok) throw new Error(`status ${status}`);
      find("about").textContent = `Opened from Python, where .model is this network as of step ${step.toLocaleString("en")}.`;
    } catch {
      this.sent = null;
      find("about").textContent = "Python no longer receives this network: its kernel has stopped. Run the cell again.";
    }
  }
}
