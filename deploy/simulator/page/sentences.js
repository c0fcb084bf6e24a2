/** The lab's bench: sentences in, who would answer each and why out. */

import { post } from "./api.js";
import { evidenceChips, ladder, scoreBars, surely, TIER_WORDS, titleOf, toneOf } from "./bars.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { keep, recall } from "./memory.js";

const TRIES = ["Who knows about music?", "My boss wants me to stream on Twitch, should I quit?", "Recommend a sad novel", "And another one?", "¿Qué libro me recomiendas?", "最近心情不好，有推薦的歌嗎"];
const WITHIN_MS = 40_000;
const MOST = 60;

export class Sentences {
  /**
   * @param {import("./world.js").World} world
   * @param {() => Record<string, any>} topics edited words
   */
  constructor(world, topics) {
    this.world = world;
    this.topics = topics;
    /** Edited words and the keyboard may ask again before the first answer: only the newest is shown. */
    this.newest = 0;
    this.field = el("textarea", { rows: 5, id: "lab-lines", dir: "auto", placeholder: "One sentence a line", value: recall("lab", "") });
    this.dialogue = el("input", { type: "checkbox", checked: recall("dialogue", true) });
    this.results = el("ol", { class: "results", "aria-live": "polite" });
    this.button = el("button", { type: "submit", class: "primary" }, "Who answers?");
    this.node = el(
      "section",
      { class: "card bench" },
      el("h2", {}, "Sentences"),
      el(
        "form",
        { on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); this.run(); } } },
        el("label", { class: "field", for: "lab-lines" }, el("span", {}, "What somebody writes, one message a line")),
        this.field,
        el("div", { class: "row-of" }, this.button, el("label", { class: "tick-box" }, this.dialogue, el("span", {}, "one conversation: each line knows who talked before"))),
      ),
      this.results,
    );
    this.field.addEventListener("input", () => keep("lab", this.field.value || null));
    this.dialogue.addEventListener("change", () => keep("dialogue", this.dialogue.checked));
    this.field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run();
    });
    this.#empty();
  }

  #empty() {
    const take = () => {
      this.field.value = TRIES.join("\n");
      keep("lab", this.field.value);
      this.run();
    };
    fill(this.results, el("li", { class: "empty" }, icon("lab", 40), el("b", {}, "Try who would answer"), el("p", {}, "Nothing is sent and no model is asked: only the routing thinks."), el("button", { type: "button", class: "suggestion", on: { click: take } }, "Try some examples")));
  }

  async run() {
    const all = this.field.value.split("\n").map((/** @type {string} */ l) => l.trim()).filter(Boolean);
    const lines = all.slice(0, MOST);
    if (!lines.length) {
      this.#empty();
      return;
    }
    const mine = (this.newest += 1);
    this.button.disabled = true;
    fill(this.results, el("li", { class: "quiet loading" }, "Thinking…"));
    try {
      const found = this.dialogue.checked ? await this.#oneByOne(lines) : await this.#all(lines.map((/** @type {string} */ text) => ({ text })));
      if (mine !== this.newest) return;
      const left = all.length - lines.length;
      fill(this.results, found.map((result, index) => this.#result(result, found[index - 1])), left ? el("li", { class: "quiet" }, `${MOST} lines are tried at a time: the last ${left} of ${all.length} were not.`) : null);
    } catch (error) {
      if (mine !== this.newest) return;
      fill(this.results, el("li", { class: "empty" }, icon("warn", 36), el("b", {}, /** @type {Error} */ (error).message), el("p", {}, "The lab asks `sisters inspect`, which has to be running.")));
    } finally {
      if (mine === this.newest) this.button.disabled = false;
    }
  }

  /** @param {object[]} lines */
  async #all(lines) {
    const { results } = await post("/simulator/inspect/route", { lines, topics: this.topics() }, WITHIN_MS);
    return /** @type {any[]} */ (results);
  }

  /** @param {string[]} lines */
  async #oneByOne(lines) {
    /** @type {any[]} */
    const found = [];
    for (const text of lines) {
      const before = found.at(-1);
      const past = before ? { current: before.character, state: before.state, idle_s: 5 } : {};
      found.push(...(await this.#all([{ text, ...past }])));
    }
    return found;
  }

  /**
   * @param {any} result
   * @param {any} before
   */
  #result(result, before) {
    const cast = this.world.cast;
    const who = result.characters.map((/** @type {string} */ id) => titleOf(cast, id)).join(", ");
    return el(
      "li",
      { class: "result" },
      el("p", { class: "result-text", dir: "auto" }, result.text),
      el("p", { class: "why" }, el("b", { class: `name-${toneOf(cast, result.character)}` }, who), ` by ${result.tier}`, surely(result.tier, result.confidence), el("small", {}, [TIER_WORDS[result.tier], result.switched && before && `takes over from ${titleOf(cast, before.character)}`].filter(Boolean).join(", "))),
      ladder(result.tier, result.asked),
      scoreBars(cast, result.scores, result.characters),
      evidenceChips(cast, result.evidence),
      this.#changes(result),
    );
  }

  /** @param {any} result */
  #changes(result) {
    const cast = this.world.cast;
    if (!result.changes?.length) return el("p", { class: "quiet changes-none" }, "Nothing that was tried would change it: no word less, no word more, nobody else talking before.");
    return el(
      "details",
      { class: "changes" },
      el("summary", {}, "What would change it"),
      el("ul", {}, result.changes.map((/** @type {any} */ c) => el("li", {}, change(cast, c), " → ", el("b", {}, titleOf(cast, c.character)), el("small", {}, ` by ${c.tier}`)))),
    );
  }
}

/**
 * @param {any} cast
 * @param {any} c
 */
function change(cast, c) {
  switch (c.change) {
    case "remove":
    case "remove_all":
      return ["without ", (c.terms ?? []).map((/** @type {string} */ term, /** @type {number} */ index) => [index ? ", " : "", el("q", {}, term)])];
    case "add":
      return `with one more ${c.points > 1 ? "trigger" : "keyword"} of ${titleOf(cast, c.to)}`;
    case "current":
      return c.to ? `had ${titleOf(cast, c.to)} been talking before` : "in a new conversation";
    default:
      return String(c.change);
  }
}
