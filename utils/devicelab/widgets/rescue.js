// The capstone's end: a step before and after as bars and lanes, and a light for each fault.

import { drawn, head, html, hue, knob, Moving, notes, svg } from "./common.js";
import { BAR, caption, LANE, layout, listed } from "./rescue_plan.js";

const SHADES = { forward: 1, backward: 0.7, optimizer: 0.45, other: 0.3 };
const MARKS = { mended: "✓", there: "✕", "not seen": "?" };
const HATCH = "dl-hatch";

class Rescue extends Moving {
  constructor(model) {
    super(model);
    const { question, card, note, result } = this.data;
    this.last = this.data.lights.length;
    this.svg = svg("svg", { role: "img" });
    this.say = html("p", { className: "dl-say", ariaLive: "polite" });
    this.knob = knob(this.last, "Which fault", () => this.step, this.go);
    this.buttons = [];
    const [key, outcome] = notes([note, `The result: ${result}.`]);
    const body = html("div", { className: "dl-body narrow" }, this.svg);
    this.root.append(head(question, card), body, key, this.lights(), outcome, this.say, this.knob.element);
  }

  lights() {
    const groups = listed(this.data).map(({ title, lights }) => {
      const items = lights.map((light) => {
        const mark = html("span", { className: `dl-light ${light.state.replace(" ", "-")}`, textContent: MARKS[light.state] });
        mark.ariaHidden = "true";
        const name = html("span", { className: "dl-mono", textContent: light.name });
        const words = light.state === "there" ? "still in the file" : light.state;
        const text = html(
          "span",
          { textContent: `${light.index + 1} ${words}: ` },
          name,
          html("span", { textContent: ` · ${light.cost}` }),
        );
        const button = html("button", { type: "button" }, mark, text);
        button.onclick = () => this.go(light.index + 1);
        this.buttons[light.index] = button;
        return html("li", {}, button);
      });
      return [html("p", { className: "dl-group", textContent: title }), html("ul", {}, ...items)];
    });
    return html("div", { className: "dl-lights" }, ...groups.flat());
  }

  escape() {
    const any = this.step > 0;
    if (any) this.go(0);
    return super.escape() || any;
  }

  arrange(width) {
    this.plan = layout(this.data, width);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", this.plan.height);
    this.draw();
  }

  draw() {
    const { data, plan, step } = this;
    const fault = step - 1;
    this.svg.replaceChildren(
      hatch(),
      ...plan.bars.map((bar) => drawBar(bar, data.lights[fault]?.slow ? fault : undefined)),
      ...plan.lanes.map((lanes) => drawLanes(lanes, data.origin)),
    );
    this.svg.setAttribute("aria-label", data.say);
    this.buttons.forEach((button, index) => {
      button.ariaCurrent = index === fault ? "true" : null;
    });
    this.say.textContent = caption(data, step);
    this.knob.show(step, caption(data, step));
  }
}

function hatch() {
  const line = svg("path", { d: "M0 0V7", style: "stroke:var(--cpu);stroke-width:4" });
  const size = { width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  return svg("defs", {}, svg("pattern", { id: HATCH, ...size }, line));
}

function drawBar({ name, text, y, labelY, end, pieces }, only) {
  const label = svg("text", { x: 0, y: labelY, style: "font-weight:600" }, name);
  const time = svg("text", { x: end + 8, y: y + 18, style: "font-weight:600" }, text);
  const parts = pieces.flatMap(({ fault, x, w }) => {
    const faint = only !== undefined && only !== fault ? ";opacity:.3" : "";
    const face = fault < 0 ? "fill:var(--meta-soft);stroke:var(--meta)" : `fill:url(#${HATCH});stroke:var(--cpu)`;
    const box = svg("rect", { x, y, width: Math.max(w, 1), height: BAR, style: face + faint });
    const words = fault < 0 ? "the work itself" : `${fault + 1}`;
    const fits = w > words.length * 7;
    const place = fault < 0 ? { x: x + 8, y: y + 17 } : { x: x + w / 2, y: y - 5, "text-anchor": "middle" };
    return fault >= 0 || fits ? [box, svg("text", { class: "small", ...place }, words)] : [box];
  });
  return svg("g", {}, label, ...parts, time);
}

function drawLanes({ name, labelY, rows, x, w }, origin) {
  const title = svg("text", { x, y: labelY, class: "small muted" }, `one step, ${name} (${origin})`);
  const lanes = rows.map(({ device, y, marks }) =>
    svg(
      "g",
      { class: hue(device) },
      svg("text", { x: x - 10, y: y + 14, class: "small dl-mono", "text-anchor": "end" }, device),
      svg("rect", { x, y, width: w, height: LANE, style: "fill:var(--hue-soft)" }),
      ...marks.map((mark) => drawMark(mark, y)),
    ),
  );
  return svg("g", {}, title, ...lanes);
}

function drawMark({ x, w, phase }, y) {
  const faces = { wait: `fill:url(#${HATCH});stroke:var(--hue);stroke-width:.7`, copy: "fill:none;stroke:var(--hue)" };
  const style = faces[phase] ?? `fill:var(--hue);opacity:${SHADES[phase] ?? SHADES.other}`;
  return svg("rect", { x, y, width: w, height: LANE, style });
}

export default drawn(Rescue);
