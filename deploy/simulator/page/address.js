/** Where the page is, kept behind the # of its address, so that a reload and a link lead to the same place. */

/** @typedef {{ view: "chats" | "lab", panel: "" | "behind" | "knobs", tab: string, person: string, message: string }} Place */

/** @type {Place} */
const START = { view: "chats", panel: "", tab: "timeline", person: "", message: "" };

/** @type {Set<(place: Place, before: Place) => void>} */
const listeners = new Set();
let place = read();

/** @returns {Place} */
function read() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const found = { ...START };
  for (const name of /** @type {(keyof Place)[]} */ (Object.keys(START))) {
    if (typeof given[name] === "string") /** @type {any} */ (found)[name] = given[name];
  }
  return found;
}

/** @returns {Place} */
export function here() {
  return place;
}

/**
 * Goes somewhere else; what is not named stays as it is.
 * @param {Partial<Place>} change
 */
export function go(change) {
  const before = place;
  place = { ...place, ...change };
  const kept = Object.entries(place).filter(([name, value]) => value && value !== START[/** @type {keyof Place} */ (name)]);
  const hash = new URLSearchParams(Object.fromEntries(kept)).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  for (const listener of listeners) listener(place, before);
}

/** @param {(place: Place, before: Place) => void} listener */
export function whenMoved(listener) {
  listeners.add(listener);
}

addEventListener("hashchange", () => {
  const before = place;
  place = read();
  for (const listener of listeners) listener(place, before);
});
