/** One person's phone: whose it is, with whom they chat, the thread and the field to write in. */

import { isOwn } from "./bubble.js";
import { Composer } from "./composer.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { note, openMenu } from "./menu.js";
import { Thread } from "./thread.js";

/**
 * @typedef {object} Wishes
 * @property {(message: import("./world.js").Message) => void} look
 * @property {(person: string) => void} panel
 * @property {(person: string, at: string) => void} seen
 * @property {(person: string) => void} active
 */

export class Phone {
  /**
   * @param {import("./world.js").World} world
   * @param {import("./world.js").Person} person
   * @param {Wishes} wishes
   */
  constructor(world, person, wishes) {
    this.world = world;
    this.person = person;
    this.wishes = wishes;
    this.thread = new Thread(world, person, {
      reply: (message) => this.composer.reply(message),
      look: wishes.look,
      say: (text) => this.composer.say(text),
      seen: () => this.#seen(),
    });
    this.composer = new Composer(world, person, () => this.thread.toBottom());
    this.state = el("span", { class: "state" });
    this.face = el("span", { class: "avatar family", "aria-hidden": "true" }, icon("chats", 20));
    this.title = el("b", {}, "Sisters");
    const menu = el("button", { type: "button", class: "round", "aria-label": `More on ${person.name}'s phone`, "aria-haspopup": "menu" }, icon("dots"));
    menu.addEventListener("click", () => this.#menu(menu));
    const behind = el("button", { type: "button", class: "round", "aria-label": "Behind the chat", title: "Behind the chat", on: { click: () => wishes.panel(person.person) } }, icon("behind"));
    this.node = el(
      "section",
      { class: "phone", "aria-label": `${person.name}'s phone`, data: { person: person.person } },
      el("div", { class: "owner" }, face(person, 26), el("b", { dir: "auto" }, person.name), number(person), el("span", { class: "simulated" }, "simulated")),
      el("header", {}, this.face, el("div", { class: "who" }, this.title, this.state), behind, menu),
      this.thread.node,
      this.composer.node,
    );
    this.node.addEventListener("focusin", () => wishes.active(person.person));
    this.node.addEventListener("pointerdown", () => wishes.active(person.person));
  }

  /** Shows what the world holds now. */
  sync() {
    this.thread.sync();
    this.showState();
  }

  showState() {
    const typing = this.world.typing.has(this.person.person);
    this.state.textContent = typing ? "typing…" : this.world.live ? "online" : this.world.loaded ? "reconnecting…" : "connecting…";
    this.state.classList.toggle("typing-word", typing);
  }

  /** @param {any} cast */
  showCast(cast) {
    const emoji = cast.characters.map((/** @type {any} */ c) => c.emoji).slice(0, 3);
    fill(this.face, emoji.map((/** @type {string} */ each) => el("i", {}, each)));
    this.face.classList.add(`of-${emoji.length}`);
    this.title.textContent = cast.family ? cast.family[0].toUpperCase() + cast.family.slice(1) : this.title.textContent;
  }

  #seen() {
    if (document.hidden || !this.node.isConnected) return;
    const last = this.world.thread(this.person.person).findLast((message) => !isOwn(message));
    if (last) this.wishes.seen(this.person.person, last.created_at);
  }

  /** @param {HTMLElement} anchor */
  #menu(anchor) {
    const bursts = this.world.knobs.filter((k) => k.inbound?.burst);
    openMenu(anchor, [
      ...bursts.map((knob) => ({ label: knob.label, icon: "burst", act: () => this.burst(knob) })),
      { label: "To the newest message", icon: "down", act: () => this.thread.toBottom(true) },
    ]);
  }

  /** @param {any} knob */
  async burst(knob) {
    this.thread.toBottom();
    try {
      await this.world.burst(this.person, knob.inbound);
    } catch (error) {
      note(/** @type {Error} */ (error).message, true);
    }
  }
}

/**
 * @param {import("./world.js").Person} person
 * @param {number} size in px
 */
export function face(person, size) {
  const node = el("span", { class: "avatar", "aria-hidden": "true" }, [...person.name][0]?.toUpperCase() ?? "?");
  node.style.setProperty("--own", person.color);
  node.style.setProperty("--size", `${size}px`);
  return node;
}

/** @param {import("./world.js").Person} person */
export function number(person) {
  return person.hidden ? el("small", { class: "number" }, icon("hidden", 13), el("span", {}, "number hidden")) : el("small", { class: "number" }, person.number || person.from);
}
