/** A body on the wire made readable: forms as a table, JSON laid out in colours, anything else as it came. */

import { el } from "./dom.js";

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/gu;

/**
 * @param {string} text
 * @param {string} type
 */
export function body(text, type) {
  if (!text) return el("p", { class: "quiet" }, "empty");
  if (/urlencoded/u.test(type) || (!type && /^[\w.%+-]+=/u.test(text))) return form(text);
  if (/json/u.test(type) || /^\s*[[{]/u.test(text)) return json(text);
  return el("pre", { class: "raw", tabindex: 0 }, text);
}

/** @param {string} text */
function form(text) {
  return el(
    "table",
    { class: "form" },
    el("tbody", {}, [...new URLSearchParams(text)].map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { dir: "auto" }, value || el("span", { class: "quiet" }, "empty"))))),
  );
}

/** @param {string} text */
function json(text) {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // cut or malformed: shown as it came
  }
  const node = el("pre", { class: "raw json", tabindex: 0 });
  let from = 0;
  for (const found of shown.matchAll(TOKENS)) {
    const [all, string, colon, word] = found;
    node.append(shown.slice(from, found.index));
    const kind = string ? (colon ? "key" : "string") : word ? "word" : "number";
    node.append(el("span", { class: `json-${kind}` }, string ?? all), colon ?? "");
    from = found.index + all.length;
  }
  node.append(shown.slice(from));
  return node;
}
