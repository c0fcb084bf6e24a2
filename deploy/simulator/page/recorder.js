/** Records a voice note with the browser's own recorder. */

import { asVoiceNote } from "./ogg.js";

const LONGEST_MS = 120_000;
const KINDS = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];

export class Recorder {
  /** Whether this browser can record at all; it still may say no when asked. */
  static get possible() {
    return "MediaRecorder" in window && Boolean(navigator.mediaDevices?.getUserMedia);
  }

  /** Raises: what the browser raises when it has no microphone or may not use it. */
  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const kind = KINDS.find((each) => MediaRecorder.isTypeSupported(each));
    this.recorder = new MediaRecorder(this.stream, kind ? { mimeType: kind } : {});
    /** @type {Blob[]} */
    this.parts = [];
    this.recorder.addEventListener("dataavailable", (event) => this.parts?.push(event.data));
    this.started = performance.now();
    this.recorder.start(250);
    this.limit = setTimeout(() => this.recorder?.state === "recording" && this.recorder.stop(), LONGEST_MS);
  }

  get seconds() {
    return (performance.now() - (this.started ?? performance.now())) / 1000;
  }

  /**
   * Raises: when what was recorded is no sound.
   *
   * @returns {Promise<Blob>}
   */
  async stop() {
    const recorder = /** @type {MediaRecorder} */ (this.recorder);
    if (recorder.state !== "inactive") {
      const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
      recorder.stop();
      await stopped;
    }
    this.#release();
    return asVoiceNote(new Blob(this.parts, { type: recorder.mimeType }));
  }

  cancel() {
    if (this.recorder && this.recorder.state !== "inactive") this.recorder.stop();
    this.#release();
  }

  #release() {
    clearTimeout(this.limit);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
  }
}
