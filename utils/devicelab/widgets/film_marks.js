// What a film is drawn with: boxes, fences, dots, names, arrows, operators.

import { curve, hue, middle, pill, short, svg } from "./common.js";
import { ASIDE, below, between, CHAR, HEAD, place, ROW, SMALL } from "./film_plan.js";

export function chip(name, most) {
  const text = short(name, most);
  const wide = text.length * CHAR + 12;
  const label = svg("text", { x: 6, y: 15, class: "dl-mono", style: "fill:var(--paper);font-weight:700" }, text);
  const made = svg("g", {}, svg("rect", { width: wide, height: 21, rx: 4, style: "fill:var(--ink)" }), label);
  if (text !== name) made.append(svg("title", {}, name));
  return { made, wide };
}

export function drawBox(film, plan, index) {
  const { x, y, w, h } = plan.boxes[index],
    { title, note, device } = film.boxes[index];
  return svg(
    "g",
    { class: hue(device) },
    svg("rect", { x, y, width: w, height: h, rx: 10, style: "fill:var(--hue-soft);stroke:var(--hue);stroke-width:1.5" }),
    svg("text", { x: x + 14, y: y + 23, style: "fill:var(--hue-ink);font-weight:600" }, title),
    svg(
      "text",
      { x: x + w - 14, y: y + 23, class: "small muted", "text-anchor": "end" },
      w > title.length * 8 + note.length * 7 + 52 ? note : "",
    ),
  );
}

export function drawFence(film, plan, fence) {
  const { x, y, w } = plan.boxes[fence.box];
  const top = y + HEAD + fence.row * ROW;
  const { made, wide } = chip(fence.name, Math.floor((w - 110) / CHAR));
  made.setAttribute("transform", `translate(${x + 20},${top + 8})`);
  return svg(
    "g",
    { class: hue(film.boxes[fence.box].device) },
    svg("rect", {
      x: x + 8,
      y: top + 18,
      width: w - 16,
      height: fence.rows * ROW - 20,
      rx: 10,
      style: "fill:none;stroke:var(--hue-ink);stroke-width:1.4;stroke-dasharray:6 4",
    }),
    made,
    svg("text", { x: x + 28 + wide, y: top + 36, class: "small muted" }, short(fence.kind, Math.floor((w - wide - 60) / 7))),
  );
}

export function drawDot(film, plan, dot, named) {
  const { x, y, side } = place(plan, dot.box, dot.row);
  const anchor = side < 0 ? "end" : "start";
  const room = plan.boxes[dot.box].w - ASIDE;
  const style = dot.there ? "fill:var(--hue)" : "fill:none;stroke:var(--hue);stroke-width:1.5;stroke-dasharray:4 4";
  const made = svg("g", { class: `${hue(film.boxes[dot.box].device)}${dot.fresh && dot.there ? " dl-fresh" : ""}` });
  for (const shift of dot.count > 1 ? [6, 3] : [])
    made.append(svg("circle", { cx: x + shift, cy: y - shift, r: 10, style: "fill:var(--hue-soft);stroke:var(--hue)" }));
  made.append(svg("circle", { cx: x, cy: y, r: 10, style }));
  const first = dot.label || (named ? "" : dot.there ? "no name" : "given back");
  const label = svg(
    "text",
    { x: x + side * 20, y: y - 5, "text-anchor": anchor, class: dot.label ? "dl-mono" : "small muted" },
    short(first, Math.floor(room / CHAR)),
    svg("title", {}, first),
  );
  const size = svg(
    "text",
    { x: x + side * 20, y: y + 12, "text-anchor": anchor, class: dot.there ? "small" : "small muted" },
    short(below(dot.shape, dot.size, dot.note), Math.floor(room / SMALL)),
    svg("title", {}, `${dot.shape}, ${dot.size}${dot.note ? `, ${dot.note}` : ""}`),
  );
  made.append(label, size);
  return made;
}

/** A curve from one dot to another: across the gap, or bowed to the left where boxes stand below each other. */
function route(plan, from, to) {
  const out = ({ x, side }) => (plan.stacked ? x - 44 : x - side * 54);
  const edge = ({ x, y, side }, room) => [x - side * room, y];
  return [edge(from, 10), [out(from), from.y], [out(to), to.y], edge(to, 14)];
}

export function drawArrow(plan, [fromBox, fromRow, toBox, toRow, size]) {
  const points = route(plan, place(plan, fromBox, fromRow), place(plan, toBox, toRow)),
    { x, y } = middle(points);
  const ahead = Math.sign(points[3][0] - points[2][0]);
  const high = plan.stacked ? Math.max(plan.boxes[fromBox].y, plan.boxes[toBox].y) - 17 : y;
  return svg(
    "g",
    {},
    curve(points, "stroke:var(--muted)"),
    svg("path", { d: `M${points[3]}l${-10 * ahead} -5v10z`, style: "fill:var(--muted)" }),
    pill(plan.stacked ? x + size.length * 3.3 + 14 : x, high, size, "var(--line)", false),
  );
}

function thread(plan, [box, row], x, y) {
  const dot = place(plan, box, row);
  const out = dot.x - dot.side * 40;
  return [
    [dot.x - dot.side * 10, dot.y],
    [out, dot.y],
    [out, y],
    [x, y],
  ];
}

export function drawWork(film, plan, [box, text, rows]) {
  const { x, y, w, h } = plan.boxes[box];
  const half = x + w / 2;
  const low = y + h - 20;
  return svg(
    "g",
    { class: hue(film.boxes[box].device) },
    ...rows.map(([from, row]) => curve(thread(plan, [from, row], half, low), "stroke:var(--hue);opacity:.55")),
    pill(half, low, short(text, Math.floor((w - 40) / CHAR)), "var(--hue)"),
  );
}

export function drawRefusal(film, plan, { operator, operands }) {
  if (!operator) return [];
  const { x, y } = between(plan);
  const threads = operands.map(([box, row, stayed]) => {
    const points = thread(plan, [box, row], x, y);
    if (stayed) return svg("g", {}, curve(points, "stroke:var(--stop);stroke-dasharray:6 5"), cross(middle(points)));
    return curve(points, `stroke:var(--${hue(film.boxes[box].device)})`);
  });
  return [...threads, pill(x, y, short(operator, 12), "var(--stop)")];
}

function cross({ x, y }) {
  return svg(
    "g",
    {},
    svg("circle", { cx: x, cy: y, r: 10, style: "fill:var(--stop)" }),
    svg("path", { d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8`, style: "stroke:var(--paper);stroke-width:2.2" }),
  );
}

/** The number by which a part of the message means a dot. */
export function badge(film, plan, box, row, number) {
  const { x, y, side } = place(plan, box, row);
  return numbered(x - side * 4, y - 14, number, `var(--${hue(film.boxes[box].device)})`);
}

/** The number by which a part of the message means the operator itself. */
export function operatorBadge(plan, number) {
  const { x, y } = between(plan);
  return numbered(x, y - 19, number, "var(--stop)");
}

function numbered(x, y, number, edge) {
  return svg(
    "g",
    {},
    svg("circle", { cx: x, cy: y, r: 9, style: `fill:var(--paper);stroke:${edge};stroke-width:2` }),
    svg("text", { x, y: y + 4, class: "small", "text-anchor": "middle", style: "font-weight:700" }, String(number)),
  );
}

export function ring(plan, box, row) {
  const { x, y } = place(plan, box, row);
  return svg("circle", { class: "dl-ring", cx: x, cy: y, r: 16, style: "fill:none;stroke:var(--stop);stroke-width:3" });
}
