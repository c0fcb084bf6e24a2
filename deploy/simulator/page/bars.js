/** Scores per character as bars, and the evidence for them as chips; for the panel and for the lab. */

import { el } from "./dom.js";
import { colour } from "./formatting.js";

/** @typedef {{ term: string, character: string, points: number }} Evidence */

/** Which rungs routing asks, in order; the last two mean that nobody was sure. */
export const TIERS = ["addressed", "words", "likeness", "embeddings", "model", "stay", "default"];

/** @type {Record<string, string>} */
export const TIER_WORDS = {
  addressed: "called by name",
  words: "the words of her subjects",
  likeness: "like the example messages",
  embeddings: "near in meaning",
  model: "handed over by the model",
  stay: "goes on with whoever was talking",
  default: "nobody was sure: the default begins",
};

/**
 * Returns a character's name and emoji where the cast is known, else the id.
 * @param {any} cast
 * @param {string} id
 */
export function titleOf(cast, id) {
  const found = cast?.characters.find((/** @type {any} */ c) => c.id === id);
  return found ? `${found.name} ${found.emoji}` : id;
}

/**
 * @param {any} cast
 * @param {string} id
 */
export const toneOf = (cast, id) => colour(cast?.characters.find((/** @type {any} */ c) => c.id === id)?.name ?? id);

/**
 * @param {any} cast
 * @param {Record<string, number>} scores
 * @param {string[]} winners
 */
export function scoreBars(cast, scores, winners) {
  const most = Math.max(1e-9, ...Object.values(scores).map(Math.abs));
  const order = Object.entries(scores).sort(([, a], [, b]) => b - a);
  return el(
    "dl",
    { class: "bars" },
    order.map(([id, points]) => {
      const bar = el("span", { class: ["bar-fill", `fill-${toneOf(cast, id)}`] });
      bar.style.width = `${Math.max(points > 0 ? 2 : 0, (Math.max(0, points) / most) * 100)}%`;
      return el(
        "div",
        { class: winners.includes(id) && "won" },
        el("dt", {}, titleOf(cast, id)),
        el("dd", {}, el("span", { class: "bar-track" }, bar), el("span", { class: "bar-number" }, shortNumber(points))),
      );
    }),
  );
}

/**
 * @param {any} cast
 * @param {Evidence[]} evidence
 */
export function evidenceChips(cast, evidence) {
  if (!evidence?.length) return null;
  return el(
    "ul",
    { class: "evidence", "aria-label": "Evidence" },
    once(evidence).slice(0, 24).map((each) =>
      el("li", { class: [`edge-${toneOf(cast, each.character)}`, each.points < 0 && "against"], title: `speaks ${each.points < 0 ? "against" : "for"} ${titleOf(cast, each.character)}` }, el("bdi", {}, each.term), el("b", {}, `${each.points > 0 ? "+" : "−"}${shortNumber(Math.abs(each.points))}`)),
    ),
  );
}

/**
 * Two rungs can name the same word for the same reason: one chip tells it.
 * @param {Evidence[]} evidence
 */
function once(evidence) {
  return [...new Map(evidence.map((each) => [JSON.stringify([each.term, each.character, each.points]), each])).values()];
}

/**
 * The ladder of routing: which rung decided, which were asked before it.
 * @param {string} tier
 * @param {{ tier: string, sure: boolean }[]} asked
 */
export function ladder(tier, asked = []) {
  return el(
    "ol",
    { class: "ladder", "aria-label": "Tiers of routing, in the order in which they are asked" },
    TIERS.map((each) => {
      const was = asked.find((a) => a.tier === each);
      const state = each === tier ? "decided" : was ? "unsure" : "";
      return el("li", { class: state, title: TIER_WORDS[each] }, each, state ? el("span", { class: "out-of-sight" }, ` (${state})`) : null);
    }),
  );
}

/** @param {number} value */
export function shortNumber(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}

/** @param {number} value */
export const percent = (value) => `${Math.round(value * 100)} %`;

/**
 * How sure the rung was that decided; the last two are asked because nobody was.
 * @param {string} tier
 * @param {number} confidence
 */
export const surely = (tier, confidence) => (tier === "stay" || tier === "default" ? null : el("span", { class: "pill" }, percent(confidence)));
