/** Fault documents: which knobs are in force, what else is, and the document that comes of a choice. */

/** @typedef {Record<string, any>} Doc */

/** What stands in a document without doing anything by itself: it goes with one fault, with all of its section, or with none. */
/** @type {Record<string, string>} */
const OF_ONE = { rate: "status", retry_after: "status", code: "status", slow_rate: "slow_ms", delay_rate: "delay_ms", undelivered_rate: "undelivered_code", undelivered_after_sent: "undelivered_code", trickle_ms: "trickle", flag_category: "flag_next" };
const OF_ALL = new Set(["count", "calls", "models"]);
const OF_NONE = new Set(["seed", "status_delays_ms"]);
/** What `count` does not bound. */
const ENDLESS = new Set(["flag_next", "undelivered_code", "opted_out", "enforce_window", "latency_ms", "api_key", "unsupported_parameter", "unsupported_value"]);

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
 * Returns a path's section, with the dot after it, and its own name.
 * @param {string} path
 * @returns {[string, string]}
 */
function parts(path) {
  const cut = path.lastIndexOf(".") + 1;
  return [path.slice(0, cut), path.slice(cut)];
}

/** @param {string} path */
function neutral(path) {
  const name = parts(path)[1];
  return name in OF_ONE || OF_ALL.has(name) || OF_NONE.has(name);
}

/**
 * Whether a fault befell as many calls as it was to.
 * @param {Doc} doc
 * @param {string} path
 */
function spent(doc, path) {
  const [section, name] = parts(path);
  return !ENDLESS.has(name) && at(doc, `${section}count`) === 0;
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
    return same(now, value) && !spent(doc, path);
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
    const something = Array.isArray(value) ? value.length : value;
    return something && !neutral(path) && !known.has(path) && !spent(doc, path);
  });
}

/**
 * Returns the document of these knobs and of what else was set. What stays in force keeps what goes with it: how often
 * it happens, how many calls and which ones it befalls. A call set that, no knob knows it, and left out it would be "always".
 * @param {any[]} knobs
 * @param {[string, any][]} others
 * @param {Doc} now the one in force
 */
export function documentOf(knobs, others, now) {
  const paths = (/** @type {any[]} */ some) => some.flatMap((knob) => leaves(knob.faults).map(([path]) => path));
  const taken = new Set(paths(knobs.filter((knob) => !isOn(knob, now))));
  const stays = new Set([...others.map(([path]) => path), ...paths(knobs)].filter((path) => !taken.has(path) && !neutral(path)));
  let doc = /** @type {Doc} */ ({});
  for (const [path, value] of [...others, ...leaves(now).filter((leaf) => goesWith(leaf, stays))]) set(doc, path, value);
  for (const knob of knobs) doc = merge(doc, knob.faults);
  return doc;
}

/**
 * @param {[string, any]} leaf
 * @param {Set<string>} stays the faults that stay in force
 */
function goesWith([path, value], stays) {
  const [section, name] = parts(path);
  if (OF_NONE.has(name)) return true;
  // Of a rate that was never given, the simulator says 1 as well, but does not treat it so beside `accept_then_status`.
  if (value === null || (name === "count" && !value) || (name === "rate" && value === 1)) return false;
  if (OF_ALL.has(name)) return [...stays].some((other) => parts(other)[0] === section);
  return name in OF_ONE && stays.has(section + OF_ONE[name]);
}
