/** The lab's pen: a character's words, edited here, tried at once, copied into her file by hand. */

import { titleOf } from "./bars.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { keep, recall } from "./memory.js";
import { copied } from "./thread.js";
import { asToml } from "./toml.js";

/** @typedef {{ keywords: string[], triggers: string[] }} Words */

export class Casting {
  /**
   * @param {import("./world.js").World} world
   * @param {() => void} changed
   */
  constructor(world, changed) {
    this.world = world;
    this.changed = changed;
    /** @type {Record<string, Record<string, Words>>} by character and language */
    this.edited = recall("words", {});
    this.character = "";
    this.language = "en";
    this.who = el("select", { "aria-label": "Character" });
    this.tongue = el("select", { "aria-label": "Language" });
    this.triggers = el("textarea", { rows: 4, id: "lab-triggers", spellcheck: "false" });
    this.keywords = el("textarea", { rows: 5, id: "lab-keywords", spellcheck: "false" });
    this.state = el("p", { class: "quiet edited", role: "status" });
    this.copy = el("button", { type: "button", class: "primary", on: { click: () => copied(asToml(this.edited[this.character] ?? {})) } }, icon("copy", 16), "Copy as TOML");
    this.undo = el("button", { type: "button", class: "plain", on: { click: () => this.#undo() } }, "As in the file");
    this.node = el(
      "section",
      { class: "card pen" },
      el("h2", {}, "Her words"),
      el("div", { class: "pair" }, el("label", { class: "field" }, el("span", {}, "Character"), this.who), el("label", { class: "field" }, el("span", {}, "Language"), this.tongue)),
      el("label", { class: "field", for: "lab-triggers" }, el("span", {}, "Triggers, separated by commas: 5 points each")),
      this.triggers,
      el("label", { class: "field", for: "lab-keywords" }, el("span", {}, "Keywords: 1 point each")),
      this.keywords,
      this.state,
      el("div", { class: "row-of" }, this.copy, this.undo),
    );
    this.who.addEventListener("change", () => this.#choose(this.who.value, this.tongue.value));
    this.tongue.addEventListener("change", () => this.#choose(this.who.value, this.tongue.value));
    for (const field of [this.triggers, this.keywords]) {
      field.addEventListener("input", () => this.#take());
      field.addEventListener("change", () => this.changed());
    }
  }

  /** What a request carries: only what differs from the files. */
  get topics() {
    return this.edited;
  }

  show() {
    const cast = this.world.cast;
    if (!cast) {
      fill(this.state, "The cast comes from `sisters inspect`, which does not answer.");
      return;
    }
    if (this.who.childElementCount) return;
    fill(this.who, cast.characters.map((/** @type {any} */ c) => el("option", { value: c.id }, titleOf(cast, c.id))));
    fill(this.tongue, cast.languages.map((/** @type {string} */ l) => el("option", { value: l }, l)));
    this.#choose(cast.characters[0].id, cast.languages.includes("en") ? "en" : cast.languages[0]);
  }

  /** @returns {Words} */
  get inFile() {
    const found = this.world.cast?.characters.find((/** @type {any} */ c) => c.id === this.character)?.topics?.[this.language];
    return { keywords: found?.keywords ?? [], triggers: found?.triggers ?? [] };
  }

  /**
   * @param {string} character
   * @param {string} language
   */
  #choose(character, language) {
    this.character = this.who.value = character;
    this.language = this.tongue.value = language;
    const words = this.edited[character]?.[language] ?? this.inFile;
    this.triggers.value = words.triggers.join(", ");
    this.keywords.value = words.keywords.join(", ");
    this.#say();
  }

  #take() {
    const words = { keywords: list(this.keywords.value), triggers: list(this.triggers.value) };
    const mine = { ...this.edited[this.character], [this.language]: words };
    if (JSON.stringify(words) === JSON.stringify(this.inFile)) delete mine[this.language];
    this.edited = { ...this.edited, [this.character]: mine };
    if (!Object.keys(mine).length) delete this.edited[this.character];
    keep("words", Object.keys(this.edited).length ? this.edited : null);
    this.#say();
  }

  #undo() {
    const mine = { ...this.edited[this.character] };
    delete mine[this.language];
    this.edited = { ...this.edited, [this.character]: mine };
    if (!Object.keys(mine).length) delete this.edited[this.character];
    keep("words", Object.keys(this.edited).length ? this.edited : null);
    this.#choose(this.character, this.language);
    this.changed();
  }

  #say() {
    const mine = this.edited[this.character];
    const here = mine?.[this.language];
    this.copy.disabled = !mine;
    this.undo.disabled = !here;
    const file = this.world.cast?.characters.find((/** @type {any} */ c) => c.id === this.character)?.topics_file ?? "";
    fill(this.state, mine ? `Edited here, in ${Object.keys(mine).join(", ")}. Trying uses these words; the page writes no file: copy them into prompts/${file}.` : `As in prompts/${file}. Change something and try it at the left.`);
  }
}

/** @param {string} text */
function list(text) {
  return [...new Set(text.split(/[,，、،\n]/u).map((word) => word.trim()).filter(Boolean))];
}
