/** One person's thread: separators of days, bubbles, the typing bubble; keeps its place and its focus. */

import { contentOf, emptyBubble, fillBubble, isOwn, showState } from "./bubble.js";
import { day } from "./clock.js";
import { el, settle } from "./dom.js";
import { speaker } from "./formatting.js";
import { icon } from "./icons.js";
import { closeMenu, note, openMenu } from "./menu.js";

/** How many messages are shown at first, and how many more at a time. */
const STEP = 120;
const NEAR_PX = 80;
const SWIPE_PX = 56;
const LONG_PRESS_MS = 450;

/**
 * @typedef {object} Wishes what the thread asks of the page
 * @property {(message: import("./world.js").Message) => void} reply
 * @property {(message: import("./world.js").Message) => void} look
 * @property {(text: string) => void} say
 * @property {() => void} seen
 */

export class Thread {
  /**
   * @param {import("./world.js").World} world
   * @param {import("./world.js").Person} person
   * @param {Wishes} wishes
   */
  constructor(world, person, wishes) {
    this.world = world;
    this.person = person;
    this.wishes = wishes;
    this.shown = STEP;
    this.newest = "";
    this.unread = 0;
    /** @type {Map<string, HTMLElement>} */
    this.nodes = new Map();
    /** @type {Map<string, { from: string, content: string }>} what a bubble was made from */
    this.made = new Map();
    this.list = el("div", { class: "log", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": `Chat of ${person.name}` });
    this.typing = el("div", { class: "row theirs first typing", "aria-hidden": "true" }, el("span", { class: "face shown" }, icon("chats", 15)), el("div", { class: "bubble" }, el("i"), el("i"), el("i")));
    this.count = el("span", { class: "badge" });
    this.jump = el("button", { type: "button", class: "jump", hidden: true, "aria-label": "To the newest message", on: { click: () => this.toBottom(true) } }, icon("down", 22), this.count);
    this.scroller = el("div", { class: "scroller", tabindex: -1 }, this.list);
    this.node = el("div", { class: "thread" }, this.scroller, this.jump);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#listen();
    this.stuck = true;
    this.top = 0;
    this.away = false;
    const size = new ResizeObserver(() => {
      if (this.#isAway()) return;
      if (this.stuck) this.toBottom();
      this.#scrolled();
    });
    size.observe(this.scroller);
    size.observe(this.list);
  }

  get atBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  /** Whether it is hidden or out of the page. There it has no height and forgets where the reader was: once back, that is made good. */
  #isAway() {
    if (!this.scroller.clientHeight) this.away = true;
    else if (this.away) {
      this.away = false;
      if (!this.stuck) this.scroller.scrollTop = this.top;
    }
    return this.away;
  }

  /** @param {boolean} [smooth] */
  toBottom(smooth = false) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
    this.stuck = true;
  }

  /** Shows what the world holds now. */
  sync() {
    const all = this.world.thread(this.person.person);
    const rows = all.slice(-this.shown);
    this.#isAway();
    const wasStuck = this.stuck;
    settle(this.list, this.#places(rows, all.length > rows.length));
    this.#forget(rows);
    this.#tabStop();
    const newest = rows.at(-1);
    const fresh = newest && newest.sid !== this.newest;
    if (wasStuck) this.toBottom();
    else if (fresh && this.newest && !isOwn(newest)) this.unread += 1;
    this.newest = newest?.sid ?? "";
    this.#scrolled();
  }

  /**
   * @param {import("./world.js").Message[]} rows
   * @param {boolean} more
   * @returns {Node[]}
   */
  #places(rows, more) {
    const places = [];
    if (more) places.push(this.#part("more", () => el("button", { type: "button", class: "earlier", on: { click: () => this.#earlier() } }, "Show earlier messages")));
    else places.push(this.#part("notice", notice));
    if (!rows.length && this.world.loaded) places.push(this.#part("hello", () => this.#hello()));
    let date = "";
    let side = "";
    let speech = /** @type {import("./formatting.js").Speech | null} */ (null);
    for (const message of rows) {
      const today = day(message.created_at);
      if (today !== date) {
        date = today;
        side = "";
        places.push(this.#part(`day ${today}`, () => el("div", { class: "day", role: "separator", "aria-label": today }, el("span", {}, today))));
      }
      const own = isOwn(message);
      const said = own ? null : speaker(message.body);
      if (said) speech = said;
      const who = own ? "you" : (said ?? speech)?.name ?? "";
      places.push(this.#bubble(message, { first: side !== who, speech: own ? null : speech }));
      side = who;
    }
    if (this.world.typing.has(this.person.person)) places.push(this.typing);
    return places;
  }

  /**
   * @param {string} key
   * @param {() => HTMLElement} make
   */
  #part(key, make) {
    const node = this.nodes.get(key) ?? make();
    this.nodes.set(key, node);
    return node;
  }

  /**
   * @param {import("./world.js").Message} message
   * @param {import("./bubble.js").Series} series
   */
  #bubble(message, series) {
    const quoted = message.quoted_sid ? this.world.messages.get(message.quoted_sid) : undefined;
    const from = JSON.stringify([message, series.first, series.speech?.name, quoted?.body], shown);
    const node = this.#part(message.sid, () => emptyBubble(message.sid));
    const made = this.made.get(message.sid);
    if (made?.from === from) return node;
    const content = contentOf(message, series, quoted);
    this.made.set(message.sid, { from, content });
    if (made?.content === content) {
      showState(node, message);
      return node;
    }
    const selected = node.classList.contains("selected");
    fillBubble(node, message, series, quoted);
    node.classList.toggle("selected", selected);
    return node;
  }

  /** @param {import("./world.js").Message[]} rows */
  #forget(rows) {
    if (this.made.size <= rows.length) return;
    const kept = new Set(rows.map((m) => m.sid));
    for (const sid of this.made.keys()) {
      if (kept.has(sid)) continue;
      this.made.delete(sid);
      this.nodes.delete(sid);
    }
  }

  /** The Tab key leads to the newest bubble, unless somebody is among the bubbles already. */
  #tabStop() {
    const rows = this.#rows();
    if (rows.some((row) => row === document.activeElement)) return;
    for (const row of rows) row.tabIndex = row === rows.at(-1) ? 0 : -1;
  }

  /** @returns {HTMLElement[]} */
  #rows() {
    return [...this.list.querySelectorAll(".row[data-sid]")];
  }

  #hello() {
    const tries = ["Who knows about music?", "I need a good book for the train", "All of you, say hi!"];
    return el(
      "div",
      { class: "hello" },
      el("p", {}, el("b", {}, "Say hello."), " Try one of these, or write what you like:"),
      tries.map((text) => el("button", { type: "button", class: "suggestion", on: { click: () => this.wishes.say(text) } }, text)),
    );
  }

  #earlier() {
    const { scrollHeight, scrollTop } = this.scroller;
    this.shown += STEP;
    this.sync();
    this.scroller.scrollTop = scrollTop + this.scroller.scrollHeight - scrollHeight;
  }

  /** Whoever scrolls up stays there; what only grew above or below the window does not unstick it. */
  #scrolled() {
    if (this.#isAway()) return;
    if (this.atBottom) this.stuck = true;
    else if (this.scroller.scrollTop < this.top - 2) this.stuck = false;
    this.top = this.scroller.scrollTop;
    if (this.stuck) {
      this.unread = 0;
      this.wishes.seen();
    }
    this.jump.hidden = this.stuck;
    this.count.hidden = !this.unread;
    this.count.textContent = String(this.unread);
  }

  /**
   * Shows which bubble the panel speaks of.
   * @param {string} sid
   */
  select(sid) {
    for (const row of this.list.querySelectorAll(".row.selected")) row.classList.remove("selected");
    const node = this.nodes.get(sid);
    node?.classList.add("selected");
  }

  /** @param {string} sid */
  reveal(sid) {
    while (!this.nodes.has(sid) && this.shown < this.world.thread(this.person.person).length) this.#earlier();
    const node = this.nodes.get(sid);
    if (!node) return;
    this.stuck = false;
    node.scrollIntoView({ block: "center" });
    node.classList.add("flash");
    node.focus({ preventScroll: true });
    setTimeout(() => node.classList.remove("flash"), 1200);
  }

  /** @param {EventTarget | null} target */
  #of(target) {
    const row = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest?.(".row[data-sid]"));
    const message = row && this.world.messages.get(row.dataset.sid ?? "");
    return row && message ? { row, message } : null;
  }

  #listen() {
    this.list.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#clicked(event));
    this.list.addEventListener("dblclick", (/** @type {MouseEvent} */ event) => {
      const found = this.#of(event.target);
      if (found && /** @type {Element} */ (event.target).closest(".row") === event.target) this.wishes.reply(found.message);
    });
    this.list.addEventListener("contextmenu", (/** @type {MouseEvent} */ event) => {
      const found = this.#of(event.target);
      if (!found || /** @type {Element} */ (event.target).closest("a")) return;
      event.preventDefault();
      this.#menu(found.row, found.message, { x: event.clientX, y: event.clientY });
    });
    this.list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#pressed(event));
    this.list.addEventListener("focusin", (/** @type {FocusEvent} */ event) => {
      const found = this.#of(event.target);
      if (found?.row === event.target) for (const row of this.#rows()) row.tabIndex = row === found.row ? 0 : -1;
    });
    this.#touch();
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const found = this.#of(event.target);
    if (!found) return;
    const target = /** @type {Element} */ (event.target);
    const act = /** @type {HTMLElement | null} */ (target.closest("[data-act]"))?.dataset.act;
    const to = /** @type {HTMLElement | null} */ (target.closest("[data-to]"))?.dataset.to;
    if (act === "retry") this.world.send(found.message);
    else if (act === "discard") this.world.discard(found.message);
    else if (to) this.reveal(to);
    else if (target.closest(".more")) this.#menu(found.row, found.message, undefined, /** @type {HTMLElement} */ (target.closest(".more")));
    else if (target.closest(".look")) this.wishes.look(found.message);
    else if (target.closest(".bubble") && !target.closest("a, button") && getSelection()?.isCollapsed && matchMedia("(hover: hover)").matches) {
      found.row.focus({ preventScroll: true });
      this.wishes.look(found.message);
    }
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const found = this.#of(event.target);
    if (!found || found.row !== event.target) return;
    const rows = this.#rows();
    const at = rows.indexOf(found.row);
    const moves = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: rows.length - 1 };
    if (event.key === "ContextMenu" || (event.shiftKey && event.key === "F10")) this.#menu(found.row, found.message);
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key in moves) {
      const next = Math.max(0, Math.min(rows.length - 1, moves[/** @type {keyof typeof moves} */ (event.key)]));
      rows[next].focus();
      rows[next].scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" || event.key === " ") this.wishes.look(found.message);
    else if (event.key === "r") this.wishes.reply(found.message);
    else if (event.key === "m") this.#menu(found.row, found.message);
    else return;
    event.preventDefault();
  }

  /**
   * @param {HTMLElement} row
   * @param {import("./world.js").Message} message
   * @param {{ x: number, y: number }} [at]
   * @param {HTMLElement} [anchor]
   */
  #menu(row, message, at, anchor) {
    closeMenu({ focus: false });
    const bubble = /** @type {HTMLElement} */ (row.querySelector(".bubble"));
    const box = bubble.getBoundingClientRect();
    const where = at ?? (anchor ? undefined : { x: box.left + 12, y: box.top + 28 });
    const sent = isOwn(message) && !message.pending;
    openMenu(
      anchor ?? row,
      [
        { label: "Reply", icon: "reply", key: "R", act: () => this.wishes.reply(message) },
        this.world.messages.has(message.quoted_sid) ? { label: "Go to the quoted message", icon: "quoted", act: () => this.reveal(message.quoted_sid) } : null,
        { label: "Behind the chat", icon: "behind", key: "Enter", act: () => this.wishes.look(message) },
        message.body ? { label: "Copy text", icon: "copy", act: () => copied(message.body) } : null,
        sent ? { label: "Deliver the same webhook again", icon: "again", act: () => this.#repeat(message) } : null,
      ],
      where,
    );
  }

  /** @param {import("./world.js").Message} message */
  async #repeat(message) {
    try {
      await this.world.repeat(message);
      note("Delivered again: the bot must not answer it twice.");
    } catch (error) {
      note(/** @type {Error} */ (error).message, true);
    }
  }

  /** Swipe to the right answers, a long press opens the menu. */
  #touch() {
    /** @type {{ pointer: number, x: number, y: number, row: HTMLElement, message: any, timer: any, moved: number } | null} */
    let hold = null;
    const end = () => {
      if (!hold) return;
      clearTimeout(hold.timer);
      hold.row.style.transform = "";
      if (hold.moved >= SWIPE_PX) this.wishes.reply(hold.message);
      hold = null;
    };
    const cancel = () => {
      if (hold) hold.moved = 0;
      end();
    };
    this.list.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      cancel(); // a second finger means something else
      const found = event.pointerType === "touch" && event.isPrimary ? this.#of(event.target) : null;
      if (!found) return;
      const menu = () => {
        cancel();
        this.#menu(found.row, found.message, { x: event.clientX, y: event.clientY });
      };
      hold = { pointer: event.pointerId, x: event.clientX, y: event.clientY, ...found, timer: setTimeout(menu, LONG_PRESS_MS), moved: 0 };
    });
    this.list.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (hold?.pointer !== event.pointerId) return;
      const across = event.clientX - hold.x;
      if (Math.abs(event.clientY - hold.y) > 12 && hold.moved < 12) {
        end();
        return;
      }
      if (Math.abs(across) > 8) clearTimeout(hold.timer);
      hold.moved = across;
      hold.row.style.transform = across > 0 ? `translateX(${Math.min(across, SWIPE_PX + 12)}px)` : "";
    });
    this.list.addEventListener("pointerup", end);
    this.list.addEventListener("pointercancel", cancel);
  }
}

/**
 * Leaves out what is posted again: a file of 16 MB would be written out at every look.
 * @param {string} name
 * @param {unknown} value
 */
const shown = (name, value) => (name === "letter" ? undefined : value);

function notice() {
  return el("div", { class: "notice" }, icon("simulated", 14), el("span", {}, "This chat is simulated. Nothing here reaches WhatsApp, Twilio or a real phone."));
}

/** @param {string} text */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    note("Copied.");
  } catch {
    note("The browser does not let this page copy.", true);
  }
}
