/** What can be sent beside text: a picture, a sound, any file, a place, a tapped button. */

import { sizeOf } from "./attachment.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { ask, field, note, openMenu } from "./menu.js";

/** WhatsApp's own limit for what comes in through Twilio. */
const LARGEST_BYTES = 16_000_000;
const PLACES = [
  { label: "Café am See", address: "Uferweg 3, Konstanz", latitude: "47.6603", longitude: "9.1758" },
  { label: "Shibuya Crossing", address: "Tokyo", latitude: "35.6595", longitude: "139.7005" },
  { label: "Parque Ibirapuera", address: "São Paulo", latitude: "-23.5874", longitude: "-46.6576" },
];

/** @typedef {(content: Record<string, any>, previews?: string[]) => void} Send */

/**
 * @param {HTMLElement} anchor
 * @param {Send} send
 */
export function openAttach(anchor, send) {
  openMenu(anchor, [
    { label: "Photo", icon: "image", act: () => pick("image/*", send) },
    { label: "Voice note from a file", icon: "mic", act: () => pick("audio/*", send) },
    { label: "Any file", icon: "file", act: () => pick("", send) },
    { label: "Location", icon: "place", act: () => location(send) },
    { label: "Tap on a button", icon: "tap", act: () => tap(send) },
  ]);
}

/**
 * @param {string} accept
 * @param {Send} send
 */
function pick(accept, send) {
  const input = el("input", { type: "file", accept, class: "file-choice", tabindex: -1, "aria-hidden": "true" });
  input.addEventListener("change", () => {
    input.remove();
    if (input.files?.[0]) sendFile(input.files[0], send);
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

/**
 * Sends a sound at once; all else is shown first, and may get a caption.
 * @param {Blob} file
 * @param {Send} send
 */
export async function sendFile(file, send) {
  if (file.size > LARGEST_BYTES) {
    note("That is larger than WhatsApp takes: 16 MB.", true);
    return;
  }
  if (!file.size) {
    note("That file is empty.", true);
    return;
  }
  const type = (file.type || "application/octet-stream").replace(/;\s*/u, "; ");
  const shown = URL.createObjectURL(file);
  const caption = type.startsWith("audio/") ? "" : await captionOf(file, shown);
  if (caption === null) {
    URL.revokeObjectURL(shown);
    return;
  }
  const media = [{ content_type: type, data_base64: await base64(file) }];
  send(caption ? { media, body: caption } : { media }, [shown]);
}

/**
 * Returns what shall stand under it, null when it shall not be sent.
 * @param {Blob} file
 * @param {string} shown where the browser finds it
 */
async function captionOf(file, shown) {
  const picture = file.type.startsWith("image/");
  const name = file instanceof File ? file.name : "";
  const look = picture
    ? el("img", { class: "preview", src: shown, alt: name || "The picture" })
    : el("p", { class: "preview file" }, icon("file", 26), el("span", {}, el("b", { dir: "auto" }, name || "A file"), el("small", {}, sizeOf(file.size))));
  const given = await ask(picture ? "Send photo" : "Send file", [look, field("Caption", { name: "caption", placeholder: "Add a caption", maxlength: 1024, dir: "auto" })], "Send");
  return given && given.caption.trim();
}

/**
 * @param {Blob} file
 * @returns {Promise<string>}
 */
function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(String(reader.result).split(",")[1] ?? ""));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

/** @param {Send} send */
async function location(send) {
  const inputs = {
    label: field("Name", { name: "label", value: PLACES[0].label }),
    address: field("Address", { name: "address", value: PLACES[0].address }),
    latitude: field("Latitude", { name: "latitude", type: "number", step: "any", min: -90, max: 90, required: true, value: PLACES[0].latitude }),
    longitude: field("Longitude", { name: "longitude", type: "number", step: "any", min: -180, max: 180, required: true, value: PLACES[0].longitude }),
  };
  const choose = (/** @type {Record<string, string>} */ place) => {
    for (const [name, label] of Object.entries(inputs)) label.querySelector("input").value = place[name];
  };
  const ready = el("div", { class: "ready" }, PLACES.map((p) => el("button", { type: "button", class: "chip", on: { click: () => choose(p) } }, p.label)));
  const given = await ask("Share a location", [ready, inputs.label, inputs.address, el("div", { class: "pair" }, inputs.latitude, inputs.longitude)], "Send");
  if (given) send({ location: { ...given, latitude: Number(given.latitude), longitude: Number(given.longitude) } });
}

/** @param {Send} send */
async function tap(send) {
  const given = await ask(
    "Tap on a quick-reply button",
    [
      field("What the button says", { name: "text", required: true, value: "Yes, please", maxlength: 25 }),
      field("Its payload (empty: the same)", { name: "payload", placeholder: "yes", maxlength: 256 }),
    ],
    "Tap",
  );
  if (given) send({ button: { text: given.text, payload: given.payload || given.text } });
}
