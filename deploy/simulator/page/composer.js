/** Where a person writes: several lines, emoji, attachments, a voice note, a quoted message; keeps its draft. */

import { openAttach, sendFile } from "./attach.js";
import { kindOf } from "./attachment.js";
import { isOwn } from "./bubble.js";
import { minutes } from "./clock.js";
import { composing, el, fill } from "./dom.js";
import { chooseEmoji } from "./emoji.js";
import { colour, plain, speaker } from "./formatting.js";
import { icon } from "./icons.js";
import { keep, recall } from "./memory.js";
import { note } from "./menu.js";
import { Recorder } from "./recorder.js";

const TALLEST_PX = 132;

export class Composer {
  /**
   * @param {import("./world.js").World} world
   * @param {import("./world.js").Person} person
   * @param {() => void} wrote
   */
  constructor(world, person, wrote) {
    this.world = world;
    this.person = person;
    this.wrote = wrote;
    this.writes = /** @type {boolean | null} */ (null);
    this.draft = `draft:${person.person}`;
    this.quoted = /** @type {import("./world.js").Message | null} */ (null);
    this.asking = false;
    this.field = el("textarea", { rows: 1, placeholder: "Type a message", "aria-label": `Message of ${person.name}`, dir: "auto", maxlength: 4096, value: recall(this.draft, "") });
    this.emoji = el("button", { type: "button", class: "round", "aria-label": "Emoji", title: "Emoji", "aria-haspopup": "dialog" }, icon("smile"));
    this.attach = el("button", { type: "button", class: "round", "aria-label": "Attach", title: "Attach", "aria-haspopup": "menu" }, icon("plus"));
    this.go = el("button", { type: "button", class: "round go" });
    this.above = el("div", { class: "above" });
    this.bar = el("div", { class: "bar" }, this.attach, el("div", { class: "writing" }, this.emoji, this.field), this.go);
    this.node = el("div", { class: "composer" }, this.above, this.bar);
    this.#listen();
    this.#grow();
    world.addEventListener("next", () => this.#showAbove());
    this.#showAbove();
  }

  focus() {
    this.field.focus();
  }

  /** @param {import("./world.js").Message} message */
  reply(message) {
    this.quoted = message;
    this.#showAbove();
    this.focus();
  }

  /** @param {string} text */
  say(text) {
    this.#send({ body: text });
    this.focus();
  }

  #listen() {
    this.field.addEventListener("input", () => {
      keep(this.draft, this.field.value || null);
      this.#grow();
    });
    this.field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (composing(event)) return;
      if (event.key === "Escape" && this.quoted) {
        event.stopPropagation();
        this.quoted = null;
        this.#showAbove();
      }
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      this.#submit();
    });
    this.field.addEventListener("paste", (/** @type {ClipboardEvent} */ event) => {
      const file = event.clipboardData?.files[0];
      if (!file) return;
      event.preventDefault();
      sendFile(file, (content, previews) => this.#send(content, previews));
    });
    this.emoji.addEventListener("click", () => chooseEmoji(this.emoji, (emoji) => this.#insert(emoji)));
    this.attach.addEventListener("click", () => openAttach(this.attach, (content, previews) => this.#attached(content, previews)));
    this.go.addEventListener("click", () => (this.field.value.trim() ? this.#submit() : this.#record()));
  }

  /** @param {string} text */
  #insert(text) {
    this.field.setRangeText(text, this.field.selectionStart, this.field.selectionEnd, "end");
    this.field.dispatchEvent(new Event("input"));
    this.focus();
  }

  #submit() {
    const body = this.field.value.trim();
    if (!body) return;
    this.field.value = "";
    keep(this.draft, null);
    this.#grow();
    this.#send({ body });
    this.focus();
  }

  /**
   * @param {Record<string, any>} content
   * @param {string[]} [previews]
   */
  #send(content, previews) {
    const quote = this.quoted ? { quoted_sid: this.quoted.sid } : {};
    this.quoted = null;
    this.world.write(this.person, { ...content, ...quote }, previews);
    this.#showAbove();
    this.wrote();
  }

  /**
   * @param {Record<string, any>} content
   * @param {string[]} [previews]
   */
  #attached(content, previews) {
    this.#send(content, previews);
    this.focus();
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, TALLEST_PX)}px`;
    const writes = Boolean(this.field.value.trim());
    if (this.writes === writes) return;
    this.writes = writes;
    const label = writes ? "Send" : "Record a voice note";
    fill(this.go, icon(writes ? "send" : "mic"));
    this.go.setAttribute("aria-label", label);
    this.go.title = label;
  }

  /** What stands over the field: the quoted message, and what the next message is treated to. */
  #showAbove() {
    const next = this.world.next;
    fill(this.above, this.quoted ? this.#quotation(this.quoted) : null, next ? this.#treated(next.label) : null);
  }

  /** @param {import("./world.js").Message} message */
  #quotation(message) {
    const speech = isOwn(message) ? null : speaker(message.body);
    const tone = isOwn(message) ? "name-you" : `name-${colour(speech?.name ?? "")}`;
    const drop = () => {
      this.quoted = null;
      this.#showAbove();
      this.focus();
    };
    return el(
      "div",
      { class: ["quote", tone] },
      el("b", { class: tone }, isOwn(message) ? "You" : speech ? `${speech.name} ${speech.emoji}` : "Reply"),
      el("span", { dir: "auto" }, plain(speech ? speech.rest : message.body) || kindOf(message)),
      el("button", { type: "button", class: "round small", "aria-label": "Do not quote", on: { click: drop } }, icon("close", 18)),
    );
  }

  /** @param {string} label */
  #treated(label) {
    return el(
      "div",
      { class: "treated" },
      icon("knobs", 16),
      el("span", {}, "Next message: ", el("b", {}, label)),
      el("button", { type: "button", class: "round small", "aria-label": "As usual instead", on: { click: () => this.world.prepare(null) } }, icon("close", 18)),
    );
  }

  async #record() {
    if (!Recorder.possible) {
      note("This browser cannot record here. Choose a file in the + menu instead.", true);
      return;
    }
    if (this.asking) return; // the browser's own question may stand for long
    const recorder = new Recorder();
    this.asking = true;
    try {
      await recorder.start(() => ended());
    } catch {
      recorder.cancel();
      note("No microphone, or not allowed. Choose a file in the + menu instead.", true);
      return;
    } finally {
      this.asking = false;
    }
    let state = "recording";
    const left = el("span", { class: "recorded", role: "timer" }, "0:00");
    const timer = setInterval(() => (left.textContent = minutes(recorder.seconds)), 250);
    const word = el("span", { class: "recording-word", role: "status" }, "Recording");
    const ended = () => {
      clearInterval(timer);
      left.textContent = minutes(recorder.seconds);
      fill(word, "No more is recorded");
      dot.remove();
    };
    const back = () => {
      state = "left";
      clearInterval(timer);
      recording.replaceWith(this.bar);
      this.focus();
    };
    const drop = () => {
      recorder.cancel();
      back();
    };
    const send = async () => {
      if (state !== "recording") return;
      state = "sending";
      fill(word, "Sending…");
      const sound = await recorder.stop().catch(() => null);
      if (state !== "sending") return; // discarded meanwhile
      back();
      if (sound) sendFile(sound, (content, previews) => this.#send(content, previews));
      else note("Nothing was recorded. Try again, or choose a file in the + menu.", true);
    };
    const stop = el("button", { type: "button", class: "round go", "aria-label": "Send the voice note", on: { click: send } }, icon("send"));
    const dot = el("span", { class: "dot", "aria-hidden": "true" });
    const escape = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      drop();
    };
    const recording = el(
      "div",
      { class: "bar recording", on: { keydown: escape } },
      el("button", { type: "button", class: "round", "aria-label": "Discard the recording", on: { click: drop } }, icon("trash")),
      dot,
      left,
      word,
      stop,
    );
    this.bar.replaceWith(recording);
    stop.focus();
  }
}
