/** The ticks beside a bubble's time: how far a message came, drawn and in words. */

import { el } from "./dom.js";
import { small } from "./icons.js";

const ONE = ["M4.5 6l2.8 2.9L12.5 2.5"];
const TWO = ["M1.5 6l2.8 2.9L9.5 2.5", "M7.5 8.3l.6.6L13.5 2.5"];
const CLOCK = ["M8 1.2a4.3 4.3 0 1 1 0 8.6 4.3 4.3 0 0 1 0-8.6z", "M8 3.2v2.5l1.7 1"];
const CROSS = ["M5 2.5l6 6", "M11 2.5l-6 6"];

/** @typedef {{ kind: "clock" | "one" | "two" | "read" | "failed", words: string }} Tick */

/**
 * @param {import("./world.js").Message} message
 * @returns {Tick}
 */
export function tickOf(message) {
  if (message.direction === "inbound") return inbound(message);
  switch (message.status) {
    case "read":
      return { kind: "read", words: "Read" };
    case "delivered":
      return { kind: "two", words: "Delivered" };
    case "sent":
      return { kind: "one", words: "Sent" };
    case "failed":
    case "undelivered":
      return { kind: "failed", words: "Not delivered" };
    default:
      return { kind: "clock", words: "Accepted by Twilio, not sent yet" };
  }
}

/**
 * @param {import("./world.js").Message} message
 * @returns {Tick}
 */
function inbound(message) {
  if (message.pending === "unsent") return { kind: "failed", words: "Not sent" };
  if (message.pending) return { kind: "clock", words: "On its way" };
  if (message.carried === "refused") return { kind: "failed", words: "The webhook did not take it" };
  if (message.carried === "dropped") return { kind: "failed", words: "Lost on its way to the webhook, on purpose" };
  if (message.read_at) return { kind: "read", words: "Read by the bot" };
  if (message.carried === "found") return { kind: "two", words: "Found by the bot in Twilio's log" };
  if (message.carried === "acknowledged") return { kind: "two", words: "The webhook took it" };
  return { kind: "one", words: "With Twilio, the webhook has not answered yet" };
}

const PATHS = { clock: CLOCK, one: ONE, two: TWO, read: TWO, failed: CROSS };

/** @param {Tick} tick */
export const drawn = (tick) => redrawn(el("span", { role: "img" }), tick);

/**
 * Makes a tick that is there another one.
 * @param {HTMLElement} node
 * @param {Tick} tick
 */
export function redrawn(node, tick) {
  node.className = `tick tick-${tick.kind}`;
  node.setAttribute("aria-label", tick.words);
  node.title = tick.words;
  node.replaceChildren(small(PATHS[tick.kind]));
  return node;
}
