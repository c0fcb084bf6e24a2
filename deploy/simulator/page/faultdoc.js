/** Fault documents: which knobs are in force, what else is, and the document that comes of a choice. */

/** @typedef {Record<string, any>} Doc */

/** What stands in a document without doing anything by itself. */
const NEUTRAL = new Set(["seed", "rate", "slow_rate", "delay_rate", "undelivered_rate", "trickle_ms", "flag_category", "status_delays_ms", "count", "calls", "retry_after", "models", "code", "undelivered_after_sent"]);

/**
 * Returns [path, value] of everything that is no section.
 * @param {Doc} doc
 * @param {string} [before]
 * @returns {[string, any][]}
 */
export function leaves(doc, before = "") {
  return Object.entries(doc).flatMap(([key, value]) =>
    value && typeof value === "object" && !Array.isArray(value) ? leaves(value, `${before}${key}.`) : [/** @type {[string, any]} */ ([`${before}${key}`, value])],
  );
}

/**
 * @param {Doc} doc
 * @param {string} path
 */
export function at(doc, path) {
  return path.split(".").reduce((value, key) => value?.[key], /** @type {any} */ (doc));
}

/**
 * @param {Doc} into
 * @param {Doc} from
 * @returns {Doc}
 */
export function merge(into, from) {
  const all = structuredClone(into);
  for (const [path, value] of leaves(from)) set(all, path, value);
  return all;
}

/**
 * @param {Doc} doc
 * @param {string} path
 * @param {any} value
 */
function set(doc, path, value) {
  const keys = path.split(".");
  const last = /** @type {string} */ (keys.pop());
  let place = doc;
  for (const key of keys) place = place[key] ??= {};
  place[last] = value;
}

/**
 * Whether all that a knob asks for is in force and not used up.
 * @param {any} knob
 * @param {Doc} doc the one in force
 */
export function isOn(knob, doc) {
  return leaves(knob.faults).every(([path, value]) => {
    const now = at(doc, path);
    if (/(^|\.)(count|flag_next)$/u.test(path)) return now === null ? value === null : now > 0;
    return same(now, value);
  });
}

/**
 * @param {any} a
 * @param {any} b
 */
function same(a, b) {
  const list = (/** @type {any} */ v) => JSON.stringify(Array.isArray(v) ? v : [v]);
  if (typeof b === "boolean" && typeof a === "number") return a === Number(b);
  return list(a) === list(b);
}

/**
 * Returns what is in force that no knob speaks of: somebody set it by a call.
 * @param {Doc} doc
 * @param {any[]} on the knobs that are on
 * @returns {[string, any][]}
 */
export function foreign(doc, on) {
  const known = new Set(on.flatMap((knob) => leaves(knob.faults).map(([path]) => path)));
  return leaves(doc).filter(([path, value]) => {
    const name = path.split(".").at(-1) ?? "";
    const something = Array.isArray(value) ? value.length : value;
    return something && !NEUTRAL.has(name) && !known.has(path);
  });
}

/**
 * Returns the document of these knobs and of what else was set.
 * @param {any[]} knobs
 * @param {[string, any][]} others
 */
export function documentOf(knobs, others) {
  let doc = /** @type {Doc} */ ({});
  for (const [path, value] of others) set(doc, path, value);
  for (const knob of knobs) doc = merge(doc, knob.faults);
  return doc;
}
