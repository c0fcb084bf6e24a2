/** One message as a bubble: quotation, attachments, text, time and ticks, and what went wrong. */

import { attachments, kindOf } from "./attachment.js";
import { time } from "./clock.js";
import { meaning } from "./codes.js";
import { el, fill } from "./dom.js";
import { colour, formatted, onlyEmoji, plain, speaker } from "./formatting.js";
import { icon } from "./icons.js";
import { drawn, redrawn, tickOf } from "./ticks.js";

/**
 * @typedef {object} Series how a bubble stands among its neighbours
 * @property {boolean} first of one sender's bubbles in a row
 * @property {import("./formatting.js").Speech | null} speech who speaks, as the newest name line says
 */

/** @param {import("./world.js").Message} message */
export const isOwn = (message) => message.direction === "inbound";

/**
 * Returns an empty bubble; `fillBubble` gives it what it shows, again whenever that changed.
 * @param {string} sid
 */
export function emptyBubble(sid) {
  return el("div", { class: "row", data: { sid }, tabindex: -1, role: "article" });
}

/**
 * @param {HTMLElement} row
 * @param {import("./world.js").Message} message
 * @param {Series} series
 * @param {import("./world.js").Message | undefined} quoted
 */
export function fillBubble(row, message, series, quoted) {
  const own = isOwn(message);
  const large = onlyEmoji(speaker(message.body)?.rest ?? message.body) && !message.media.length;
  row.className = ["row", own ? "own" : "theirs", series.first && "first", large && "large"].filter(Boolean).join(" ");
  const meta = el("span", { class: "meta" }, el("time"), drawn(tickOf(message)));
  const text = message.body ? el("div", { class: "text" }, formatted(message.body)) : null;
  // Room for time and ticks at the end of the last line: they stand over it.
  if (text) (lastLine(text) ?? text).append(el("span", { class: "meta-room", "aria-hidden": "true" }));
  fill(
    row,
    own ? null : avatar(series),
    el(
      "div",
      { class: ["bubble", !message.body && "bare"] },
      message.quoted_sid ? quotation(message.quoted_sid, quoted) : null,
      attachments(message),
      text,
      meta,
      el("button", { type: "button", class: "look", tabindex: -1, title: "Behind the chat", "aria-label": "Behind the chat" }, icon("behind", 18)),
      el("button", { type: "button", class: "more", tabindex: -1, "aria-label": "More about this message", "aria-haspopup": "menu" }, icon("down", 18)),
    ),
  );
  showState(row, message);
}

/**
 * Returns what a bubble is made of; all else that changes is its state.
 * @param {import("./world.js").Message} message
 * @param {Series} series
 * @param {import("./world.js").Message | undefined} quoted
 */
export function contentOf(message, series, quoted) {
  const { direction, body, media, location, button, button_text, quoted_sid } = message;
  const quotation = quoted && [quoted.direction, quoted.body, kindOf(quoted)];
  return JSON.stringify([direction, body, media, location, button, button_text, quoted_sid, quotation, series.first, series.speech?.name, series.speech?.emoji]);
}

/**
 * Shows how far a message came, in a bubble that stays as it is: what is read out, played or anchors a menu goes on.
 * @param {HTMLElement} row
 * @param {import("./world.js").Message} message
 */
export function showState(row, message) {
  const tick = tickOf(message);
  row.classList.toggle("broken", tick.kind === "failed");
  row.setAttribute("aria-label", spoken(message, tick.words));
  const [at, drawing] = /** @type {HTMLElement} */ (row.querySelector(".meta")).children;
  at.setAttribute("datetime", message.created_at);
  if (at.textContent !== time(message.created_at)) at.textContent = time(message.created_at);
  redrawn(/** @type {HTMLElement} */ (drawing), tick);
  const before = row.querySelector(":scope > .trouble");
  const after = trouble(message);
  if (before?.textContent === after?.textContent) return;
  if (before?.contains(document.activeElement)) row.focus({ preventScroll: true });
  before?.remove();
  if (after) row.append(after);
}

/** @param {HTMLElement} text */
function lastLine(text) {
  const last = text.lastElementChild;
  return last?.classList.contains("line") ? last : null;
}

/** @param {Series} series */
function avatar(series) {
  if (!series.first) return el("span", { class: "face", "aria-hidden": "true" });
  const emoji = series.speech?.emoji ?? "";
  return el("span", { class: ["face shown", series.speech && `tint-${colour(series.speech.name)}`], "aria-hidden": "true" }, emoji || icon("chats", 15));
}

/**
 * @param {string} sid
 * @param {import("./world.js").Message | undefined} quoted
 */
function quotation(sid, quoted) {
  const speech = quoted ? speaker(quoted.body) : null;
  const who = quoted ? (isOwn(quoted) ? "You" : speech ? `${speech.name} ${speech.emoji}` : "Reply") : "Message";
  const tone = quoted && isOwn(quoted) ? "name-you" : `name-${colour(speech?.name ?? "")}`;
  const said = quoted ? plain(speech ? speech.rest : quoted.body) || kindOf(quoted) : "is no longer here";
  return el(
    "button",
    { type: "button", class: ["quote", tone], tabindex: -1, data: { to: sid }, "aria-label": `Go to the quoted message: ${said}` },
    el("b", { class: tone }, who),
    el("span", { dir: "auto" }, said),
  );
}

/** @param {import("./world.js").Message} message */
function trouble(message) {
  if (message.pending === "unsent") {
    return el(
      "p",
      { class: "trouble" },
      icon("warn", 14),
      el("span", {}, message.problem || "Not sent.", message.media.length ? " Loading the page anew would lose it." : ""),
      el("button", { type: "button", class: "link", data: { act: "retry" } }, "Try again"),
      el("button", { type: "button", class: "link", data: { act: "discard" } }, "Discard"),
    );
  }
  const tick = tickOf(message);
  if (tick.kind !== "failed") return null;
  const why = isOwn(message) ? `${tick.words}.` : `${tick.words}: ${message.error_code ?? ""} ${meaning(message.error_code, message.error_message)}.`;
  return el("p", { class: "trouble" }, icon("warn", 14), el("span", {}, why));
}

/**
 * @param {import("./world.js").Message} message
 * @param {string} state
 */
function spoken(message, state) {
  const what = [kindOf(message), plain(message.body)].filter(Boolean).join(" ");
  return `${isOwn(message) ? "You" : "Reply"}: ${what}. ${time(message.created_at)}. ${state}.`;
}
