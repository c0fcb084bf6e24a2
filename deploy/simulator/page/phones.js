/** The phones on the screen: as many side by side as fit, the others a click away. */

import { el, settle } from "./dom.js";
import { keep, recall } from "./memory.js";
import { Phone } from "./phone.js";

export const PHONE_LEAST_PX = 292;
const MOST = 4;

export class Phones {
  /**
   * @param {import("./world.js").World} world
   * @param {import("./people.js").People} people
   * @param {{ look: (message: import("./world.js").Message) => void, panel: (person: string) => void, moved: () => void }} wishes
   */
  constructor(world, people, wishes) {
    this.world = world;
    this.people = people;
    this.wishes = wishes;
    /** @type {Map<string, Phone>} */
    this.all = new Map();
    /** @type {string[]} newest use first */
    this.used = recall("used", []);
    /** @type {string[]} */
    this.shown = [];
    this.slots = 1;
    this.node = el("main", { id: "phones", class: "phones", tabindex: -1, "aria-label": "Phones" });
    new ResizeObserver(() => this.layout()).observe(this.node);
  }

  get active() {
    return this.used.find((person) => this.shown.includes(person)) ?? this.shown[0] ?? "";
  }

  /** @returns {Phone | undefined} */
  get activePhone() {
    return this.all.get(this.active);
  }

  /** Puts as many phones on the screen as fit. Whoever was used last is among them; the order stays that of the list. */
  layout() {
    const people = this.world.people;
    const width = this.node.clientWidth;
    // Hidden behind the lab there is no width: as many stay as did fit.
    if (width) this.slots = Math.max(1, Math.min(MOST, people.length, Math.floor(width / PHONE_LEAST_PX)));
    const known = people.map((p) => p.person);
    const wanted = [...this.used.filter((p) => known.includes(p)), ...known.filter((p) => !this.used.includes(p))];
    const stay = this.shown.filter((p) => known.includes(p)).slice(0, this.slots);
    const missing = wanted.filter((p) => !stay.includes(p));
    const first = wanted[0];
    const chosen = [...stay, ...missing].slice(0, this.slots);
    if (first && !chosen.includes(first)) chosen[this.#leastUsed(chosen)] = first;
    const next = known.filter((p) => chosen.includes(p));
    const same = next.join() === this.shown.join() && this.node.childElementCount === next.length;
    this.shown = next;
    if (same) return;
    const phones = next.map((person) => this.#phone(person));
    settle(this.node, phones.map((phone) => phone.node));
    for (const phone of phones) phone.sync();
    this.#mark();
    this.wishes.moved();
  }

  /**
   * Shows a person's phone and writes there.
   * @param {string} person
   * @param {boolean} [focus]
   */
  open(person, focus = true) {
    this.activate(person);
    this.layout();
    this.all.get(person)?.sync();
    if (focus) this.all.get(person)?.composer.focus();
  }

  /** @param {string} person */
  activate(person) {
    if (this.used[0] === person) return;
    this.used = [person, ...this.used.filter((p) => p !== person)];
    keep("used", this.used);
    this.#mark();
    this.wishes.moved();
  }

  /**
   * Shows what is new of one person, or of all.
   * @param {string} [person]
   */
  sync(person) {
    for (const each of this.shown) if (!person || each === person) this.all.get(each)?.sync();
  }

  showState() {
    for (const phone of this.all.values()) phone.showState();
  }

  /** @param {string} sid */
  select(sid) {
    for (const phone of this.all.values()) phone.thread.select(sid);
  }

  /** @param {string} person */
  #phone(person) {
    const known = this.all.get(person);
    if (known) return known;
    const who = /** @type {import("./world.js").Person} */ (this.world.people.find((p) => p.person === person));
    const phone = new Phone(this.world, who, {
      look: this.wishes.look,
      panel: this.wishes.panel,
      active: (p) => this.activate(p),
      seen: (p, at) => this.people.seen(p, at),
    });
    if (this.world.cast) phone.showCast(this.world.cast);
    this.all.set(person, phone);
    return phone;
  }

  /** @param {string[]} chosen */
  #leastUsed(chosen) {
    const rank = (/** @type {string} */ p) => (this.used.includes(p) ? this.used.indexOf(p) : Infinity);
    return chosen.reduce((worst, p, index) => (rank(p) > rank(chosen[worst]) ? index : worst), 0);
  }

  #mark() {
    for (const [person, phone] of this.all) phone.node.classList.toggle("active", person === this.active);
  }
}
