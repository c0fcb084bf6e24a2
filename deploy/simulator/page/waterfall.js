/** A message's way as phases one under the other, each as long as it took. */

import { duration, exact } from "./clock.js";
import { el } from "./dom.js";

/** @typedef {{ label: string, from: number, to: number, tone: string }} Phase */
/** @typedef {Record<string, any>} Event */

/**
 * Returns the phases that a timeline's events bound; of a turn that is under way those that are over.
 * @param {Event[]} events
 * @returns {Phase[]}
 */
export function phases(events) {
  const at = (/** @type {string} */ name, /** @type {(e: Event) => boolean} */ fits = () => true) => {
    const found = events.find((e) => e.event === name && fits(e));
    return found ? Date.parse(found.at) : NaN;
  };
  const asked = events.find((e) => e.event === "asked");
  const begun = at("asked");
  const thought = asked ? begun + (asked.llm_ms ?? 0) : NaN;
  const end = [at("replied"), at("refused"), at("failed", (e) => e.turn !== undefined)].find((t) => !Number.isNaN(t)) ?? NaN;
  const claimed = at("claimed");
  /** @type {[string, number, number, string][]} */
  const found = [
    ["Inbox to Postgres", at("received"), at("stored"), "door"],
    ["Waiting for a turn", at("stored"), claimed, "wait"],
    ["Moderated, routed, prompt", claimed, Number.isNaN(begun) ? end : begun, "think"],
    ["The model", begun, thought, "model"],
    ["Checked and stored", thought, end, "think"],
  ];
  for (const piece of events.filter((e) => e.event === "waiting")) {
    const own = (/** @type {Event} */ e) => e.delivery === piece.delivery;
    const name = events.filter((e) => e.event === "waiting").length > 1 ? ` ${piece.piece}` : "";
    const accepted = at("accepted", own);
    const sent = at("sent", own);
    found.push([`Send piece${name}`, Date.parse(piece.at), accepted, "send"]);
    found.push([`Sent${name}`, accepted, sent, "report"]);
    found.push([`Delivered${name}`, Number.isNaN(sent) ? accepted : sent, at("delivered", own), "report"]);
    found.push([`Read${name}`, at("delivered", own), at("read", own), "report"]);
  }
  return found
    .filter(([, from, to]) => !Number.isNaN(from) && !Number.isNaN(to))
    .map(([label, from, to, tone]) => ({ label, from, to: Math.max(from, to), tone }));
}

/** @param {Event[]} events */
export function waterfall(events) {
  const all = phases(events);
  if (!all.length) return el("p", { class: "quiet" }, "Nothing to measure yet.");
  const start = Math.min(...all.map((p) => p.from));
  const whole = Math.max(1, Math.max(...all.map((p) => p.to)) - start);
  return el(
    "ol",
    { class: "waterfall" },
    all.map((phase) => {
      const bar = el("span", { class: `phase phase-${phase.tone}` });
      bar.style.left = `${((phase.from - start) / whole) * 100}%`;
      bar.style.width = `${((phase.to - phase.from) / whole) * 100}%`;
      return el(
        "li",
        { title: `${exact(phase.from)} to ${exact(phase.to)}` },
        el("span", { class: "phase-label" }, phase.label),
        el("span", { class: "phase-track", "aria-hidden": "true" }, bar),
        el("span", { class: "phase-time" }, duration(phase.to - phase.from)),
      );
    }),
    el("li", { class: "total" }, el("span", { class: "phase-label" }, "In all"), el("span", {}), el("span", { class: "phase-time" }, duration(whole))),
  );
}
