/** Times and dates as WhatsApp writes them, in the browser's own language. */

/** Not hour12: false, by which some browsers count the hour after midnight as 24. */
const hourCycle = "h23";
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle });
const EXACT = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle,
});
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const DAY_MS = 86_400_000;

/** @param {string | number} at */
export const time = (at) => TIME.format(new Date(at));

/** @param {string | number} at */
export const exact = (at) => EXACT.format(new Date(at));

/** @param {string | number} at */
export function day(at) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const then = new Date(at).setHours(0, 0, 0, 0);
  const days = Math.round((midnight - then) / DAY_MS);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? WEEKDAY.format(then) : DATE.format(then);
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 0.05) return "0 ms";
  if (ms < 0.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** @param {number} seconds */
export function minutes(seconds) {
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
