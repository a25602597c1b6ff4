// The bytes of a card over the lines of a training: will it fit, and which line is refused?

import { drawn, head, html, knob, Moving, notes, svg, within } from "./common.js";
import { drawBefore, drawGrid, drawLimit, drawLines, drawStack, SHADES } from "./memory_marks.js";
import { caption, layout, numberOf, plain } from "./memory_plan.js";

class Bytes extends Moving {
  constructor(model) {
    super(model);
    this.at = this.data.knobs.map(() => 0);
    this.before = null;
    this.build();
  }

  get run() {
    return this.data.runs[numberOf(this.data.knobs, this.at)];
  }

  get setting() {
    return this.data.knobs.map(({ name, values }, index) => `${name} ${values[this.at[index]]}`).join(", ");
  }

  build() {
    const { data } = this;
    this.chart = svg("svg", { role: "img", class: "gpu" });
    this.verdict = html("b");
    this.why = html("p", { className: "dl-say" });
    this.message = html("p", { className: "dl-refused" });
    const live = html("div", { ariaLive: "polite" }, this.verdict, this.why, this.message);
    this.turned = data.knobs.map((one, index) => this.newKnob(one, index));
    const knobs = data.knobs.map((one, index) =>
      html("div", {}, html("span", { className: "dl-note", textContent: one.name }), this.turned[index].element),
    );
    this.side = html("div", { className: "dl-side" }, live, ...knobs);
    this.body = html("div", {}, this.chart, this.side);
    this.root.append(head(data.question, data.chip), this.legend(), this.body, ...notes(data.notes));
  }

  /** Each knob has keys of its own. */
  moves({ target }) {
    const index = this.turned.findIndex(({ element }) => element.contains(target));
    if (index < 0) return null;
    return { step: this.at[index], last: this.data.knobs[index].values.length - 1, go: (to) => this.go(index, to) };
  }

  legend() {
    const entries = ["context", ...this.data.kinds].map((kind) => {
      const swatch = svg("svg", { width: 12, height: 12, class: "gpu" });
      swatch.append(svg("rect", { x: 0.5, y: 0.5, width: 11, height: 11, style: SHADES[kind] }));
      return html("span", {}, swatch, this.data.words[kind]);
    });
    return html("div", { className: "dl-legend dl-note" }, ...entries);
  }

  newKnob({ name, values }, index) {
    const go = (to) => this.go(index, within(to, values.length - 1));
    return knob(values.length - 1, name, () => this.at[index], go, { plays: false, tell: (at) => values[at] });
  }

  go = (index, to) => {
    if (to === this.at[index]) return;
    this.before = this.run;
    this.at[index] = to;
    this.fit();
  };

  arrange(width) {
    const { data, run } = this;
    this.plan = layout(data, run, width);
    this.body.className = `dl-body${this.plan.beside ? "" : " narrow"}`;
    this.side.style.width = `${this.plan.side}px`;
    this.chart.setAttribute("width", this.plan.width);
    this.chart.setAttribute("height", this.plan.height);
    this.draw();
  }

  draw() {
    const { data, run, plan, before } = this;
    const alike = before?.visits.length === run.visits.length ? before : null;
    this.chart.replaceChildren(
      ...drawGrid(plan),
      ...drawStack(data, run, plan),
      ...drawBefore(data, alike, plan),
      ...drawLimit(data, run, plan),
      ...drawLines(run, plan),
    );
    const said = caption(data, run, this.setting);
    this.chart.setAttribute("aria-label", said);
    this.verdict.textContent = run.head;
    this.why.textContent = plain(run.say);
    this.message.hidden = !run.refused;
    this.message.textContent = run.refused ? `${run.refused.split(". ").slice(0, 2).join(". ")} ...` : "";
    this.message.title = run.refused ?? "";
    this.turned.forEach((one, index) => {
      one.show(this.at[index], `${data.knobs[index].values[this.at[index]]}. ${run.head}`);
    });
  }
}

export default drawn(Bytes);
