// The film: two memories, a dot for each tensor, names pinned to dots, and what a line does with them.

import { drawn, head, html, hue, knob, Moving, notes, svg } from "./common.js";
import { badge, chip, drawArrow, drawBox, drawDot, drawFence, drawRefusal, drawWork, operatorBadge, ring } from "./film_marks.js";
import { at, CHAR, caption, layout, place } from "./film_plan.js";

const DIGITS = "①②③④⑤⑥⑦⑧⑨";

class Film extends Moving {
  constructor(model) {
    super(model);
    this.last = this.data.steps.length - 1;
    this.marked = []; // rows that a part of the message means
    this.names = new Map(); // elements that stay, so that a name is seen to move
    this.knob = knob(this.last, "Step of the film", () => this.step, this.go);
    this.build();
  }

  build() {
    const { data } = this;
    this.lines = data.code.map(([number, text]) => html("li", {}, html("span", { textContent: number }), text));
    this.lines.forEach((item, index) => {
      item.onclick = () => this.goToLine(data.code[index][0]);
    });
    this.code = html("ol", { className: "dl-code dl-mono", tabIndex: 0, ariaLabel: "The lines of the film" }, ...this.lines);
    [this.under, this.pins, this.over] = [svg("g"), svg("g"), svg("g")];
    this.drawing = svg("svg", { role: "img" }, this.under, this.pins, this.over);
    this.body = html("div", {}, this.code, this.drawing);
    this.say = html("p", { className: "dl-say", ariaLive: "polite" });
    this.refusal = html("div");
    this.root.append(head(data.question, data.card), this.body, this.refusal, this.say, this.knob.element, ...notes(data.notes));
    this.code.hidden = data.code.length === 0; // one moment, such as a placement
    this.knob.element.hidden = this.last === 0;
  }

  goToLine(number) {
    const found = this.data.steps.findIndex(({ line }) => line === number);
    if (found > 0) this.go(found);
  }

  escape() {
    const any = this.marked.length > 0;
    this.mark([]);
    return super.escape() || any;
  }

  mark = (rows) => {
    this.marked = rows;
    this.drawOver();
  };

  follow() {
    this.redraw(); // where things stand is the same at every step
  }

  arrange(width) {
    this.plan = layout(this.data, width);
    const { narrow, code, height } = this.plan;
    this.body.className = `dl-body${narrow ? " narrow" : ""}`;
    this.code.style.width = narrow ? "100%" : `${code}px`;
    this.code.style.maxHeight = `${narrow ? 200 : height}px`;
    this.drawing.setAttribute("width", this.plan.width);
    this.drawing.setAttribute("height", height);
    this.draw();
  }

  draw() {
    const { data: film, plan, step } = this;
    const { inner, refused, say, works = [], arrows = [] } = film.steps[step];
    const now = at(film, step);
    const named = new Set(now.pins.map(({ box, row }) => `${box},${row}`));
    this.drawLines();
    this.under.replaceChildren(
      ...film.boxes.map((_, index) => drawBox(film, plan, index)),
      ...now.fences.map((fence) => drawFence(film, plan, fence)),
      ...(refused ? drawRefusal(film, plan, refused) : works.map((work) => drawWork(film, plan, work))),
      ...now.dots.map((dot) => drawDot(film, plan, dot, named.has(`${dot.box},${dot.row}`))),
      ...arrows.map((arrow) => drawArrow(plan, arrow)),
    );
    this.drawNames(now);
    this.drawOver();
    this.drawing.setAttribute("aria-label", caption(film, step));
    this.say.textContent = (inner ? `In ${inner}. ` : "") + say;
    this.refusal.replaceChildren(...(refused ? [this.message(refused)] : []));
    this.knob.show(step, caption(film, step));
  }

  drawLines() {
    const { line, refused } = this.data.steps[this.step];
    const passed = new Set(this.data.steps.slice(0, this.step + 1).map((one) => one.line));
    this.lines.forEach((item, index) => {
      const [number] = this.data.code[index];
      const isNow = number === line;
      item.className = isNow ? (refused ? "stop" : "now") : passed.has(number) ? "" : "ahead";
      item.ariaCurrent = isNow ? "step" : null;
      if (isNow) this.code.scrollTop = item.offsetTop - this.code.offsetTop - this.code.clientHeight / 2;
    });
  }

  drawNames({ pins, dots }) {
    const reach = new Map(dots.map(({ box, row, label }) => [`${box},${row}`, 20 + (label ? label.length * CHAR + 6 : 0)]));
    for (const { name, box, row } of pins) {
      const { x, y, side } = place(this.plan, box, row);
      const key = `${box},${row}`;
      const beside = pins.filter((pin) => pin.box === box && pin.row === row).length;
      const { made, wide } = chip(name, Math.max(4, ((this.plan.boxes[box].w - 60) / beside - 16) / CHAR));
      const used = reach.get(key) ?? 20;
      reach.set(key, used + wide + 4);
      this.pin(name, made).style.transform = `translate(${side < 0 ? x - used - wide : x + used}px,${y - 22}px)`;
    }
    for (const [name, old] of this.names) {
      if (pins.some((pin) => pin.name === name)) continue;
      old.remove();
      this.names.delete(name);
    }
  }

  pin(name, made) {
    if (!this.names.has(name)) {
      made.setAttribute("class", "dl-pin dl-fresh");
      this.pins.append(made);
      this.names.set(name, made);
    }
    return this.names.get(name);
  }

  drawOver() {
    const { refused } = this.data.steps[this.step];
    const meant = (refused?.parts ?? []).filter(([, rows, operator]) => rows.length || operator);
    const badges = meant.flatMap(([, rows, operator], index) => [
      ...rows.map(([box, row]) => badge(this.data, this.plan, box, row, index + 1)),
      ...(operator && !rows.length && refused.operator ? [operatorBadge(this.plan, index + 1)] : []),
    ]);
    this.over.replaceChildren(...badges, ...this.marked.map(([box, row]) => ring(this.plan, box, row)));
  }

  /** PyTorch's sentence; what it names can be pointed at, and its dot is ringed. */
  message({ kind, parts }) {
    let number = 0;
    const pieces = parts.map(([text, rows, operator]) => {
      if (!rows.length && !operator) return text;
      const made = html("button", { type: "button", textContent: `${text} ${DIGITS[number++] ?? number}` });
      if (rows.length) made.className = hue(this.data.boxes[rows[0][0]].device);
      made.onclick = made.onfocus = made.onmouseenter = () => this.mark(rows);
      made.onblur = made.onmouseleave = () => this.mark([]);
      return made;
    });
    return html("p", { className: "dl-refused" }, html("b", { textContent: `${kind}: ` }), ...pieces);
  }
}

export default drawn(Film);
