/** What the page knows of the simulated world: people, messages, who types, calls, faults. Filled by the server alone. */

import { call, get, post, put } from "./api.js";
import { Events } from "./events.js";
import { keep, recall } from "./memory.js";

/**
 * @typedef {object} Person
 * @property {string} id
 * @property {string} name
 * @property {string} color
 * @property {string} from how the simulator is told who writes
 * @property {string} person the key that messages carry
 * @property {boolean} hidden
 * @property {string} number
 * @property {boolean} [own] added in this browser
 */

/**
 * @typedef {object} Media
 * @property {string} sid
 * @property {string} content_type
 * @property {number} bytes
 * @property {string} href
 */

/**
 * @typedef {object} Message
 * @property {number} number
 * @property {string} sid
 * @property {string} person
 * @property {"inbound" | "outbound-api" | "outbound-reply"} direction
 * @property {string} from
 * @property {string} body
 * @property {string} status
 * @property {number | null} error_code
 * @property {string | null} error_message
 * @property {string} created_at
 * @property {Media[]} media
 * @property {string} profile_name
 * @property {string} quoted_sid
 * @property {string} button
 * @property {string} button_text
 * @property {{ latitude: string, longitude: string, label?: string, address?: string } | null} location
 * @property {string} message_type
 * @property {string} [carried]
 * @property {string | null} [read_at]
 * @property {"sending" | "unsent"} [pending] written here, and the server did not tell of it yet
 * @property {string} [problem] why it is unsent
 * @property {object} [letter] what is posted again
 */

/** @typedef {Record<string, any>} Call */

const RETRY_MS = 400;
const RELEASED_MS = 10_000;
const CALLS_KEPT = 2_000;
/** The simulator keeps more; a page that lives for days would only become slow. */
const MESSAGES_KEPT = 5_000;
export const COLOURS = ["#25a37d", "#5b7fd6", "#b25bd0", "#d0743c", "#2d8fa8", "#c0507a"];

export class World extends EventTarget {
  constructor() {
    super();
    /** @type {Person[]} */
    this.listed = [];
    /** @type {Map<string, Message>} by id */
    this.messages = new Map();
    /** @type {Map<string, Message[]>} the same by person, oldest first */
    this.threads = new Map();
    /** @type {Map<string, any>} to whom the bot is typing, each with the timer that ends it */
    this.typing = new Map();
    /** @type {Call[]} */
    this.calls = [];
    /** @type {Record<string, any>} */
    this.faults = {};
    /** @type {any[]} */
    this.knobs = [];
    /** @type {any} */
    this.cast = null;
    /** @type {Promise<any> | null} */
    this.casting = null;
    this.live = false;
    this.loaded = false;
    /** @type {Record<string, any> | null} what the next message carries, and the label of it */
    this.next = null;
    this.events = new Events("/simulator/events", {
      load: () => this.#load(),
      event: (name, data) => this.#hear(name, data),
      state: (live) => {
        this.live = live;
        this.#tell("connection");
      },
    });
    /** @type {Set<string>} what is being posted now */
    this.posting = new Set();
    for (const message of unsent()) this.#put(doubtful(message));
  }

  start() {
    this.events.open();
  }

  /** @returns {Person[]} those of the server, those added here, and whoever else wrote */
  get people() {
    const known = [...this.listed, ...recall("people", /** @type {Person[]} */ ([]))];
    const keys = new Set(known.map((p) => p.person));
    for (const [person, [first]] of this.threads) if (!keys.has(person)) known.push(stranger(first, known.length));
    return known;
  }

  /**
   * @param {string} person
   * @returns {readonly Message[]} oldest first
   */
  thread(person) {
    return this.threads.get(person) ?? [];
  }

  /**
   * Somebody writes. Its id is ours, so that the bubble that waits and the one that the server tells of are one.
   * @param {Person} person
   * @param {Record<string, any>} content body, media, location, button, quoted_sid
   * @param {string[]} [previews] where the media can be seen meanwhile
   */
  async write(person, content, previews = []) {
    const sid = `${content.media ? "MM" : "SM"}${digits()}`;
    const extra = this.next?.inbound ?? {};
    if (this.next) this.prepare(null);
    const letter = {
      ...who(person),
      ...content,
      ...extra,
      message_sid: sid,
      wait: false,
    };
    const message = waiting(person, content, sid, this.#lastNumber() + 1, previews);
    message.letter = letter;
    this.#put(message);
    this.#tell("message", message);
    await this.send(message);
  }

  /**
   * Posts a message that waits; again when it did not go through. Asking twice is harmless: it bears its own id.
   * @param {Message} message
   */
  async send(message) {
    message.pending = "sending";
    message.problem = "";
    this.posting.add(message.sid);
    this.#keep(message);
    this.#tell("message", message);
    const letter = () => post("/simulator/inbound", message.letter);
    const passing = (/** @type {any} */ error) => {
      if (error.status !== 0) throw error;
      return new Promise((resolve) => setTimeout(resolve, RETRY_MS)).then(letter);
    };
    try {
      await letter().catch(passing);
    } catch (error) {
      if (this.messages.get(message.sid) !== message) return;
      message.pending = "unsent";
      message.problem = /** @type {Error} */ (error).message;
      this.#keep(message);
      this.#tell("message", message);
    } finally {
      this.posting.delete(message.sid);
    }
  }

  /** @param {Message} message */
  discard(message) {
    this.#drop(message.sid);
    this.#forget((sid) => sid === message.sid);
    this.#tell("removed", message);
  }

  /**
   * The very same webhook once more.
   * @param {Message} message
   */
  repeat(message) {
    return post("/simulator/inbound", { message_sid: message.sid, wait: false });
  }

  /**
   * Several messages at once.
   * @param {Person} person
   * @param {Record<string, any>} inbound
   */
  burst(person, inbound) {
    const burst = inbound.burst.map((/** @type {object} */ each) => ({ ...each, ...who(person) }));
    return post("/simulator/inbound", { ...inbound, burst, wait: false });
  }

  /** @param {Record<string, any> | null} knob what the next message is treated to */
  prepare(knob) {
    this.next = knob;
    this.#tell("next");
  }

  /** @param {Record<string, any>} faults */
  async setFaults(faults) {
    this.faults = await put("/simulator/faults", faults);
    this.#tell("faults");
  }

  async clear() {
    await call("DELETE", "/simulator/state");
  }

  /** @param {Person} person */
  addPerson(person) {
    keep("people", [...recall("people", /** @type {Person[]} */ ([])), { ...person, own: true }]);
    this.#tell("people");
  }

  /** Reads everything anew; returns what puts it in place. */
  async #load() {
    const [people, messages, calls, faults, knobs] = await Promise.all([
      get("/simulator/people"),
      get(`/simulator/messages?limit=${MESSAGES_KEPT}`),
      get("/simulator/calls"),
      get("/simulator/faults"),
      get("/simulator/knobs"),
    ]);
    return () => {
      const mine = [...this.messages.values()].filter((m) => m.pending);
      const told = new Set(messages.map((/** @type {Message} */ m) => m.sid));
      this.messages.clear();
      this.threads.clear();
      for (const message of messages) this.#put(message);
      this.#forget((sid) => told.has(sid));
      for (const message of mine) {
        if (told.has(message.sid)) {
          release(message);
          continue;
        }
        if (message.pending === "sending" && !this.posting.has(message.sid)) doubtful(message); // it went down with the simulator
        message.number = this.#lastNumber() + 1; // which began at 1 again, if the simulator did
        this.#put(message);
      }
      Object.assign(this, { listed: people, calls, faults, knobs, loaded: true });
      for (const person of this.typing.keys()) this.#endTyping(person);
      this.#tell("loaded");
      this.readCast();
    };
  }

  /** Reads the cast, unless that is under way. */
  async readCast() {
    this.casting ??= get("/simulator/inspect/cast").catch(() => null); // the lab says so itself
    const cast = await this.casting;
    this.casting = null;
    if (!cast) return;
    this.cast = cast;
    this.#tell("cast");
  }

  /**
   * @param {string} name
   * @param {any} data
   */
  #hear(name, data) {
    switch (name) {
      case "message": {
        const fresh = !this.messages.has(data.sid) || this.messages.get(data.sid)?.pending;
        this.#put(data);
        if (fresh && data.direction !== "inbound") this.#endTyping(data.person);
        if (fresh) this.#forget((sid) => sid === data.sid);
        break;
      }
      case "removed":
        this.#drop(data.sid);
        break;
      case "typing":
        this.#types(data.person, Date.parse(data.until) - this.events.ahead - Date.now());
        break;
      case "call":
        this.calls.push(data);
        if (this.calls.length > CALLS_KEPT) this.calls.shift();
        break;
      case "faults":
        this.faults = data;
        break;
      case "cleared":
        for (const sid of this.messages.keys()) this.#drop(sid);
        for (const person of this.typing.keys()) this.#endTyping(person);
        this.calls = [];
        this.#forget(() => true);
        break;
    }
    this.#tell(name, data);
  }

  /**
   * @param {string} person
   * @param {number} ms how long, unless a reply ends it
   */
  #types(person, ms) {
    this.#endTyping(person);
    if (ms <= 0) return;
    const end = () => {
      this.#endTyping(person);
      this.#tell("typing", { person });
    };
    this.typing.set(person, setTimeout(end, ms));
  }

  /** @param {string} person */
  #endTyping(person) {
    clearTimeout(this.typing.get(person));
    this.typing.delete(person);
  }

  /**
   * Keeps what was written until the server tells of it, over a reload too. Other pages keep theirs beside it.
   * @param {Message} message
   */
  #keep(message) {
    if (message.media.length) return; // a browser keeps 5 MB in all: the bubble says that it is lost
    keep("unsent", [...unsent().filter(({ sid }) => sid !== message.sid), message]);
  }

  /** @param {(sid: string) => boolean} done whether a message need not be kept any more */
  #forget(done) {
    const before = unsent();
    const left = before.filter(({ sid }) => !done(sid));
    if (left.length < before.length) keep("unsent", left.length ? left : null);
  }

  /** @param {Message} message new, or in place of what is known of it */
  #put(message) {
    const before = this.messages.get(message.sid);
    const thread = this.threads.get(message.person) ?? [];
    if (before && before.person === message.person && before.number === message.number) {
      thread[thread.lastIndexOf(before)] = message;
      if (before !== message) release(before);
    } else {
      this.#drop(message.sid);
      let place = thread.length;
      while (place && thread[place - 1].number > message.number) place -= 1;
      thread.splice(place, 0, message);
      this.threads.set(message.person, thread); // perhaps dropped with its only message
    }
    this.messages.set(message.sid, message);
    // In blocks: looking for the oldest at each new one would be slower than keeping them.
    if (this.messages.size > MESSAGES_KEPT * 1.05) this.#trim();
  }

  /** @param {string} sid */
  #drop(sid) {
    const message = this.messages.get(sid);
    if (!message) return;
    this.messages.delete(sid);
    const thread = /** @type {Message[]} */ (this.threads.get(message.person));
    thread.splice(thread.lastIndexOf(message), 1);
    if (!thread.length) this.threads.delete(message.person);
    release(message);
  }

  #trim() {
    const told = [...this.messages.values()].filter((m) => !m.pending).sort((a, b) => a.number - b.number);
    for (const { sid } of told.slice(0, this.messages.size - MESSAGES_KEPT)) this.#drop(sid);
  }

  #lastNumber() {
    let last = 0;
    for (const thread of this.threads.values()) last = Math.max(last, thread[thread.length - 1].number);
    return last;
  }

  /**
   * @param {string} name
   * @param {unknown} [detail]
   */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** @returns {Message[]} what this browser keeps, of all pages */
const unsent = () => recall("unsent", []);

/**
 * Makes of a message that was under way, nobody knows how far, one that can be sent again: it bears its own id.
 * @param {Message} message
 */
function doubtful(message) {
  message.problem ||= "It may not have been sent.";
  message.pending = "unsent";
  return message;
}

/**
 * Lets go of the files that stood in a bubble while they were sent: the browser would hold them as long as the page.
 * Not at once, for the bubble may just be reading them.
 * @param {Message} message
 */
function release(message) {
  for (const { href } of message.media) if (href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(href), RELEASED_MS);
}

/** Returns 32 hexadecimal digits. crypto.randomUUID is only there where the page came from loopback or by https. */
function digits() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Returns how a letter says who writes. Those of the server who hide their number are known by a user id in its place.
 * @param {Person} person
 */
function who(person) {
  return { from: person.from, profile_name: person.name, ...(person.own && person.hidden ? { hidden: true } : {}) };
}

/**
 * @param {Message} message
 * @param {number} place
 * @returns {Person}
 */
function stranger(message, place) {
  const address = message.person.replace(/^whatsapp:/u, "");
  const hidden = !address.startsWith("+");
  const name = message.profile_name || (hidden ? "Hidden number" : address);
  const color = COLOURS[place % COLOURS.length];
  return { id: message.person, name, color, from: address, person: message.person, hidden, number: hidden ? "" : address };
}

/**
 * @param {Person} person
 * @param {Record<string, any>} content
 * @param {string} sid
 * @param {number} number
 * @param {string[]} previews
 * @returns {Message}
 */
function waiting(person, content, sid, number, previews) {
  const at = new Date().toISOString();
  const media = (content.media ?? []).map((/** @type {any} */ m, /** @type {number} */ index) => ({
    sid: `${sid}-${index}`,
    content_type: m.content_type,
    bytes: Math.floor((m.data_base64.length * 3) / 4),
    href: previews[index] ?? "",
  }));
  return {
    number,
    sid,
    person: person.person,
    direction: "inbound",
    from: person.person,
    body: content.body || content.button?.text || "",
    status: "received",
    error_code: null,
    error_message: null,
    created_at: at,
    media,
    profile_name: person.name,
    quoted_sid: content.quoted_sid ?? "",
    button: content.button?.payload ?? "",
    button_text: content.button?.text ?? "",
    location: content.location ?? null,
    message_type: "text",
    carried: "waiting",
    read_at: null,
    pending: "sending",
  };
}
