/** The simulator's live events: one stream, taken up again by itself, with a plain word about its state. */

const NAMES = ["message", "removed", "typing", "call", "faults", "cleared"];
const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;

/**
 * @typedef {object} Listener
 * @property {() => Promise<void>} load reads everything anew; what happens meanwhile is told afterwards
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
    this.loaded = false;
    this.pause = SHORTEST_PAUSE_MS;
    /** @type {[string, any][] | null} what came while everything is being read */
    this.held = null;
  }

  open() {
    const source = new EventSource(this.loaded && this.last ? `${this.url}?after=${this.last}` : this.url);
    this.source = source;
    source.addEventListener("hello", (event) => this.#hello(JSON.parse(event.data)));
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

  close() {
    this.source?.close();
  }

  /** @param {{ resumed: boolean, last_id?: number }} hello */
  async #hello(hello) {
    if (!hello.resumed || !this.loaded) {
      this.held = [];
      try {
        await this.listener.load();
      } catch {
        this.held = null;
        if (this.source) this.#again(this.source);
        return;
      }
      this.loaded = true;
      const held = /** @type {[string, any][]} */ (this.held ?? []);
      this.held = null;
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
