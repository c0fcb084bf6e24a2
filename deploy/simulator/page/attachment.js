/** What a bubble carries beside text: a picture, a voice note, a place, a file, a tapped button. */

import { minutes } from "./clock.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {import("./world.js").Message} message
 * @returns {HTMLElement[]}
 */
export function attachments(message) {
  const found = message.media.map((media) => {
    const kind = media.content_type.split("/")[0];
    if (kind === "image") return picture(media);
    if (kind === "audio") return voice(media);
    return file(media);
  });
  if (message.location) found.push(place(message.location));
  if (message.button || message.button_text) {
    const payload = message.button && message.button !== message.button_text ? ` (${message.button})` : "";
    found.push(el("div", { class: "tapped" }, icon("tap", 14), `tapped a button${payload}`));
  }
  return found;
}

/** @param {import("./world.js").Media} media */
function picture(media) {
  const image = el("img", { src: media.href, alt: "Picture", loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(file(media)));
  return el("a", { class: "picture", href: media.href, target: "_blank", rel: "noopener" }, image);
}

/** @param {import("./world.js").Media} media */
function voice(media) {
  const sound = /** @type {HTMLAudioElement} */ (el("audio", { src: media.href, preload: "metadata" }));
  const button = el("button", { type: "button", class: "round play", "aria-label": "Play voice note" }, icon("play", 20));
  const done = el("span", { class: "voice-done" });
  const bars = el("span", { class: "voice-bars", "aria-hidden": "true" }, wave(media.sid), done);
  const left = el("span", { class: "voice-time" }, "0:00");
  const show = () => {
    const whole = Number.isFinite(sound.duration) ? sound.duration : 0;
    bars.style.setProperty("--done", `${whole ? (sound.currentTime / whole) * 100 : 0}%`);
    left.textContent = minutes(sound.paused && !sound.currentTime ? whole : sound.currentTime);
    fill(button, icon(sound.paused ? "play" : "pause", 20));
    button.setAttribute("aria-label", sound.paused ? "Play voice note" : "Pause voice note");
  };
  for (const event of ["loadedmetadata", "durationchange", "timeupdate", "play", "pause", "ended"]) sound.addEventListener(event, show);
  sound.addEventListener("error", () => {
    left.textContent = "cannot be played here";
    button.disabled = true;
  });
  button.addEventListener("click", (/** @type {Event} */ event) => {
    event.stopPropagation();
    if (sound.paused) sound.play().catch(() => {});
    else sound.pause();
  });
  return el("div", { class: "voice" }, el("span", { class: "voice-mic" }, icon("mic", 18)), button, el("div", { class: "voice-line" }, bars, left), sound);
}

/**
 * Bars whose heights follow from the id: a likeness of a wave, the same at every look.
 * @param {string} seed
 */
function wave(seed) {
  const bars = [];
  for (let index = 0; index < 30; index += 1) {
    const bar = el("i");
    bar.style.height = `${20 + ((seed.charCodeAt(2 + (index % 30)) || 48) * (index + 7) * 13) % 80}%`;
    bars.push(bar);
  }
  return bars;
}

/** @param {number} bytes */
export const sizeOf = (bytes) => (bytes < 1024 ? `${bytes} B` : `${Math.round(bytes / 1024)} kB`);

/** @param {import("./world.js").Media} media */
function file(media) {
  return el(
    "a",
    { class: "file", href: media.href, target: "_blank", rel: "noopener" },
    icon("file", 26),
    el("span", {}, el("b", {}, media.content_type.split(";")[0]), el("small", {}, sizeOf(media.bytes))),
  );
}

/** @param {{ latitude: string | number, longitude: string | number, label?: string, address?: string }} where */
function place(where) {
  const degrees = `${Number(where.latitude).toFixed(4)}, ${Number(where.longitude).toFixed(4)}`;
  return el(
    "div",
    { class: "place" },
    el("div", { class: "map", "aria-hidden": "true" }, icon("place", 30)),
    el("div", { class: "place-words" }, el("b", { dir: "auto" }, where.label || "Location"), el("small", { dir: "auto" }, where.address || degrees)),
  );
}

/**
 * Returns what a message is in one word, for previews of what has no text.
 * @param {import("./world.js").Message} message
 */
export function kindOf(message) {
  if (message.location) return "📍 Location";
  const type = message.media[0]?.content_type ?? "";
  if (type.startsWith("image/")) return "📷 Photo";
  if (type.startsWith("audio/")) return "🎤 Voice message";
  if (type.startsWith("video/")) return "🎬 Video";
  return type ? "📄 File" : "";
}
