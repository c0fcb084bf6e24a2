/** The list of chats: one row a person, with the last message, its time and how many are unread. */

import { kindOf } from "./attachment.js";
import { isOwn } from "./bubble.js";
import { day, time } from "./clock.js";
import { el, fill, rove, settle } from "./dom.js";
import { plain } from "./formatting.js";
import { icon } from "./icons.js";
import { keep, recall } from "./memory.js";
import { ask, field, note } from "./menu.js";
import { face } from "./phone.js";
import { drawn, tickOf } from "./ticks.js";
import { COLOURS } from "./world.js";

const NUMBER = /^\+\d{6,15}$/u;

export class People {
  /**
   * @param {import("./world.js").World} world
   * @param {(person: string) => void} choose
   */
  constructor(world, choose) {
    this.world = world;
    this.choose = choose;
    /** @type {Record<string, string>} when the newest message that was seen was written: numbers begin at 1 again with the simulator */
    this.read = recall("seen", {});
    /** @type {Map<string, Record<"from" | "node" | "button" | "when" | "bottom" | "badge", any>>} by person */
    this.rows = new Map();
    this.list = el("div", { class: "people-list", role: "list" });
    rove(this.list, ".person");
    rove(this.list, ".person", { horizontal: true }); // the strip of a telephone
    this.node = el(
      "aside",
      { class: "people", "aria-label": "People" },
      el(
        "div",
        { class: "people-head" },
        el("h1", {}, "Chats"),
        el("span", { class: "simulated", title: "Nothing here reaches WhatsApp, Twilio or a real phone." }, "simulated"),
        el("button", { type: "button", class: "round", "aria-label": "Add a person", title: "Add a person", on: { click: () => this.#add() } }, icon("addPerson", 22)),
      ),
      this.list,
      el("p", { class: "people-foot" }, icon("simulated", 14), "Everybody here is simulated. What they write goes to the bot as WhatsApp would send it."),
    );
  }

  /**
   * @param {string} person
   * @param {string} at up to when all was seen
   */
  seen(person, at) {
    if ((this.read[person] ?? "") >= at) return;
    this.read[person] = at;
    keep("seen", this.read);
    this.#badge(person);
  }

  /** @param {string} person */
  unread(person) {
    const seen = this.read[person] ?? "";
    return this.world.thread(person).filter((m) => !isOwn(m) && m.created_at > seen).length;
  }

  /**
   * @param {string[]} shown whose phones are on the screen
   * @param {string} active
   */
  sync(shown, active) {
    const people = this.world.people;
    settle(this.list, people.map((person) => this.#shown(person, shown.includes(person.person), person.person === active)));
    if (this.list.contains(document.activeElement)) return;
    const stop = people.some((p) => p.person === active) ? active : people[0]?.person;
    for (const [person, { button }] of this.rows) button.tabIndex = person === stop ? 0 : -1;
  }

  /** @param {string} person */
  #badge(person) {
    const badge = this.rows.get(person)?.badge;
    const count = this.unread(person);
    if (!badge) return;
    badge.hidden = !count;
    fill(badge, String(count), el("span", { class: "out-of-sight" }, " unread"));
  }

  /**
   * Returns a person's row, kept and only changed: a button made anew loses the focus, and the click begun on it.
   * @param {import("./world.js").Person} person
   * @param {boolean} shown
   * @param {boolean} active
   */
  #shown(person, shown, active) {
    const from = JSON.stringify(person);
    const known = this.rows.get(person.person);
    const row = known?.from === from ? known : { from, ...this.#row(person) };
    this.rows.set(person.person, row);
    const last = this.world.thread(person.person).at(-1);
    const types = this.world.typing.has(person.person);
    const said = last ? [kindOf(last), plain(last.body)].filter(Boolean).join(" ") : person.hidden ? "Number hidden" : person.number;
    row.button.classList.toggle("shown", shown);
    row.button.classList.toggle("active", active);
    if (active) row.button.setAttribute("aria-current", "true");
    else row.button.removeAttribute("aria-current");
    row.when.hidden = !last;
    if (last) {
      row.when.dateTime = last.created_at;
      row.when.textContent = day(last.created_at) === "Today" ? time(last.created_at) : day(last.created_at);
    }
    fill(row.bottom, types ? el("span", { class: "typing-word" }, "typing…") : [last && isOwn(last) ? drawn(tickOf(last)) : null, el("span", { class: "said", dir: "auto" }, said)]);
    this.#badge(person.person);
    return row.node;
  }

  /** @param {import("./world.js").Person} person */
  #row(person) {
    const when = el("time");
    const bottom = el("span", { class: "person-bottom" });
    const badge = el("span", { class: "badge", hidden: true });
    const button = el(
      "button",
      { type: "button", class: "person", tabindex: -1, data: { person: person.person }, on: { click: () => this.choose(person.person) } },
      el("span", { class: "person-face" }, face(person, 46), person.hidden ? el("span", { class: "veil", title: "Number hidden" }, icon("hidden", 12)) : null),
      el("span", { class: "person-words" }, el("span", { class: "person-top" }, el("b", { dir: "auto" }, person.name), when), bottom),
      badge,
    );
    return { node: el("div", { role: "listitem" }, button), button, when, bottom, badge };
  }

  async #add() {
    const next = `+1555010${String(Math.floor(Math.random() * 9000) + 1000)}`;
    const given = await ask(
      "Add a person",
      [
        field("Name", { name: "name", required: true, maxlength: 40, placeholder: "Mina" }),
        field("Number", { name: "from", required: true, value: next, pattern: "\\+[0-9]{6,15}", title: "+ and 6 to 15 digits" }),
        el("label", { class: "tick-box" }, el("input", { type: "checkbox", name: "hidden" }), el("span", {}, "hides the number: the bot only gets a user id")),
      ],
      "Add",
    );
    if (!given) return;
    if (!NUMBER.test(given.from) || this.world.people.some((p) => p.person === `whatsapp:${given.from}`)) {
      note(NUMBER.test(given.from) ? "Somebody has this number already." : "That is no number: + and 6 to 15 digits.", true);
      return;
    }
    const person = `whatsapp:${given.from}`;
    const color = COLOURS[this.world.people.length % COLOURS.length];
    this.world.addPerson({ id: person, name: given.name, color, from: given.from, person, hidden: Boolean(given.hidden), number: given.from });
    this.choose(person);
  }
}
