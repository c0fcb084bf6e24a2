/** The page put together: which part is where, and what moves when something happens. */

import { go, here, whenMoved } from "./address.js";
import { Behind } from "./behind.js";
import { composing, el, fill, rove, settle } from "./dom.js";
import { icon } from "./icons.js";
import { Knobs } from "./knobs.js";
import { Lab } from "./lab.js";
import { keep } from "./memory.js";
import { People } from "./people.js";
import { PHONE_LEAST_PX, Phones } from "./phones.js";
import { World } from "./world.js";

const LIST_PX = 300;
const FACES_PX = 84;
const RAIL_PX = 64;
const PANEL_PX = 400;
const MOBILE_PX = 760;
/** Up to here no phone has room beside a panel, so that it lies over them; as in panel.css. */
const PANEL_OVER_PX = 864;

const world = new World();
const people = new People(world, (person) => open(person));
const phones = new Phones(world, people, {
  look: (message) => {
    const panel = "behind";
    go({ panel, person: message.person, message: message.sid });
  },
  panel: (person) => {
    const { panel, message } = here();
    if (panel === "behind" && world.messages.get(message)?.person === person) close();
    else go({ panel: "behind", person, message: world.thread(person).at(-1)?.sid ?? "" });
  },
  moved: () => {
    syncPeople();
    knobs.sync();
    if (world.loaded) go({ person: phones.active });
  },
});
const knobs = new Knobs(world, { close, burst: (knob) => phones.activePhone?.burst(knob), writer: () => phones.activePhone?.person.name ?? "…", quiet: () => currentStop()?.focus() });
const behind = new Behind(world, {
  close,
  tab: (tab) => go({ tab }),
  reveal: (sid) => {
    const message = world.messages.get(sid);
    if (!message) return;
    if (matchMedia(`(max-width: ${PANEL_OVER_PX}px)`).matches) close();
    phones.open(message.person, false);
    phones.all.get(message.person)?.thread.reveal(sid);
  },
});
const lab = new Lab(world);

/** @typedef {{ name: string, label: string, icon: any, act: () => void, on: (place: import("./address.js").Place) => boolean }} Stop */
/** @type {Stop[]} */
const STOPS = [
  { name: "chats", label: "Chats", icon: "chats", act: () => go({ view: "chats", panel: narrow() ? "" : here().panel }), on: (p) => p.view === "chats" && (!narrow() || !p.panel) },
  { name: "behind", label: "Behind the chat", icon: "behind", act: () => toggle("behind"), on: (p) => p.view === "chats" && p.panel === "behind" },
  { name: "knobs", label: "Knobs", icon: "knobs", act: () => toggle("knobs"), on: (p) => p.view === "chats" && p.panel === "knobs" },
  { name: "lab", label: "Routing lab", icon: "lab", act: () => go({ view: "lab" }), on: (p) => p.view === "lab" },
];
const stops = STOPS.map((stop) => el("button", { type: "button", class: "stop", title: stop.label, data: { stop: stop.name }, on: { click: stop.act } }, icon(stop.icon), el("span", {}, stop.label)));
const theme = el("button", { type: "button", class: "stop theme", on: { click: turnTheme } });
const rail = el("nav", { class: "rail", "aria-label": "Views" }, stops, el("span", { class: "gap" }), theme);
rove(rail, ".stop");
rove(rail, ".stop", { horizontal: true });
const connection = el("div", { class: "connection", role: "status", hidden: true });
const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const stage = el("div", { class: "stage" });
app.append(rail, el("div", { class: "frame" }, connection, knobs.chips, stage));

/** Where the rail is entered: of two that are shown the newer. */
const currentStop = () => stops.findLast((stop) => stop.tabIndex === 0);

function narrow() {
  return innerWidth < MOBILE_PX;
}

/** @param {"behind" | "knobs"} panel */
function toggle(panel) {
  const { view, panel: before, message } = here();
  if (view === "chats" && before === panel) close();
  else {
    const known = world.messages.get(message);
    const last = world.thread(phones.active).at(-1)?.sid ?? "";
    go({ view: "chats", panel, message: panel === "behind" && (!known || known.person !== phones.active) ? last : message });
    (panel === "behind" ? behind : knobs).node.focus();
  }
}

function close() {
  const { message } = here();
  go({ panel: "" });
  const row = /** @type {HTMLElement | null} */ (document.querySelector(`.row[data-sid="${CSS.escape(message)}"]`));
  // The field of a telephone would bring up its keyboard, unasked.
  const rest = narrow() || matchMedia("(hover: none)").matches ? currentStop() : phones.activePhone?.composer.field;
  (row ?? rest)?.focus({ preventScroll: true });
}

/** @param {string} person */
function open(person) {
  go({ view: "chats", panel: narrow() ? "" : here().panel });
  phones.open(person, !narrow());
}

function syncPeople() {
  people.sync(phones.shown, phones.active);
}

/** How much room there is for the list of people: whole, only faces, or (on a phone) a strip above. */
function fit() {
  const { panel } = here();
  const over = panel && innerWidth <= PANEL_OVER_PX;
  const beside = panel && !over ? PANEL_PX : 0;
  const left = innerWidth - RAIL_PX - beside;
  const wanted = Math.min(3, world.people.length || 3) * PHONE_LEAST_PX;
  const list = !over && (left - LIST_PX >= wanted || (left - FACES_PX < 2 * PHONE_LEAST_PX && left - LIST_PX >= PHONE_LEAST_PX + 60));
  app.dataset.people = narrow() ? "strip" : list ? "list" : "faces";
  app.dataset.panel = panel;
}

/** @param {import("./address.js").Place} place */
function show(place) {
  fit();
  STOPS.forEach((stop, index) => {
    const on = stop.on(place);
    if (on) stops[index].setAttribute("aria-current", "page");
    else stops[index].removeAttribute("aria-current");
    stops[index].tabIndex = on || (index === 0 && !STOPS.some((s) => s.on(place))) ? 0 : -1;
  });
  const panel = place.view === "chats" ? { behind: behind.node, knobs: knobs.node }[/** @type {"behind" | "knobs"} */ (place.panel)] : undefined;
  const beside = place.view === "lab" ? lab.node : panel;
  settle(stage, [people.node, phones.node, beside].filter(Boolean));
  people.node.hidden = phones.node.hidden = place.view === "lab"; // not taken out: what plays goes on
  cover(panel);
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".skip"))) {
    link.hidden = link.dataset.to === "panel" ? !beside : phones.node.hidden || phones.node.inert;
  }
  stage.dataset.view = place.view;
  if (place.view === "lab") lab.show();
  if (place.panel === "behind") behind.show(place.message, place.tab);
  if (place.panel === "knobs") knobs.sync();
  phones.select(place.panel === "behind" ? place.message : "");
}

/**
 * What a panel lies over is neither seen nor reached.
 * @param {HTMLElement | undefined} panel
 */
function cover(panel) {
  const over = Boolean(panel) && innerWidth <= PANEL_OVER_PX;
  const covered = narrow() ? [people.node, phones.node] : [phones.node];
  const within = over && covered.some((node) => node.contains(document.activeElement));
  for (const node of [people.node, phones.node]) node.inert = over && covered.includes(node);
  if (within) panel?.focus({ preventScroll: true });
}

function turnTheme() {
  const dark = document.documentElement.dataset.theme === "dark";
  keep("theme", dark ? "light" : "dark");
  dispatchEvent(new CustomEvent("themechosen", { detail: dark ? "light" : "dark" }));
  showTheme();
}

function showTheme() {
  const dark = document.documentElement.dataset.theme === "dark";
  const label = dark ? "Light colours" : "Dark colours";
  fill(theme, icon(dark ? "sun" : "moon"), el("span", {}, label));
  theme.title = label;
}

function showConnection() {
  connection.hidden = world.live;
  fill(connection, el("span", { class: "spinner", "aria-hidden": "true" }), world.loaded ? "Reconnecting to the simulator… What you see is from before." : "Connecting to the simulator…");
  document.body.classList.toggle("away", !world.live);
  phones.showState();
}

/** Many events can come at once: one look at all of them per frame. */
const dirty = new Set();
/** @param {string} what a person, or "" for all */
function soon(what) {
  if (!dirty.size) setTimeout(redraw, 16);
  dirty.add(what);
}

function redraw() {
  const all = dirty.has("");
  const persons = [...dirty];
  dirty.clear();
  phones.layout();
  if (all) phones.sync();
  else for (const person of persons) phones.sync(person);
  syncPeople();
}

world.addEventListener("loaded", () => {
  const { person, message } = here();
  const known = world.people.some((p) => p.person === person);
  if (known) phones.activate(person);
  fit();
  soon("");
  knobs.sync();
  show(here());
  behind.stir("");
  if (known && message) setTimeout(() => phones.all.get(person)?.thread.select(message), 50);
});
world.addEventListener("connection", showConnection);
world.addEventListener("cast", () => {
  for (const phone of phones.all.values()) phone.showCast(world.cast);
  lab.show();
});
world.addEventListener("people", () => soon(""));
for (const name of ["message", "typing", "removed", "cleared"]) {
  world.addEventListener(name, (event) => {
    const { person = "" } = /** @type {CustomEvent} */ (event).detail;
    soon(person);
    behind.stir(person);
  });
}
world.addEventListener("call", (event) => behind.called(/** @type {CustomEvent} */ (event).detail));
world.addEventListener("faults", () => knobs.sync());
world.addEventListener("next", () => knobs.sync());
whenMoved(show);
addEventListener("resize", () => {
  fit();
  show(here());
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || composing(event) || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const writes = /** @type {Element} */ (event.target).matches("textarea, select");
  if (here().view === "lab") {
    if (!writes) go({ view: "chats" });
  } else if (here().panel) close();
});
document.addEventListener("visibilitychange", () => !document.hidden && soon(""));
for (const link of document.querySelectorAll(".skip")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const to = /** @type {HTMLElement} */ (link).dataset.to;
    if (to === "composer") phones.activePhone?.composer.focus();
    else if (to === "thread") /** @type {HTMLElement | null} */ (phones.activePhone?.node.querySelector(".row[tabindex='0']") ?? phones.activePhone?.composer.field ?? null)?.focus();
    else /** @type {HTMLElement | null} */ (document.getElementById("panel"))?.focus();
  });
}

new MutationObserver(showTheme).observe(document.documentElement, { attributeFilter: ["data-theme"] });
showTheme();
showConnection();
show(here());
world.start();
