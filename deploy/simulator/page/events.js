/** The simulator's live events: one stream, taken up again by itself, with a plain word about its state. */

const NAMES = ["message", "removed", "typing", "call", "faults", "cleared"];
const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;

/**
 * @typedef {object} Listener
 * @property {() => Promise<() => void>} load reads everything anew and returns what puts it in place; what happens meanwhile is told afterwards
 * @property {(name: string, data: any) => void} event
 * @property {(live: boolean) => void} state
 */

export class Events {
  /**
   * @param {string} url
   * @param {Listener} listener
   */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
    this.last = "";
    /** How many ms the simulator's clock is ahead of this device's. */
    this.ahead = 0;
    this.loaded = false;
    this.pause = SHORTEST_PAUSE_MS;
    /** @type {[string, any][] | null} what came while everything is being read */
    this.held = null;
  }

  open() {
    const source = new EventSource(this.loaded && this.last ? `${this.url}?after=${this.last}` : this.url);
    this.source = source;
    source.addEventListener("hello", (event) => this.#hello(source, JSON.parse(event.data)));
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        this.last = event.lastEventId || this.last;
        const data = JSON.parse(event.data);
        if (this.held) this.held.push([name, data]);
        else this.listener.event(name, data);
      });
    }
    source.addEventListener("error", () => this.#again(source));
  }

  /**
   * @param {EventSource} source
   * @param {{ resumed: boolean, last_id?: number, now?: string }} hello
   */
  async #hello(source, hello) {
    this.ahead = hello.now ? Date.parse(hello.now) - Date.now() : 0;
    if (!hello.resumed || !this.loaded) {
      // Until all is read, what comes is not gone on from: were the reading to fail, the events held would be lost.
      this.loaded = false;
      this.held = [];
      const place = await this.listener.load().catch(() => null);
      if (source !== this.source) return; // another stream began meanwhile and reads for itself: this would be older
      const held = this.held ?? [];
      this.held = null;
      if (!place) {
        this.#again(source);
        return;
      }
      place();
      this.loaded = true;
      for (const [name, data] of held) this.listener.event(name, data);
    }
    this.pause = SHORTEST_PAUSE_MS;
    this.listener.state(true);
  }

  /** @param {EventSource} source */
  #again(source) {
    if (source !== this.source) return;
    this.source = undefined;
    source.close(); // its own way of trying again gives up on an error status
    this.listener.state(false);
    setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }
}
