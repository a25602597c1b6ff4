// Lanes: who works when. One module for a trace, for a queue with a line that moves, and for a pipeline with knobs.

import { drawn, head, html, knob, Moving, notes, svg } from "./common.js";
import { drawAxis, drawClocks, drawFlags, drawFloor, drawJoined, drawTrack, hatching, legend } from "./lanes_marks.js";
import {
  clocks,
  digits,
  joined,
  judged,
  layout,
  moments,
  program,
  queue,
  reach,
  stepOf,
  time,
  told,
  turned,
} from "./lanes_plan.js";

const MOVE = "torch.cuda.synchronize() moves: press ↑ and ↓, or the buttons.";

class Lanes extends Moving {
  constructor(model) {
    super(model);
    this.moments = this.data.kind === "timeline" ? moments(this.data) : [];
    this.hatch = `dl-hatch-${Math.random().toString(36).slice(2)}`;
    this.set = { ...this.data.queue }; // what the sliders of a queue change; the kernel need not know
    this.last = { timeline: this.moments.length - 1, queue: 3, pipeline: (this.data.scenes?.length ?? 1) - 1 }[this.data.kind];
    this.build();
  }

  build() {
    const { question, kind, chip } = this.data;
    const above = head(question, chip);
    this.chip = above.lastChild;
    this.drawing = svg("svg", { role: "img" });
    this.side = html("div", { className: "dl-lines" });
    this.body = html("div", { className: "dl-body" }, this.side, this.drawing);
    this.legend = html("p", { className: "dl-kinds" });
    this.readings = html("div", { className: "dl-readings" });
    this.say = html("p", { className: "dl-say", ariaLive: "polite" });
    const under = { timeline: this.buildStepper, queue: this.buildSliders, pipeline: this.buildKnobs }[kind].call(this);
    this.side.hidden = kind !== "queue";
    this.root.append(above, this.body, this.legend, this.readings, this.say, under, ...notes(this.data.notes));
  }

  buildStepper() {
    this.knob = knob(this.last, "What the CPU did, one after the other", () => this.step, this.go);
    return this.knob.element;
  }

  buildSliders() {
    const scales = {
      work: ["Work of an order", (at) => 10 ** (at / 20), (us) => 20 * Math.log10(us), 80, time],
      launch: ["Writing an order", (at) => at + 1, (us) => us - 1, 49, time],
      count: ["How many orders", (at) => at + 1, (count) => count - 1, 63, String],
    };
    const rows = Object.entries(scales).map(([name, [label, read, place, max, say]]) => {
      const slider = html("input", {
        type: "range",
        min: 0,
        max,
        step: 1,
        ariaLabel: label,
        value: Math.round(place(this.set[name])),
      });
      const shown = html("output", { textContent: say(this.set[name]) });
      slider.oninput = () => {
        this.set[name] = read(Number(slider.value));
        this.set.byHand = true;
        Object.assign(this.set, { cpu: null, floor: null, museum: [] }); // they belong to the call that was timed
        shown.textContent = slider.ariaValueText = say(this.set[name]);
        this.fit();
      };
      return html("label", { className: "dl-knobs" }, html("span", { textContent: label }), slider, shown);
    });
    return html("details", {}, html("summary", { textContent: "Try other numbers" }), ...rows);
  }

  buildKnobs() {
    this.sets = this.data.knobs.map(({ name, values }, number) => {
      const buttons = values.map((textContent, at) => {
        const button = html("button", { type: "button", textContent });
        button.onclick = () => {
          const positions = turned(this.data.knobs, this.step);
          positions[number] = at;
          this.go(stepOf(this.data.knobs, positions));
        };
        return button;
      });
      const made = html("div", { className: "dl-choice", ariaLabel: name }, html("span", { textContent: name }), ...buttons);
      made.setAttribute("role", "group");
      return { made, buttons };
    });
    return html("div", { className: "dl-choices" }, ...this.sets.map(({ made }) => made));
  }

  /** A slider with numbers moves itself. */
  moves({ target }) {
    return target.type === "range" && target !== this.knob?.slider ? null : this;
  }

  escape() {
    const any = this.step > 0;
    if (any) this.go(0);
    return super.escape() || any;
  }

  /** What is drawn at this step: tracks, names, flags, readings. */
  frame() {
    const { data, step } = this;
    if (data.kind === "pipeline") return { ...data.scenes[step], names: data.names, length: data.length };
    if (data.kind === "timeline")
      return { tracks: data.tracks, names: data.names, length: data.length, say: told(data, this.moments[step]) };
    const read = clocks(this.set);
    return { ...queue(this.set, step), clocks: read, length: reach(read) };
  }

  arrange(width) {
    const frame = this.frame();
    const beside = this.data.kind === "queue" && width > 760;
    this.body.className = `dl-body${beside ? "" : " narrow"}`;
    const plan = { ...layout(frame, beside ? width - 318 : width), hatch: this.hatch };
    this.side.style.width = beside ? "300px" : "100%";
    this.drawing.setAttribute("width", plan.width);
    this.drawing.setAttribute("height", plan.height);
    this.draw(frame, plan);
  }

  draw(frame, plan) {
    const { floor } = this.set;
    this.drawing.replaceChildren(
      hatching(plan.hatch),
      ...(floor ? [drawFloor(plan, floor)] : []),
      ...frame.tracks.map((track, number) => drawTrack(plan, frame.names, track, plan.rows[number])),
      ...(frame.clocks ? [drawClocks(plan, frame.clocks)] : []),
      drawAxis(plan, frame.length),
      ...(frame.flags ? [drawFlags(plan, frame.flags)] : []),
      ...this.marked(plan),
    );
    this.drawing.setAttribute("aria-label", frame.say);
    this.say.textContent = frame.say;
    this.chip.textContent = this.set.byHand ? "set by hand" : this.data.chip;
    this.drawLegend(frame.tracks);
    if (this.data.kind === "queue") this.drawProgram(frame);
    if (this.data.kind === "pipeline") this.drawKnobs(frame);
    this.knob?.show(this.step, frame.say);
  }

  marked(plan) {
    const moment = this.moments[this.step];
    if (!moment) return [];
    const [number, lane, bar] = moment;
    return [drawJoined(plan, plan.rows[number], [lane, bar], joined(this.data.tracks[number], lane, bar))];
  }

  drawLegend(tracks) {
    const parts = legend(tracks).map(([word, style]) => {
      const swatch = html("i", style === "dl-waits" ? { className: style } : {});
      if (style !== "dl-waits") swatch.style.cssText = style;
      return html("span", {}, swatch, word);
    });
    this.legend.replaceChildren(...parts);
    this.legend.hidden = this.data.kind !== "timeline";
  }

  drawProgram({ reading }) {
    const { times, allowed } = judged(this.set, reading);
    const lines = program(this.set, this.step).map(([textContent, moves]) =>
      html("li", { className: moves ? "moves" : "" }, html("span", { className: "dl-mono", textContent })),
    );
    const [up, down] = [
      ["↑ up", 1],
      ["↓ down", -1],
    ].map(([textContent, by]) => {
      const button = html("button", { type: "button", textContent, ariaLabel: `Move synchronize() ${textContent.slice(2)}` });
      button.onclick = () => this.go(this.step + by);
      button.ariaDisabled = this.step + by < 0 || this.step + by > this.last;
      return button;
    });
    const focused = [...this.side.querySelectorAll("button")].indexOf(document.activeElement);
    const keys = html("div", { className: "dl-knobs" }, up, down);
    this.side.replaceChildren(
      html("p", { className: "dl-note", textContent: MOVE }),
      html("ol", { className: "dl-program" }, ...lines),
      keys,
    );
    if (focused >= 0) [up, down][focused].focus();
    const parts = [html("span", {}, "your stopwatch reads", html("b", { textContent: time(reading) }))];
    if (times)
      parts.push(
        html(
          "span",
          {},
          `so the GPU has, beside the CPU's ${time(this.set.cpu)},`,
          html("b", { textContent: `${digits(times)} × the speed` }),
        ),
      );
    if (allowed !== null)
      parts.push(
        html(
          "span",
          { className: allowed ? "dl-may" : "dl-maynot" },
          allowed ? "within the data sheet" : `✕ faster than the data sheet allows (${time(this.set.floor)})`,
        ),
      );
    this.readings.replaceChildren(...parts);
  }

  drawKnobs({ read }) {
    const positions = turned(this.data.knobs, this.step);
    this.sets.forEach(({ buttons }, number) => {
      buttons.forEach((button, at) => {
        button.ariaPressed = String(at === positions[number]);
      });
    });
    this.readings.replaceChildren(...read.map(([name, value]) => html("span", {}, name, html("b", { textContent: value }))));
  }
}

export default drawn(Lanes);
