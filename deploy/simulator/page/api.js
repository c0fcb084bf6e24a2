/** Calls to the simulator: JSON both ways, each with a time limit and an error that says what is wrong. */

const WITHIN_MS = 10_000;

/** An answer that is none: `status` 0 when nobody answered. */
export class Failed extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {number} [withinMs]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, withinMs = WITHIN_MS) {
  const options = { method, signal: AbortSignal.timeout(withinMs), headers: {}, body: undefined };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = /** @type {any} */ (JSON.stringify(body));
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new Failed(late ? "The simulator takes too long to answer." : "The simulator does not answer.", 0);
  }
  if (response.status === 204) return null;
  const text = await response.text();
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    if (response.ok) throw new Failed("The simulator's answer is no JSON.", response.status);
  }
  if (!response.ok) throw new Failed(value?.error ?? `The simulator answered ${response.status}.`, response.status);
  return value;
}

/** @param {string} path */
export const get = (path) => call("GET", path);

/**
 * @param {string} path
 * @param {unknown} body
 * @param {number} [withinMs]
 */
export const post = (path, body, withinMs) => call("POST", path, body, withinMs);

/**
 * @param {string} path
 * @param {unknown} body
 */
export const put = (path, body) => call("PUT", path, body);
