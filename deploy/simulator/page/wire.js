/** Calls on the wire: who called whom, what was said, whether the signature was right, how often it was tried. */

import { body } from "./body.js";
import { duration, exact } from "./clock.js";
import { el, fill, settle } from "./dom.js";
import { icon } from "./icons.js";

/** @type {Record<string, string>} */
const NAMES = {
  webhook: "Message webhook",
  status: "Status webhook",
  create: "Send a message",
  list: "List messages",
  fetch: "Look at a message",
  update: "Change a message",
  delete: "Delete",
  media: "Fetch an attachment",
  typing: "Typing indicator",
  content: "Content template",
  chat: "Chat completion",
  moderation: "Moderation",
  embeddings: "Embeddings",
  transcription: "Transcription",
  models: "Models",
};
/** @type {Record<string, string>} */
const FAULTS = { ct: "could not connect", rt: "no answer in time", partial: "cut in the middle" };
const SHOWN = 150;

/** The list of calls; what was opened stays open. */
export class Wire {
  constructor() {
    /** @type {WeakMap<import("./world.js").Call, HTMLDetailsElement>} gone with the call; its number begins at 1 again with the simulator */
    this.rows = new WeakMap();
    this.node = el("div", { class: "calls" });
  }

  /**
   * @param {import("./world.js").Call[]} calls
   * @param {string} [none] what to say when there is none
   */
  show(calls, none = "No call yet.") {
    const last = calls.slice(-SHOWN);
    if (!last.length) {
      fill(this.node, el("p", { class: "quiet" }, none));
      return;
    }
    const cut = last.length < calls.length ? [el("p", { class: "quiet" }, `The newest ${SHOWN} of ${calls.length} calls.`)] : [];
    settle(this.node, [...cut, ...last.map((call) => this.#row(call))]);
  }

  /** @param {import("./world.js").Call} call */
  #row(call) {
    const known = this.rows.get(call);
    if (known) return known;
    const node = /** @type {HTMLDetailsElement} */ (el("details", { class: "call" }, summary(call)));
    node.addEventListener("toggle", () => {
      if (node.open && node.childElementCount === 1) node.append(details(call));
    });
    this.rows.set(call, node);
    return node;
  }
}

/** @param {import("./world.js").Call} call */
function summary(call) {
  const good = call.status >= 200 && call.status < 300;
  return el(
    "summary",
    {},
    el("span", { class: ["way", call.direction], title: call.direction === "out" ? "to the bot" : "from the bot" }, call.direction === "out" ? "→ bot" : `${call.vendor ?? ""} ←`),
    el("span", { class: "call-name" }, NAMES[call.endpoint] ?? call.endpoint, call.attempt > 1 ? el("em", {}, ` try ${call.attempt}`) : null),
    call.fault ? el("span", { class: "pill-bad" }, FAULTS[call.fault] ?? call.fault) : null,
    el("span", { class: ["pill", good ? "pill-good" : "pill-bad"] }, call.status || "cut"),
    el("span", { class: "call-time" }, duration(call.took_ms)),
  );
}

/** @param {import("./world.js").Call} call */
function details(call) {
  const right = call.signature_ok;
  const signed = call.direction === "out" ? (right ? "X-Twilio-Signature is right" : "X-Twilio-Signature is wrong") : right ? "credentials are right" : "credentials are wrong";
  return el(
    "div",
    { class: "call-details" },
    el("p", { class: "call-line" }, el("code", {}, `${call.method} ${call.path}`)),
    el(
      "p",
      { class: "call-facts" },
      el("span", {}, exact(call.at)),
      right === undefined || right === null ? null : el("span", { class: right ? "good" : "bad" }, icon(right ? "check" : "close", 13), signed),
      call.attempt ? el("span", {}, `try ${call.attempt}`) : null,
    ),
    call.signature ? el("p", { class: "call-line" }, el("code", {}, `X-Twilio-Signature: ${call.signature}`)) : null,
    part("Request", call.request, call.request_type ?? "", call.request_bytes),
    part(`Answer ${call.status || "none: the connection was cut"}`, call.answer, call.answer_type ?? "", call.answer_bytes),
  );
}

/**
 * @param {string} title
 * @param {string} text
 * @param {string} type
 * @param {number | undefined} bytes
 */
function part(title, text, type, bytes) {
  const size = bytes ? ` · ${bytes} bytes` : "";
  const cut = bytes && new TextEncoder().encode(text).length < bytes ? " · only the beginning is kept" : "";
  return [el("h3", {}, title, el("small", {}, `${type ? ` ${type.split(";")[0]}` : ""}${size}${cut}`)), body(text, type)];
}
