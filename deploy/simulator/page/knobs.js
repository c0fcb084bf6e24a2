/** Knobs: everything that can go wrong as switches, and the chips that show what is on. */

import { el, fill } from "./dom.js";
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
   * @param {{ close: () => void, burst: (knob: any) => void, writer: () => string }} wishes
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
    this.chips.hidden = !on.length && !others.length;
    fill(
      this.chips,
      el("span", { class: "faults-word" }, icon("warn", 16), "Going wrong on purpose:"),
      on.map((knob) => chip(`${GROUPS[knob.group]?.[0] ?? knob.group}: ${knob.label}`, () => this.#turn(knob, false))),
      others.map(([path, value]) => chip(`${path} ${JSON.stringify(value)}`, () => this.#put(on, others.filter(([p]) => p !== path)))),
      on.length + others.length > 1 ? el("button", { type: "button", class: "link", on: { click: () => this.#put([], []) } }, "All off") : null,
    );
  }

  /** @param {any[]} on */
  #draw(on) {
    const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.knob;
    const top = this.body.scrollTop;
    const groups = [...new Set([...Object.keys(GROUPS), ...this.world.knobs.map((k) => k.group)])];
    fill(
      this.body,
      el("p", { class: "lead" }, "Break something and watch what the person sees. Each switch is also an HTTP call: ", el("code", {}, "PUT /simulator/faults"), "."),
      groups.map((group) => this.#group(group, on)),
      el("section", {}, el("h3", {}, "Start over"), el("button", { type: "button", class: "plain danger", on: { click: () => this.#clear() } }, icon("trash", 18), "Forget all messages and calls")),
    );
    this.body.scrollTop = top;
    if (focused) this.body.querySelector(`[data-knob="${CSS.escape(focused)}"]`)?.focus();
  }

  /**
   * @param {string} group
   * @param {any[]} on
   */
  #group(group, on) {
    const knobs = this.world.knobs.filter((k) => k.group === group);
    if (!knobs.length) return null;
    const [title, about] = GROUPS[group] ?? [group, ""];
    return el("section", {}, el("h3", {}, title, about ? el("small", {}, ` ${about}`) : null), el("div", { class: "switches" }, knobs.map((knob) => (knob.inbound ? this.#once(knob) : this.#switch(knob, on.includes(knob))))));
  }

  /**
   * @param {any} knob
   * @param {boolean} on
   */
  #switch(knob, on) {
    return el(
      "button",
      { type: "button", role: "switch", class: "switch", "aria-checked": String(on), data: { knob: knob.id }, on: { click: () => this.#turn(knob, !on) } },
      el("span", { class: "switch-words" }, el("b", {}, knob.label, knob.once ? el("em", {}, "once") : null), el("small", {}, knob.help)),
      el("span", { class: "slot", "aria-hidden": "true" }),
    );
  }

  /** @param {any} knob */
  #once(knob) {
    if (knob.inbound.burst) {
      return el("button", { type: "button", class: "switch act", data: { knob: knob.id }, on: { click: () => this.wishes.burst(knob) } }, el("span", { class: "switch-words" }, el("b", {}, knob.label), el("small", {}, knob.help)), el("span", { class: "act-word" }, icon("burst", 16), `Send as ${this.wishes.writer()}`));
    }
    const on = this.world.next?.id === knob.id;
    return el(
      "button",
      { type: "button", role: "switch", class: "switch", "aria-checked": String(on), data: { knob: knob.id }, on: { click: () => this.world.prepare(on ? null : knob) } },
      el("span", { class: "switch-words" }, el("b", {}, knob.label, el("em", {}, "next message")), el("small", {}, knob.help)),
      el("span", { class: "slot", "aria-hidden": "true" }),
    );
  }

  /**
   * @param {any} knob
   * @param {boolean} on
   */
  #turn(knob, on) {
    const now = this.on.filter((k) => k !== knob);
    const others = foreign(this.world.faults, this.on);
    const kept = now.filter((k) => !on || !knob.conflicts?.includes(k.id));
    return this.#put(on ? [...kept, knob] : kept, others);
  }

  /**
   * @param {any[]} knobs
   * @param {[string, any][]} others
   */
  async #put(knobs, others) {
    try {
      await this.world.setFaults(documentOf(knobs, others));
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
