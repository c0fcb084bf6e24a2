/** The lab's measure: a labelled file in, how often the right one answers and who is taken for whom out. */

import { post } from "./api.js";
import { percent, titleOf } from "./bars.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

const WITHIN_MS = 40_000;
const MOST_LINES = 2_000;
const WRONG_SHOWN = 50;

/**
 * Returns the lines of a JSONL text; each problem names its line.
 * @param {string} text
 * @param {string[] | undefined} labels those that a line may have, where the cast is known
 */
export function readLabelled(text, labels) {
  /** @type {{ text: string, label: string }[]} */
  const lines = [];
  /** @type {string[]} */
  const problems = [];
  text.split("\n").forEach((row, index) => {
    if (!row.trim()) return;
    let value;
    try {
      value = JSON.parse(row);
    } catch {
      problems.push(`line ${index + 1}: no JSON`);
      return;
    }
    if (typeof value?.text !== "string" || typeof value?.label !== "string") problems.push(`line ${index + 1}: needs "text" and "label"`);
    else if (labels && !labels.includes(value.label)) problems.push(`line ${index + 1}: the label ${JSON.stringify(value.label)} is none of ${labels.join(", ")}`);
    else lines.push({ text: value.text, label: value.label });
  });
  if (!lines.length && !problems.length) problems.push("the file is empty");
  if (lines.length > MOST_LINES) problems.push(`${lines.length} lines are more than ${MOST_LINES}`);
  return { lines, problems };
}

export class Labelled {
  /**
   * @param {import("./world.js").World} world
   * @param {() => Record<string, any>} topics
   */
  constructor(world, topics) {
    this.world = world;
    this.topics = topics;
    /** @type {{ text: string, label: string }[]} */
    this.lines = [];
    this.out = el("div", { class: "measured", "aria-live": "polite" });
    this.input = el("input", { type: "file", accept: ".jsonl,.ndjson,.json,.txt", id: "lab-file", class: "out-of-sight" });
    this.name = el("span", { class: "quiet" }, "no file yet");
    this.again = el("button", { type: "button", class: "plain", hidden: true, on: { click: () => this.run() } }, icon("again", 16), "Measure again");
    this.node = el(
      "section",
      { class: "card measure" },
      el("h2", {}, "A labelled file"),
      el("p", { class: "quiet" }, "JSON lines: ", el("code", {}, '{"text": "…", "label": "an id or none"}'), ". It stays in this browser and the bot's own routing; nothing is stored."),
      el("div", { class: "row-of" }, el("label", { class: "primary as-button", for: "lab-file" }, icon("file", 18), "Choose a file"), this.input, this.name, this.again),
      this.out,
    );
    this.input.addEventListener("change", () => this.input.files?.[0] && this.#take(this.input.files[0]));
    this.node.addEventListener("dragover", (/** @type {DragEvent} */ event) => event.preventDefault());
    this.node.addEventListener("drop", (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      if (event.dataTransfer?.files[0]) this.#take(event.dataTransfer.files[0]);
    });
  }

  /** @param {File} file */
  async #take(file) {
    const labels = this.world.cast?.characters.map((/** @type {{ id: string }} */ each) => each.id).concat("none");
    const { lines, problems } = readLabelled(await file.text(), labels);
    this.input.value = "";
    fill(this.name, problems.length ? `${file.name}: nothing measured` : `${file.name}, ${lines.length} messages`);
    if (problems.length) {
      fill(this.out, el("ul", { class: "problems" }, problems.slice(0, 10).map((p) => el("li", {}, p)), problems.length > 10 ? el("li", {}, `and ${problems.length - 10} more`) : null));
      return;
    }
    this.lines = lines;
    this.again.hidden = false;
    await this.run();
  }

  async run() {
    fill(this.out, el("p", { class: "quiet loading" }, `Routing ${this.lines.length} messages…`));
    try {
      const found = await post("/simulator/inspect/evaluate", { lines: this.lines, topics: this.topics() }, WITHIN_MS);
      fill(this.out, this.#figures(found), this.#confusion(found), this.#wrong(found));
    } catch (error) {
      fill(this.out, el("p", { class: "problems" }, /** @type {Error} */ (error).message));
    }
  }

  /** @param {any} found */
  #figures(found) {
    return el(
      "div",
      { class: "figures" },
      el("p", { class: "accuracy" }, el("b", {}, percent(found.accuracy)), el("span", {}, `right: ${found.right} of ${found.count}`)),
      el("dl", { class: "facts" }, Object.entries(found.by_tier ?? {}).map(([tier, { count, right }]) => el("div", {}, el("dt", {}, `by ${tier}`), el("dd", {}, `${right} of ${count}`, el("span", { class: "quiet" }, ` ${percent(count ? right / count : 0)}`))))),
    );
  }

  /** @param {any} found */
  #confusion(found) {
    const cast = this.world.cast;
    const columns = [...new Set(Object.values(found.confusion).flatMap((row) => Object.keys(/** @type {object} */ (row))))];
    return el(
      "div",
      { class: "table-room", tabindex: 0, role: "region", "aria-label": "Confusion table" },
      el(
        "table",
        { class: "confusion" },
        el("caption", {}, "Who should answer (rows), who does (columns)"),
        el("thead", {}, el("tr", {}, el("td"), columns.map((id) => el("th", { scope: "col" }, titleOf(cast, id))))),
        el(
          "tbody",
          {},
          found.labels.filter((/** @type {string} */ label) => found.confusion[label]).map((/** @type {string} */ label) => {
            const row = found.confusion[label];
            const whole = Object.values(row).reduce((sum, n) => sum + Number(n), 0);
            return el("tr", {}, el("th", { scope: "row" }, label === "none" ? "nobody's subject" : titleOf(cast, label)), columns.map((id) => cell(row[id] ?? 0, whole, id === label || (label === "none" && id === cast?.default))));
          }),
        ),
      ),
    );
  }

  /** @param {any} found */
  #wrong(found) {
    if (!found.wrong?.length) return el("p", { class: "good" }, "Every one is right.");
    return el(
      "details",
      { class: "wrong" },
      el("summary", {}, `${found.count - found.right} wrong`),
      el("ol", {}, found.wrong.slice(0, WRONG_SHOWN).map((/** @type {any} */ w) => el("li", { value: w.line }, el("span", { dir: "auto" }, w.text), el("small", {}, ` ${titleOf(this.world.cast, w.character)} by ${w.tier}, should be ${titleOf(this.world.cast, w.label)}`)))),
    );
  }
}

/**
 * @param {number} count
 * @param {number} whole
 * @param {boolean} right
 */
function cell(count, whole, right) {
  const node = el("td", { class: right ? "right" : count ? "wrong" : "none" }, String(count));
  node.style.setProperty("--share", `${whole ? (count / whole) * 100 : 0}%`);
  return node;
}
