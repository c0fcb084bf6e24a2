/** WhatsApp's formatting as DOM nodes: bold, italic, struck, code, lists, quotes, links. Markup is never parsed. */

import { el } from "./dom.js";

const MARKS = { "*": "strong", _: "em", "~": "s", "`": "code" };
/** A bracket belongs to it where its other half does. */
const LINK = /\bhttps?:\/\/(?:[^\s<>"()]|\([^\s<>"()]*\))*(?:[^\s<>".,;:!?()\]}'*_~]|\([^\s<>"()]*\))/u;
const LINKS = new RegExp(LINK, "gu");
const BEFORE = /[\s\p{P}\p{S}]/u;
const WORD = /[\p{L}\p{N}]/u;
const BLOCK = /\n?```([^`]*\n[^`]*)```\n?/u;
const BULLET = /^[*-] +(?=\S)/u;
const NUMBER = /^(\d{1,3})\. +(?=\S)/u;
const QUOTE = /^> ?/u;
/** @type {Record<string, RegExp>} */
const STARTS = { ul: BULLET, ol: NUMBER, blockquote: QUOTE };
const SPEAKER = /^\*([^*\n]{1,60}?)[ \u00a0]?((?:\p{Extended_Pictographic}|\p{Regional_Indicator})[^\s*]*)\*: ?/u;
const ONLY_EMOJI = new RegExp("^(?:\\p{RGI_Emoji}\\s*){1,3}$", "v");

/** @typedef {{ name: string, emoji: string, rest: string }} Speech */

/**
 * Returns who speaks where a text begins with `*Name emoji*: `, as our replies do.
 * @param {string} text
 * @returns {Speech | null}
 */
export function speaker(text) {
  const found = SPEAKER.exec(text);
  return found && { name: found[1].trim(), emoji: found[2], rest: text.slice(found[0].length) };
}

/**
 * Returns which of the eight colours for names is hers; the same name always has the same.
 * @param {string} name
 */
export function colour(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 33 + (letter.codePointAt(0) ?? 0)) % 9973;
  return sum % 8;
}

/**
 * Whether a text is one to three emoji and nothing else: these are shown large.
 * @param {string} text
 */
export function onlyEmoji(text) {
  return ONLY_EMOJI.test(text.trim());
}

/**
 * Returns a text as WhatsApp shows it. Every block finds its own direction.
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function formatted(text) {
  const all = document.createDocumentFragment();
  const speech = speaker(text);
  (speech ? speech.rest : text).split(BLOCK).forEach((part, index) => {
    if (index % 2) all.append(el("pre", { dir: "auto" }, el("code", {}, part.replace(/^\n|\n$/gu, ""))));
    else if (part) rows(all, part);
  });
  if (speech) introduce(all, speech);
  return all;
}

/**
 * Puts her name before the first line. In <bdi>, so that the line's direction is that of her words.
 * @param {DocumentFragment} all
 * @param {Speech} speech
 */
function introduce(all, speech) {
  const name = el("strong", { class: `speaker name-${colour(speech.name)}` }, speech.name, speech.emoji);
  const lead = el("bdi", {}, name, ": ");
  const first = all.firstElementChild;
  if (first?.className === "line") first.prepend(lead);
  else all.prepend(el("div", { class: "line" }, lead));
}

/**
 * Adds a text's lines.
 * @param {DocumentFragment} all
 * @param {string} text
 */
function rows(all, text) {
  for (const row of text.split("\n")) {
    const kind = kindOf(row);
    if (kind) block(all, kind, row);
    else all.append(el("div", { class: "line", dir: "auto" }, row ? inline(row) : el("br")));
  }
}

/** @param {string} row */
function kindOf(row) {
  if (BULLET.test(row)) return "ul";
  if (NUMBER.test(row)) return "ol";
  return QUOTE.test(row) ? "blockquote" : "";
}

/**
 * Adds a row to the list or quote before it, or begins one.
 * @param {DocumentFragment} all
 * @param {string} kind
 * @param {string} row
 */
function block(all, kind, row) {
  const before = all.lastElementChild;
  const goesOn = before?.localName === kind;
  const parent = goesOn ? before : el(kind, { start: NUMBER.exec(row)?.[1] });
  const words = inline(row.replace(STARTS[kind], ""));
  parent.append(el(kind === "blockquote" ? "div" : "li", { dir: "auto" }, words.length ? words : el("br")));
  if (!goesOn) all.append(parent);
}

/**
 * Returns one line's nodes.
 * @param {string} text
 * @returns {Node[]}
 */
export function inline(text) {
  /** @type {Node[]} */
  const found = [];
  let plain = "";
  for (let at = 0; at < text.length; ) {
    const mono = text.startsWith("```", at) ? text.indexOf("```", at + 4) : -1;
    if (mono > 0) {
      found.push(...links(plain), el("code", {}, text.slice(at + 3, mono)));
      plain = "";
      at = mono + 3;
      continue;
    }
    const end = MARKS[/** @type {keyof typeof MARKS} */ (text[at])] ? closing(text, at) : -1;
    if (end < 0) {
      plain += text[at];
      at += 1;
      continue;
    }
    found.push(...links(plain));
    plain = "";
    const mark = /** @type {keyof typeof MARKS} */ (text[at]);
    const inner = text.slice(at + 1, end);
    found.push(el(MARKS[mark], {}, mark === "`" ? inner : inline(inner)));
    at = end + 1;
  }
  found.push(...links(plain));
  return found;
}

/**
 * Returns where the mark at a place is closed, -1 where it marks nothing.
 * @param {string} text
 * @param {number} at
 */
function closing(text, at) {
  const mark = text[at];
  if (at > 0 && !BEFORE.test(text[at - 1])) return -1;
  if (/\s/u.test(text[at + 1] ?? " ") || text[at + 1] === mark) return -1;
  if (mark !== "`" && inLink(text, at)) return -1;
  for (let end = text.indexOf(mark, at + 2); end > 0; end = text.indexOf(mark, end + 1)) {
    if (!/\s/u.test(text[end - 1]) && !WORD.test(text[end + 1] ?? " ")) return end;
  }
  return -1;
}

/**
 * @param {string} text
 * @param {number} at
 */
function inLink(text, at) {
  return [...text.matchAll(LINKS)].some((found) => found.index < at && at < found.index + found[0].length);
}

/**
 * @param {string} text
 * @returns {Node[]}
 */
function links(text) {
  /** @type {Node[]} */
  const found = [];
  let rest = text;
  for (let link = LINK.exec(rest); link; link = LINK.exec(rest)) {
    if (link.index) found.push(document.createTextNode(rest.slice(0, link.index)));
    found.push(el("a", { href: link[0], target: "_blank", rel: "noopener noreferrer" }, link[0]));
    rest = rest.slice(link.index + link[0].length);
  }
  if (rest) found.push(document.createTextNode(rest));
  return found;
}

/**
 * Returns a text on one line without marks, for previews.
 * @param {string} text
 */
export function plain(text) {
  const holder = document.createElement("div");
  holder.append(formatted(text));
  return [...holder.children].map((child) => child.textContent).join(" ").replace(/\s+/gu, " ").trim();
}
