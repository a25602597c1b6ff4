// The crossover: one knob, two lines that the learner draws, and the place where the lead changes.

import { drawn, head, html, knob, Moving, notes, svg, within } from "./common.js";
import { drawAxes, drawBars, drawDots, drawKey, drawNow, drawTrail, drawZones } from "./crossover_marks.js";
import { caption, layout, nearest, turned } from "./crossover_plan.js";

class Crossover extends Moving {
  constructor(model) {
    super(model);
    this.views = this.data.views;
    this.at = this.views.map(() => ({ stop: 0, reached: 0 })); // what was drawn; not saved, so that every opening is the first
    this.number = 0;
    this.chosen = 0;
    this.knob = this.newKnob();
    this.build();
  }

  get view() {
    return this.views[this.number];
  }

  get card() {
    return this.view.cards[this.number === 0 ? this.chosen : 0];
  }

  get step() {
    return this.at[this.number].stop;
  }

  get last() {
    return this.view.stops.length - 1;
  }

  newKnob() {
    const tell = (stop) => `w = ${this.view.stops[stop].toLocaleString("en")}`;
    return knob(this.last, "w, the width", () => this.step, this.go, { plays: false, tell });
  }

  /** Move to a stop; what lies between is drawn as well, as a pen would. */
  go = (to) => {
    const now = this.at[this.number];
    now.stop = within(to, this.last);
    now.reached = Math.max(now.reached, now.stop);
    if (this.number === 0 && this.model.get("step") !== now.stop) {
      this.model.set("step", now.stop);
      this.model.save_changes();
    }
    this.redraw();
  };

  follow() {} // go() has drawn it

  build() {
    const above = head("", "");
    [this.title, this.chip] = above.children;
    this.work = html("p", { className: "dl-note" });
    this.chart = svg("svg", { role: "img", style: "touch-action:pan-y;cursor:ew-resize" });
    this.bars = svg("svg", { "aria-hidden": "true" });
    this.verdict = html("b");
    this.why = html("p", { className: "dl-say" });
    this.live = html("div", { ariaLive: "polite" }, this.verdict, this.why);
    this.invite = html("p", { className: "dl-note" });
    this.menu = html(
      "select",
      { ariaLabel: "Card" },
      ...this.views[0].cards.map(({ name }, value) => html("option", { value }, name)),
    );
    this.menu.onchange = () => this.choose(Number(this.menu.value));
    this.other = html("button", { type: "button" });
    this.other.onclick = () => this.turnTo(1 - this.number);
    this.more = html("div", { className: "dl-knobs" }, this.menu, this.other);
    this.side = html("div", { className: "dl-side" }, this.bars, this.live, this.invite, this.more);
    this.key = html("div", { className: "dl-legend dl-note" }, ...drawKey());
    this.left = html("div", {}, this.chart, this.knob.element, this.key);
    this.body = html("div", {}, this.left, this.side);
    this.notes = html("div");
    this.root.append(above, this.work, this.body, this.notes);
    this.chart.addEventListener("pointerdown", this.pointed);
    this.chart.addEventListener("pointermove", (event) => event.buttons && this.pointed(event));
  }

  choose = (card) => {
    this.chosen = card;
    this.redraw();
  };

  /** Show the other view, with a knob of its own. */
  turnTo(number) {
    this.number = number;
    const old = this.knob.element;
    this.knob = this.newKnob();
    old.replaceWith(this.knob.element);
    this.fit();
  }

  pointed = (event) => {
    this.go(nearest(this.view, this.plan, event.clientX - this.chart.getBoundingClientRect().left));
  };

  moves({ target }) {
    return target === this.menu ? null : this;
  }

  arrange(width) {
    this.plan = layout(this.view, width);
    this.body.className = `dl-body${this.plan.beside ? "" : " narrow"}`;
    this.side.style.width = `${this.plan.side}px`;
    this.left.style.width = `${this.plan.width}px`;
    for (const [name, value] of [
      ["width", this.plan.width],
      ["height", this.plan.height],
    ])
      this.chart.setAttribute(name, value);
    this.bars.setAttribute("width", this.plan.side);
    this.bars.setAttribute("height", this.view.cpu ? 182 : 0);
    this.draw();
  }

  draw() {
    const { view, plan, card } = this;
    const { stop, reached } = this.at[this.number];
    const first = view.cards[0];
    this.title.textContent = view.question;
    this.chip.textContent = view.chip;
    this.work.textContent = view.work + (view.home && stop === 0 ? ` w = ${view.stops[0]}: ${view.home}.` : "");
    this.chart.replaceChildren(
      ...(view.cpu ? drawZones(view, plan, card.who, reached) : []),
      ...drawAxes(view, plan, stop),
      ...(card === first ? [] : [drawTrail(view, plan, "gpu", first.times, reached, true)]),
      drawTrail(view, plan, "gpu", card.times, reached),
      ...(view.cpu ? [drawTrail(view, plan, "cpu", view.cpu.times, reached)] : []),
      ...drawDots(view, plan, reached),
      ...drawNow(view, plan, card, stop),
    );
    this.key.hidden = !view.cpu;
    this.bars.replaceChildren(...drawBars(view, plan, card, stop));
    const said = caption(view, card, stop);
    this.chart.setAttribute("aria-label", said);
    this.knob.show(stop, said);
    this.verdict.textContent = card.heads[stop];
    this.why.textContent = card.says[stop];
    this.drawMore(reached);
  }

  /** The menu of cards and the way to the other view come when the lead has changed before the learner's eyes. */
  drawMore(reached) {
    const open = this.number === 1 || turned(this.views[0], reached);
    this.invite.textContent = open ? "" : this.view.invite;
    this.more.hidden = !open;
    this.menu.hidden = this.number === 1 || this.views[0].cards.length === 1;
    this.other.hidden = this.views.length === 1;
    this.other.textContent = this.number ? "Back to the step" : `${this.views[1]?.question}`;
    this.notes.replaceChildren(...notes(this.view.notes));
  }
}

export default drawn(Crossover);
