/** Records a voice note with the browser's own recorder. */

import { asVoiceNote } from "./ogg.js";

const LONGEST_MS = 120_000;
const KINDS = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];

export class Recorder {
  /** Whether this browser can record at all; it still may say no when asked. */
  static get possible() {
    return "MediaRecorder" in window && Boolean(navigator.mediaDevices?.getUserMedia);
  }

  /**
   * Raises: what the browser raises when it has no microphone or may not use it.
   *
   * @param {() => void} ended called when it stops by itself: it is as long as one may be, or the microphone went
   */
  async start(ended) {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const kind = KINDS.find((each) => MediaRecorder.isTypeSupported(each));
    this.recorder = new MediaRecorder(this.stream, kind ? { mimeType: kind } : {});
    /** @type {Blob[]} */
    this.parts = [];
    this.recorder.addEventListener("dataavailable", (event) => this.parts?.push(event.data));
    this.asked = false;
    this.stopped = new Promise((resolve) => this.recorder?.addEventListener("stop", resolve, { once: true }));
    this.stopped.then(() => {
      this.#end();
      if (!this.asked) ended();
    });
    this.started = performance.now();
    this.recorder.start(250);
    this.limit = setTimeout(() => this.#end(), LONGEST_MS);
  }

  /** How much is recorded. */
  get seconds() {
    return ((this.until ?? performance.now()) - (this.started ?? performance.now())) / 1000;
  }

  /**
   * Raises: when what was recorded is no sound.
   *
   * @returns {Promise<Blob>}
   */
  async stop() {
    this.asked = true;
    this.#end();
    await this.stopped;
    return asVoiceNote(new Blob(this.parts, { type: this.recorder?.mimeType }));
  }

  cancel() {
    this.asked = true;
    this.#end();
  }

  /** The microphone is given back once the recorder has all it heard. */
  #end() {
    clearTimeout(this.limit);
    if (this.recorder?.state === "recording") this.recorder.stop();
    else this.#release();
  }

  #release() {
    this.until ??= performance.now();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
  }
}
