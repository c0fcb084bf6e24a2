/** The routing lab: who would answer, why, and what would change it; nothing is sent, nothing is written. */

import { Casting } from "./casting.js";
import { el } from "./dom.js";
import { Labelled } from "./labelled.js";
import { Sentences } from "./sentences.js";

export class Lab {
  /** @param {import("./world.js").World} world */
  constructor(world) {
    this.world = world;
    const topics = () => this.casting.topics;
    this.sentences = new Sentences(world, topics);
    this.labelled = new Labelled(world, topics);
    this.casting = new Casting(world, () => this.sentences.field.value.trim() && this.sentences.run());
    this.node = el(
      "main",
      { class: "lab", id: "panel", tabindex: -1, "aria-label": "Routing lab" },
      el("header", { class: "lab-head" }, el("h1", {}, "Routing lab"), el("span", { class: "simulated" }, "simulated"), el("p", {}, "Who would answer, and why: the bot's own routing, without a model and without a message sent.")),
      el("div", { class: "lab-columns" }, this.sentences.node, el("div", { class: "lab-side" }, this.casting.node, this.labelled.node)),
    );
  }

  /** Shows the cast; where `sisters inspect` did not answer yet, it is asked again. */
  show() {
    if (this.world.loaded && !this.world.cast) this.world.readCast();
    this.casting.show();
  }
}
