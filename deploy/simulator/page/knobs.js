/** Knobs: everything that can go wrong as switches, and the chips that show what is on. */

import { el, fill, keepFocus, settle } from "./dom.js";
import { documentOf, foreign, isOn } from "./faultdoc.js";
import { icon } from "./icons.js";
import { ask, note } from "./menu.js";

/** @type {Record<string, [string, string]>} */
const GROUPS = {
  person: ["The next message", "how the person's message reaches the bot"],
  webhook: ["Webhooks", "messages on their way to the bot"],
  callbacks: ["Status reports", "what Twilio tells the bot afterwards"],
  twilio: ["Twilio", "the calls that the bot makes"],
  llm: ["The model", "chat completions"],
  moderation: ["Moderation", "what comes in and goes out"],
};

export class Knobs {
  /**
   * @param {import("./world.js").World} world
   * @param {{ close: () => void, burst: (knob: any) => void, writer: () => string, quiet: () => void }} wishes `quiet`: the last chip went that had the focus
   */
  constructor(world, wishes) {
    this.world = world;
    this.wishes = wishes;
    this.body = el("div", { class: "panel-body" });
    this.node = el(
      "aside",
      { class: "panel knobs", id: "panel", tabindex: -1, "aria-label": "Knobs" },
      el("div", { class: "panel-head" }, el("h2", {}, "Knobs"), el("button", { type: "button", class: "round", "aria-label": "Close", on: { click: wishes.close } }, icon("close"))),
      this.body,
    );
    /** @type {Map<string, HTMLElement>} what stands among the chips, or did */
    this.made = new Map();
    /** @type {any[] | null} the catalogue that the switches show */
    this.shown = null;
    this.chips = el("div", { class: "faults", role: "region", "aria-label": "Faults that are on", hidden: true });
  }

  get on() {
    return this.world.knobs.filter((k) => k.faults && isOn(k, this.world.faults));
  }

  sync() {
    const on = this.on;
    this.#drawChips(on);
    if (this.node.isConnected) this.#draw(on);
  }

  /** @param {any[]} on */
  #drawChips(on) {
    const others = foreign(this.world.faults, on);
    const word = this.#chip("", () => el("span", { class: "faults-word" }, icon("warn", 16), "Going wrong on purpose:"));
    const all = this.#chip("all", () => el("button", { type: "button", class: "link", on: { click: () => this.#put([], [], {}) } }, "All off"));
    const each = [
      ...on.map((knob) => this.#chip(`knob ${knob.id}`, () => chip(`${GROUPS[knob.group]?.[0] ?? knob.group}: ${knob.label}`, () => this.#turn(knob.id, false)))),
      ...others.map(([path, value]) => this.#chip(`${path} ${JSON.stringify(value)}`, () => chip(`${path} ${JSON.stringify(value)}`, () => this.#drop(path)))),
    ];
    keepFocus(
      this.chips,
      () => {
        settle(this.chips, each.length ? [word, ...each, ...(each.length > 1 ? [all] : [])] : []);
        this.chips.hidden = !each.length;
      },
      this.wishes.quiet,
    );
  }

  /**
   * What was made once is kept: made anew it loses the focus, and the click begun on it.
   * @param {string} key
   * @param {() => HTMLElement} make
   */
  #chip(key, make) {
    const node = this.made.get(key) ?? make();
    this.made.set(key, node);
    return node;
  }

  /** @param {string} path of what a call set */
  #drop(path) {
    const on = this.on;
    return this.#put(on, foreign(this.world.faults, on).filter(([p]) => p !== path));
  }

  /** @param {any[]} on */
  #draw(on) {
    if (this.shown !== this.world.knobs) this.#build();
    for (const knob of this.world.knobs) {
      const node = /** @type {HTMLElement} */ (this.body.querySelector(`[data-knob="${CSS.escape(knob.id)}"]`));
      if (knob.inbound?.burst) /** @type {HTMLElement} */ (node.querySelector(".act-word span")).textContent = `Send as ${this.wishes.writer()}`;
      else node.setAttribute("aria-checked", String(knob.inbound ? this.world.next?.id === knob.id : on.includes(knob)));
    }
  }

  /** All switches, none of them on yet. */
  #build() {
    this.shown = this.world.knobs;
    const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.knob;
    const top = this.body.scrollTop;
    const groups = [...new Set([...Object.keys(GROUPS), ...this.world.knobs.map((k) => k.group)])];
    fill(
      this.body,
      el("p", { class: "lead" }, "Break something and watch what the person sees. Each switch is also an HTTP call: ", el("code", {}, "PUT /simulator/faults"), "."),
      groups.map((group) => this.#group(group)),
      el("section", {}, el("h3", {}, "Start over"), el("button", { type: "button", class: "plain danger", on: { click: () => this.#clear() } }, icon("trash", 18), "Forget all messages and calls")),
    );
    this.body.scrollTop = top;
    if (focused) this.body.querySelector(`[data-knob="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** @param {string} group */
  #group(group) {
    const knobs = this.world.knobs.filter((k) => k.group === group);
    if (!knobs.length) return null;
    const [title, about] = GROUPS[group] ?? [group, ""];
    return el("section", {}, el("h3", {}, title, about ? el("small", {}, ` ${about}`) : null), el("div", { class: "switches" }, knobs.map((knob) => (knob.inbound ? this.#once(knob) : this.#switch(knob)))));
  }

  /** @param {any} knob */
  #switch(knob) {
    return el(
      "button",
      { type: "button", role: "switch", class: "switch", data: { knob: knob.id }, on: { click: () => this.#turn(knob.id, !this.on.includes(knob)) } },
      el("span", { class: "switch-words" }, el("b", {}, knob.label, knob.once ? el("em", {}, "once") : null), el("small", {}, knob.help)),
      el("span", { class: "slot", "aria-hidden": "true" }),
    );
  }

  /** @param {any} knob */
  #once(knob) {
    if (knob.inbound.burst) {
      return el("button", { type: "button", class: "switch act", data: { knob: knob.id }, on: { click: () => this.wishes.burst(knob) } }, el("span", { class: "switch-words" }, el("b", {}, knob.label), el("small", {}, knob.help)), el("span", { class: "act-word" }, icon("burst", 16), el("span")));
    }
    return el(
      "button",
      { type: "button", role: "switch", class: "switch", data: { knob: knob.id }, on: { click: () => this.world.prepare(this.world.next?.id === knob.id ? null : knob) } },
      el("span", { class: "switch-words" }, el("b", {}, knob.label, el("em", {}, "next message")), el("small", {}, knob.help)),
      el("span", { class: "slot", "aria-hidden": "true" }),
    );
  }

  /**
   * @param {string} id
   * @param {boolean} on
   */
  #turn(id, on) {
    const knob = this.world.knobs.find((k) => k.id === id);
    const now = this.on.filter((k) => k !== knob);
    const others = foreign(this.world.faults, this.on);
    const kept = now.filter((k) => !on || !knob.conflicts?.includes(k.id));
    return this.#put(on ? [...kept, knob] : kept, others);
  }

  /**
   * @param {any[]} knobs
   * @param {[string, any][]} others
   * @param {Record<string, any>} [now]
   */
  async #put(knobs, others, now = this.world.faults) {
    try {
      await this.world.setFaults(documentOf(knobs, others, now));
    } catch (error) {
      note(/** @type {Error} */ (error).message, true);
    }
  }

  async #clear() {
    const sure = await ask("Forget all messages and calls?", [el("p", {}, "The simulator's phones become empty. What the bot remembers stays with the bot.")], "Forget");
    if (!sure) return;
    try {
      await this.world.clear();
    } catch (error) {
      note(/** @type {Error} */ (error).message, true);
    }
  }
}

/**
 * @param {string} label
 * @param {() => void} off
 */
function chip(label, off) {
  return el("button", { type: "button", class: "fault", title: "Turn it off", on: { click: off } }, label, icon("close", 14), el("span", { class: "out-of-sight" }, " (turn off)"));
}
