/** A small menu or panel over the page: opened at a place, closed by Escape, a click elsewhere or a choice. */

import { el, fill, rove } from "./dom.js";
import { icon } from "./icons.js";

const EDGE = 8;
/** @type {{ node: HTMLElement, back: HTMLElement, at?: { x: number, y: number } } | null} */
let open = null;
let width = innerWidth;

export function closeMenu({ focus = true } = {}) {
  if (!open) return;
  const { node, back } = open;
  open = null;
  node.remove();
  back.removeAttribute("aria-expanded");
  if (focus) back.focus();
}

/** @param {Node} target */
const inside = (target) => Boolean(open && (open.node.contains(target) || open.back.contains(target)));

addEventListener("pointerdown", (event) => {
  if (open && !inside(/** @type {Node} */ (event.target))) closeMenu({ focus: false });
});
addEventListener("keydown", (event) => {
  if (!open) return;
  if (event.key === "Tab") closeMenu(); // and goes on from its anchor
  if (event.key !== "Escape") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  closeMenu();
}, true);
addEventListener("resize", () => {
  // On a telephone the keyboard goes as the menu takes the focus: then only the height changes.
  if (innerWidth === width) place();
  else closeMenu({ focus: false });
  width = innerWidth;
});

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {any} [icon]
 * @property {string} [key] shown at the right
 * @property {() => void} act
 */

/**
 * @param {HTMLElement} anchor what the focus returns to
 * @param {(Item | false | null)[]} items
 * @param {{ x: number, y: number }} [at]
 */
export function openMenu(anchor, items, at) {
  const list = el(
    "div",
    { class: "menu", role: "menu" },
    items.filter(Boolean).map((item) => {
      const { label, icon: drawing, key, act } = /** @type {Item} */ (item);
      const choose = () => {
        closeMenu();
        act();
      };
      return el("button", { type: "button", role: "menuitem", tabindex: -1, on: { click: choose } }, drawing ? icon(drawing, 18) : null, el("span", {}, label), key ? el("kbd", {}, key) : null);
    }),
  );
  rove(list, "[role=menuitem]");
  show(list, anchor, at);
}

/**
 * Shows any panel at an anchor; the first thing in it that can have the focus gets it.
 * @param {HTMLElement} node
 * @param {HTMLElement} anchor
 * @param {{ x: number, y: number }} [at]
 */
export function show(node, anchor, at) {
  const again = open?.back === anchor && !at;
  closeMenu({ focus: false });
  if (again) {
    anchor.focus();
    return;
  }
  open = { node, back: anchor, at };
  if (anchor.hasAttribute("aria-haspopup")) anchor.setAttribute("aria-expanded", "true"); // a bubble is no button
  node.addEventListener("focusout", (/** @type {FocusEvent} */ event) => {
    const to = /** @type {Node | null} */ (event.relatedTarget);
    if (to && !inside(to)) closeMenu({ focus: false });
  });
  document.body.append(node);
  place();
  /** @type {HTMLElement | null} */ (node.querySelector("button, input, [tabindex]"))?.focus();
}

/** Puts what is open beside its anchor, or where it was asked for, within the window. */
function place() {
  if (!open) return;
  const { node, back, at } = open;
  const box = back.getBoundingClientRect();
  const { offsetWidth, offsetHeight: height } = node;
  const x = at ? at.x : box.left;
  const below = at ? at.y : box.bottom + 4;
  const y = below + height + EDGE > innerHeight ? (at ? at.y : box.top - 4) - height : below;
  node.style.left = `${Math.max(EDGE, Math.min(x, innerWidth - offsetWidth - EDGE))}px`;
  node.style.top = `${Math.max(EDGE, y)}px`;
}

const notes = el("div", { class: "notes", role: "status", "aria-live": "polite" });

/**
 * A word that goes by itself.
 * @param {string} text
 * @param {boolean} [bad]
 */
export function note(text, bad = false) {
  if (!notes.isConnected) document.body.append(notes);
  fill(notes, el("p", { class: bad && "bad" }, text));
  clearTimeout(/** @type {any} */ (note).timer);
  /** @type {any} */ (note).timer = setTimeout(() => fill(notes), bad ? 6000 : 3000);
}

/**
 * A question in a window of its own, its first field ready to be written over; resolves with its fields, null when it was left.
 * @param {string} title
 * @param {any[]} fields nodes, inputs among them with a name
 * @param {string} does what the button says
 * @returns {Promise<Record<string, string> | null>}
 */
export function ask(title, fields, does) {
  return new Promise((resolve) => {
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", {}, title),
      fields,
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "button", class: "plain", on: { click: () => dialog.close() } }, "Cancel"),
        el("button", { type: "submit", class: "primary", value: "yes" }, does),
      ),
    );
    const dialog = /** @type {HTMLDialogElement} */ (el("dialog", { class: "ask", "aria-label": title }, form));
    dialog.addEventListener("close", () => {
      const values = Object.fromEntries(new FormData(form));
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? /** @type {Record<string, string>} */ (values) : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    form.querySelector("input")?.select();
  });
}

/**
 * @param {string} label
 * @param {Record<string, any>} input
 */
export const field = (label, input) => el("label", { class: "field" }, el("span", {}, label), el("input", { type: "text", autocomplete: "off", ...input }));
