/** Builds DOM nodes by hand: texts only ever become text nodes, never markup. */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Props */

/**
 * Returns an element. `on` holds listeners, `data` data attributes, `class` may be a list; true is an empty attribute,
 * false, null and undefined leave one out.
 * @param {string} tag
 * @param {Props} [props]
 * @param {...any} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "class") node.className = Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
    else if (name === "value") /** @type {any} */ (node).value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

/**
 * @param {Node} parent
 * @param {any[]} children nested as they like
 */
export function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Puts other children in place of all that are there.
 * @param {Element} parent
 * @param {...any} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Makes these the children. Those that stay are not taken out meanwhile: what is taken out loses its focus, its place in
 * what scrolls, its sound, and the click that was begun on it.
 * @param {Element} parent
 * @param {Node[]} nodes
 */
export function settle(parent, nodes) {
  const stay = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!stay.has(child)) child.remove();
  let before = parent.firstChild;
  for (const node of nodes) {
    if (node === before) before = before.nextSibling;
    else parent.insertBefore(node, before);
  }
}

/**
 * Does what may take a button away that has the focus; then its neighbour has it.
 * @param {HTMLElement} parent
 * @param {() => void} change
 * @param {() => void} none called when no neighbour is left
 */
export function keepFocus(parent, change, none) {
  const buttons = () => [...parent.querySelectorAll("button")];
  const at = buttons().indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  change();
  if (at < 0 || parent.contains(document.activeElement)) return;
  const left = buttons();
  if (left.length) left[Math.min(at, left.length - 1)].focus({ preventScroll: true });
  else none();
}

/**
 * Whether a key is one of an input method, as for Chinese. In Safari the Enter that ends a composition comes after its
 * end and is told by its code only.
 * @param {KeyboardEvent} event
 */
export const composing = (event) => event.isComposing || event.keyCode === 229;

/**
 * A list or toolbar that is one stop of the Tab key: the arrow keys move inside, Home and End to its ends.
 * @param {HTMLElement} list
 * @param {string} selector what can have the focus
 * @param {{ horizontal?: boolean }} [options]
 */
export function rove(list, selector, { horizontal = false } = {}) {
  const [back, forth] = horizontal ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
  const stops = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll(selector)]).filter((n) => !n.hidden);
  list.addEventListener("keydown", (event) => {
    const all = stops();
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = { [back]: at - 1, [forth]: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, next))]?.focus();
  });
  list.addEventListener("focusin", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!target.matches(selector)) return;
    for (const node of stops()) node.tabIndex = node === target ? 0 : -1;
  });
}
