/** A small choice of emoji beside the writing field; the newest ones first. */

import { el } from "./dom.js";
import { keep, recall } from "./memory.js";
import { closeMenu, show } from "./menu.js";

const GROUPS = {
  Faces: "😀 😃 😄 😁 😅 😂 🙂 😉 😊 😍 😘 😎 🤔 🤗 😴 😢 😭 😡 😱 🥳 🥺 😇 🙃 🫠",
  "People and hands": "👍 👎 👏 🙏 👋 💪 🤝 ✌️ 🤞 👀 🫶 🙌 🤷 🤦 💃 🧑‍💻",
  Things: "❤️ 💔 🔥 ✨ 🎉 🎵 🎧 🎸 📚 📖 ✍️ 🎮 📺 📷 🎬 🌸 🌈 ☀️ 🌙 ☕ 🍕 🍰 🚀 🏳️‍🌈 🇯🇵 🇧🇷",
};
const COLUMNS = 8;
const RECENT = 8;

/**
 * @param {HTMLElement} anchor
 * @param {(emoji: string) => void} take
 */
export function chooseEmoji(anchor, take) {
  const recent = recall("emoji", /** @type {string[]} */ ([]));
  const groups = { ...(recent.length ? { "Used last": recent.join(" ") } : {}), ...GROUPS };
  const panel = el(
    "div",
    { class: "emoji-panel", role: "dialog", "aria-label": "Emoji" },
    Object.entries(groups).map(([name, all]) => [
      el("p", { class: "emoji-group" }, name),
      el("div", { class: "emoji-grid" }, all.split(" ").map((each) => el("button", { type: "button", class: "emoji", tabindex: -1, data: { emoji: each } }, each))),
    ]),
  );
  const stops = /** @type {HTMLElement[]} */ ([...panel.querySelectorAll(".emoji")]);
  if (stops[0]) stops[0].tabIndex = 0;
  panel.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const emoji = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".emoji"))?.dataset.emoji;
    if (!emoji) return;
    keep("emoji", [emoji, ...recent.filter((e) => e !== emoji)].slice(0, RECENT));
    closeMenu({ focus: false });
    take(emoji);
  });
  panel.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const at = stops.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(stops.length - 1, at + step));
    stops[at].tabIndex = -1;
    stops[next].tabIndex = 0;
    stops[next].focus();
  });
  show(panel, anchor);
}
