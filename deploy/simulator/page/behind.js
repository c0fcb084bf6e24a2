/** "Behind the chat": what the bot's own records say of one message, and its calls on the wire. */

import { get } from "./api.js";
import { kindOf } from "./attachment.js";
import { evidenceChips, ladder, scoreBars, surely, TIER_WORDS, titleOf } from "./bars.js";
import { isOwn } from "./bubble.js";
import { duration, exact, time } from "./clock.js";
import { meaning } from "./codes.js";
import { el, fill, settle } from "./dom.js";
import { plain } from "./formatting.js";
import { icon } from "./icons.js";
import { waterfall } from "./waterfall.js";
import { Wire } from "./wire.js";

const YOUNG_MS = 1_500;
/** Which calls the Wire tab shows. */
const SCOPES = { message: "This message", turn: "Its turn", chat: "This chat", all: "All" };
/** Why the bot has no record of a message. */
const LOST = new Map([
  ["refused", "Its webhook was not acknowledged, after all of Twilio's tries. The Wire tab shows each of them."],
  ["dropped", "Its webhook was lost on purpose. Catch-up finds it in Twilio's log within about 2 minutes, or at the next start of a worker."],
]);
const AGAIN_MS = [300, 700, 1500, 3000];
/** @type {Record<string, string>} */
const ENDINGS = {
  answered: "Answered",
  merged: "Answered together with a later message",
  refused: "Refused",
  failed: "Failed, a notice was sent",
  too_late: "Came too late to be answered",
};

export class Behind {
  /**
   * @param {import("./world.js").World} world
   * @param {{ tab: (name: string) => void, close: () => void, reveal: (sid: string) => void }} wishes
   */
  constructor(world, wishes) {
    this.world = world;
    this.wishes = wishes;
    this.sid = "";
    this.tab = "timeline";
    this.scope = "turn";
    /** @type {any} */
    this.found = null;
    this.problem = "";
    this.turn = 0;
    this.wire = new Wire();
    this.choice = el("div", { class: "choice", role: "group", "aria-label": "Which calls" });
    for (const [name, label] of Object.entries(SCOPES)) {
      const choose = () => {
        this.scope = name;
        this.#draw();
      };
      this.choice.append(el("button", { type: "button", data: { scope: name }, on: { click: choose } }, label));
    }
    this.events = noEvents();
    this.subject = el("div", { class: "subject" });
    this.content = el("div", { class: "panel-body", id: "behind-content", role: "tabpanel", tabindex: 0 });
    this.tabs = { timeline: this.#tab("timeline", "Timeline"), wire: this.#tab("wire", "Wire") };
    const bar = el("div", { class: "tabs", role: "tablist", "aria-label": "Behind the chat" }, Object.values(this.tabs));
    bar.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = this.tab === "timeline" ? "wire" : "timeline";
      wishes.tab(other);
      this.tabs[other].focus();
    });
    this.node = el(
      "aside",
      { class: "panel behind", id: "panel", tabindex: -1, "aria-label": "Behind the chat" },
      el("div", { class: "panel-head" }, el("h2", {}, "Behind the chat"), el("button", { type: "button", class: "round", "aria-label": "Close", on: { click: wishes.close } }, icon("close"))),
      this.subject,
      bar,
      this.content,
    );
  }

  /**
   * @param {string} name
   * @param {string} label
   */
  #tab(name, label) {
    return el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "behind-content", on: { click: () => this.wishes.tab(name) } }, label);
  }

  /**
   * @param {string} sid
   * @param {string} tab
   */
  show(sid, tab) {
    const other = sid !== this.sid;
    this.tab = tab === "wire" ? "wire" : "timeline";
    for (const [name, node] of Object.entries(this.tabs)) {
      node.setAttribute("aria-selected", String(name === this.tab));
      node.tabIndex = name === this.tab ? 0 : -1;
    }
    this.content.setAttribute("aria-labelledby", `tab-${this.tab}`);
    if (other) {
      this.sid = sid;
      this.found = null;
      this.problem = "";
      this.events = noEvents();
    }
    this.#draw();
    if (other && sid) this.#readSoon();
  }

  /** A message that just came in is not stored yet: asking too early would only be told that nothing bears its id. */
  #readSoon() {
    clearTimeout(this.later);
    clearTimeout(this.soon);
    const message = this.world.messages.get(this.sid);
    const known = this.world.calls.some((c) => c.about === this.sid && c.direction === "in");
    if (!message || message.pending || (LOST.has(message.carried ?? "") && !known)) {
      this.#draw();
      return;
    }
    const young = isOwn(message) && Date.now() + this.world.events.ahead - Date.parse(message.created_at) < YOUNG_MS;
    if (young && !known) this.soon = setTimeout(() => this.read(), YOUNG_MS);
    else this.read();
  }

  /**
   * Something happened; if it can concern the message, its records are read again a moment later.
   * @param {string} person "" where it may concern anybody
   */
  stir(person) {
    const message = this.world.messages.get(this.sid);
    if (!this.node.isConnected || (message && person && message.person !== person)) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.#readSoon(), 250);
  }

  /** @param {import("./world.js").Call} call one that was just made */
  called(call) {
    if (call.person) this.stir(call.person);
    if (this.tab !== "wire" || this.scope !== "all" || !this.node.isConnected) return;
    this.drawing ??= setTimeout(() => {
      this.drawing = undefined;
      this.#draw();
    }, 250);
  }

  /** Reads the records; while the bot has not stored the message it asks again a few times. */
  async read(tries = 0) {
    const turn = (this.turn += 1);
    const sid = this.sid;
    clearTimeout(this.later);
    let again = false;
    let found = null;
    let problem = "";
    try {
      found = await get(`/simulator/inspect/timeline/${sid}`);
      again = !found.facts?.ending;
    } catch (error) {
      const { status, message } = /** @type {import("./api.js").Failed} */ (error);
      again = status === 404;
      problem = again ? "The bot has no record of this message yet." : message;
    }
    // Another message may have been chosen meanwhile: nothing of this one is kept then.
    if (turn !== this.turn || sid !== this.sid) return;
    if (found || !this.found) Object.assign(this, { found, problem });
    this.#draw();
    if (again && tries < AGAIN_MS.length) this.later = setTimeout(() => this.read(tries + 1), AGAIN_MS[tries]);
  }

  #draw() {
    const message = this.world.messages.get(this.sid);
    if (!message) {
      fill(this.subject);
      fill(
        this.content,
        el(
          "div",
          { class: "empty" },
          icon("behind", 44),
          el("b", {}, "Why did she answer that?"),
          el("p", {}, "Choose a message: click on its bubble, or go there with the arrow keys and press Enter. Here you see how it came through, who was chosen and why, what it cost, and every call on the wire."),
        ),
      );
      return;
    }
    this.#drawSubject(message);
    if (this.tab === "wire") this.#drawWire(message);
    else this.#drawTimeline(message);
  }

  /** @param {import("./world.js").Message} message */
  #drawSubject(message) {
    const said = [kindOf(message), plain(message.body)].filter(Boolean).join(" ") || "(no text)";
    const about = `${isOwn(message) ? message.profile_name || "Person" : "Bot"} · ${time(message.created_at)} · ${message.sid.slice(0, 8)}…`;
    const drawn = JSON.stringify([message.sid, said, about]);
    if (/** @type {HTMLElement | null} */ (this.subject.firstElementChild)?.dataset.drawn === drawn) return;
    fill(this.subject, el("button", { type: "button", class: ["subject-bubble", isOwn(message) ? "own" : "theirs"], title: "Show it in the chat", data: { drawn }, on: { click: () => this.wishes.reveal(message.sid) } }, el("span", { dir: "auto" }, said), el("small", {}, about)));
  }

  /** @param {import("./world.js").Message} message */
  #drawWire(message) {
    const sids = new Set([this.sid, ...(this.found?.events ?? []).map((/** @type {any} */ e) => e.sid).filter(Boolean)]);
    /** @type {Record<string, (c: any) => boolean>} */
    const scopes = {
      message: (c) => c.about === this.sid,
      turn: (c) => sids.has(c.about),
      chat: (c) => c.person === message.person,
      all: () => true,
    };
    for (const button of this.choice.children) button.setAttribute("aria-pressed", String(button.dataset.scope === this.scope));
    const top = this.content.scrollTop;
    this.wire.show(this.world.calls.filter(scopes[this.scope]), "No call of that kind is kept (the newest 2,000 are).");
    settle(this.content, [this.choice, this.wire.node]);
    this.content.scrollTop = top;
  }

  /** @param {import("./world.js").Message} message */
  #drawTimeline(message) {
    if (message.pending) {
      fill(this.content, el("div", { class: "empty" }, icon("warn", 36), el("b", {}, "Not sent yet"), el("p", {}, "The bot's records of it begin when it gets there.")));
      return;
    }
    const lost = LOST.get(message.carried ?? "");
    if (lost && !this.found) {
      fill(this.content, el("div", { class: "empty" }, icon("warn", 36), el("b", {}, "The bot never got this message"), el("p", {}, lost)));
      return;
    }
    if (this.problem) {
      fill(this.content, el("div", { class: "empty" }, icon("warn", 36), el("b", {}, this.problem), el("p", {}, "The bot's side is read from `sisters inspect`. The Wire tab works without it.")));
      return;
    }
    if (!this.found) {
      fill(this.content, el("p", { class: "quiet loading" }, "Reading the bot's records…"));
      return;
    }
    const { events, facts } = this.found;
    const top = this.content.scrollTop;
    const sections = [this.#ending(facts), section("How long it took", waterfall(events)), this.#routing(facts), this.#model(facts), this.#moderation(facts), this.#sends(facts)];
    showEvents(this.events, events);
    settle(this.content, [...sections, this.events].filter(Boolean));
    this.content.scrollTop = top;
  }

  /** @param {any} facts */
  #ending(facts) {
    const who = facts.decision?.characters?.map((/** @type {string} */ id) => titleOf(this.world.cast, id)).join(", ");
    const ending = facts.ending ? (ENDINGS[facts.ending] ?? facts.ending) : "Under way";
    const tone = { answered: "good", merged: "good", failed: "bad", refused: "warn", too_late: "warn" }[/** @type {string} */ (facts.ending)] ?? "busy";
    return el(
      "div",
      { class: `ending ending-${tone}` },
      el("b", {}, ending, who && facts.ending === "answered" ? ` by ${who}` : ""),
      facts.merged_into ? el("span", {}, `into message ${facts.merged_into}`) : null,
      facts.reason && facts.ending !== "answered" ? el("span", {}, facts.reason) : null,
    );
  }

  /** @param {any} facts */
  #routing(facts) {
    const decision = facts.decision;
    if (!decision) return null;
    return section(
      "Who answers, and why",
      el("p", { class: "why" }, el("b", {}, titleOf(this.world.cast, decision.character)), ` by ${decision.tier}`, surely(decision.tier, decision.confidence), el("small", {}, TIER_WORDS[decision.tier] ?? "")),
      ladder(decision.tier, decision.asked),
      decision.scores ? scoreBars(this.world.cast, decision.scores, decision.characters ?? [decision.character]) : null,
      evidenceChips(this.world.cast, decision.evidence),
      el("p", { class: "quiet", dir: "auto" }, decision.why),
    );
  }

  /** @param {any} facts */
  #model(facts) {
    if (!facts.model && !facts.prompt_messages) return null;
    const tokens = facts.tokens_in === null || facts.tokens_in === undefined ? null : `${facts.tokens_in} in, ${facts.tokens_out ?? "?"} out`;
    const rows = [
      ["Model", facts.model && `${facts.model}${facts.provider ? ` at ${facts.provider}` : ""}`],
      ["Prompt", facts.prompt_messages && `${facts.prompt_messages} messages, ${Number(facts.prompt_characters ?? 0).toLocaleString("en")} characters`],
      ["Tokens", tokens],
      ["Cost", facts.cost_usd && `$${Number(facts.cost_usd).toFixed(6)}`],
      ["Thought for", facts.llm_ms !== null && facts.llm_ms !== undefined && duration(facts.llm_ms)],
      ["Asked again", facts.superseded && "yes: more came while she was thinking"],
      ["Cut", facts.cut && "yes, back to the last whole sentence"],
      ["Claims", facts.claims > 1 && `${facts.claims}, ${facts.failures} failed`],
    ];
    return section("The model", table(rows));
  }

  /** @param {any} facts */
  #moderation(facts) {
    if (!facts.moderation?.length) return null;
    return section(
      "Moderation",
      el(
        "ul",
        { class: "checks" },
        facts.moderation.map((/** @type {any} */ m) =>
          el("li", { class: m.flagged ? "bad" : m.checked ? "good" : "warn" }, icon(m.flagged ? "warn" : m.checked ? "check" : "warn", 15), el("span", {}, m.direction === "in" ? "What came in" : "The answer"), el("b", {}, m.checked ? m.judgement : "not checked"), m.categories?.length ? el("small", {}, m.categories.join(", ")) : null),
        ),
      ),
    );
  }

  /** @param {any} facts */
  #sends(facts) {
    if (!facts.sends?.length) return null;
    return section(
      "Sends",
      el(
        "ul",
        { class: "sends" },
        facts.sends.map((/** @type {any} */ s) =>
          el(
            "li",
            {},
            el("b", {}, `Piece ${s.piece}`),
            el("span", { class: ["pill", s.error_code || s.state === "failed" ? "pill-bad" : "pill-good"] }, s.status || s.state),
            el("span", {}, `${s.attempts} ${s.attempts === 1 ? "try" : "tries"}${s.failures ? `, ${s.failures} failed` : ""}`),
            s.error_code ? el("small", { class: "bad" }, `${s.error_code}: ${meaning(s.error_code)}`) : null,
          ),
        ),
      ),
    );
  }
}

/**
 * @param {string} title
 * @param {...any} content
 */
function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), content);
}

/** @param {any[][]} rows */
function table(rows) {
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** All events, to be opened: kept while one message is looked at, so that it stays open and keeps the focus. */
const noEvents = () => el("details", { class: "events" }, el("summary"), el("ol"));

/**
 * @param {HTMLElement} node
 * @param {any[]} all
 */
function showEvents(node, all) {
  const [summary, list] = node.children;
  summary.textContent = `All ${all.length} events`;
  fill(
    list,
    all.map((event) => {
      const { at, event: name, about, ...facts } = event;
      const said = Object.entries(facts).filter(([key, value]) => value !== "" && value !== null && !["text", "body"].includes(key));
      return el("li", {}, el("time", {}, `${about ? "≈ " : ""}${exact(at)}`), el("b", {}, name), el("small", {}, said.map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ")));
    }),
  );
}
