// What the bytes are drawn with: the stack, the card's limit, the lines below.

import { short, svg } from "./common.js";
import { around, brackets, CHAR, even, LABEL, naming, size, stack } from "./memory_plan.js";

// One hue, the card's: the shade is what the bytes are for.
export const SHADES = {
  context: "fill:var(--line)",
  weights: "fill:var(--hue-ink)",
  gradients: "fill:var(--hue);opacity:.95",
  optimizer: "fill:var(--hue);opacity:.7",
  activations: "fill:var(--hue);opacity:.42",
  passing: "fill:var(--hue);opacity:.2",
  cache: "fill:none;stroke:var(--hue);stroke-dasharray:3 3",
};

export function drawGrid(plan) {
  const step = even(plan.top);
  const count = Math.floor(plan.top / step) + 1;
  return Array.from({ length: count }, (_, part) => part * step).flatMap((bytes) => {
    const y = plan.y(bytes);
    return [
      svg("path", { d: `M${plan.left} ${y}H${plan.end}`, style: "stroke:var(--line)" }),
      svg("text", { x: plan.left - 8, y: y + 4, class: "small muted", "text-anchor": "end" }, size(bytes)),
    ];
  });
}

export function drawStack(data, run, plan) {
  const { xs, layers } = stack(data, run, plan);
  const shapes = layers
    .filter(({ most }) => most)
    .map((layer) =>
      svg(
        "path",
        { d: around(xs, layer, plan), style: SHADES[layer.kind] },
        svg("title", {}, `${data.words[layer.kind]}: ${size(layer.most)} at most`),
      ),
    );
  const placed = [];
  const names = layers.slice(0, -1).flatMap((layer) => {
    const place = naming(xs, layer, plan, data.words[layer.kind]);
    if (!place || placed.some(({ x, y }) => Math.abs(x - place.x) < 130 && Math.abs(y - place.y) < 16)) return [];
    placed.push(place);
    const halo = "paint-order:stroke;stroke:var(--paper);stroke-width:3.5;stroke-linejoin:round;font-weight:600";
    return [svg("text", { ...place, class: "small", "text-anchor": "middle", style: halo }, data.words[layer.kind])];
  });
  const high = layers[layers.length - 1].high;
  return [...shapes, outline(xs, high, plan, "stroke:var(--hue-ink);stroke-width:1.6"), ...names];
}

function outline(xs, high, plan, style) {
  const path = xs.map((x, at) => `${at ? "L" : "M"}${x} ${plan.y(high[at])}`).join("");
  return svg("path", { d: path, style: `fill:none;${style}` });
}

/** What the setting before needed, so that a change is seen. */
export function drawBefore(data, run, plan) {
  if (!run) return [];
  const { xs, layers } = stack(data, run, plan);
  return [outline(xs, layers[layers.length - 1].high, plan, "stroke:var(--muted);stroke-width:1.5;stroke-dasharray:2 4")];
}

export function drawLimit(data, run, plan) {
  const words = `all that the card has: ${data.limitText}`;
  const bold = "fill:var(--stop);font-weight:600";
  if (!plan.near)
    return [svg("text", { x: plan.end, y: 14, class: "small", "text-anchor": "end", style: bold }, `${words}, far above`)];
  const y = plan.y(data.limit);
  const made = [
    svg("path", { d: `M${plan.left} ${y}H${plan.end}`, style: "stroke:var(--stop);stroke-width:2" }),
    svg("text", { x: plan.left + 4, y: y - 7, class: "small", style: bold }, words),
  ];
  if (!run.refused) return made;
  return [
    ...made,
    svg("path", { d: `M${plan.end} ${y}V${plan.bottom}`, style: "stroke:var(--stop);stroke-width:2;stroke-dasharray:3 4" }),
    svg("circle", { cx: plan.end, cy: y, r: 11, style: "fill:var(--stop)" }),
    svg("path", { d: `M${plan.end - 4} ${y - 4}l8 8m0-8l-8 8`, style: "stroke:var(--paper);stroke-width:2.2" }),
  ];
}

export function drawLines(run, plan) {
  const last = run.visits.length - 1;
  const colour = (index) => (run.refused && index === last ? "fill:var(--stop);font-weight:700" : "");
  const labels = run.visits.map((visit, index) => {
    const x = plan.left + plan.each * index;
    const text = short(visit.label, Math.floor((plan.each * plan.rows - 4) / CHAR));
    const row = index % plan.rows;
    const half = (text.length * CHAR) / 2;
    return svg(
      "g",
      {},
      svg("path", { d: `M${x} ${plan.bottom}v6`, style: "stroke:var(--muted)" }),
      ...(row
        ? [svg("path", { d: `M${x + plan.each / 2} ${plan.bottom + 3}v${row * LABEL + 4}`, style: "stroke:var(--line)" })]
        : []),
      svg(
        "text",
        {
          x: Math.min(Math.max(x + plan.each / 2, half), plan.width - half),
          y: plan.bottom + 19 + row * LABEL,
          class: "dl-mono small",
          "text-anchor": "middle",
          style: `${colour(index)};font-size:12px`,
        },
        text.length < 3 ? "" : text,
        svg("title", {}, `line ${visit.line}: ${visit.text}`),
      ),
    );
  });
  const steps = brackets(run).map(({ words, from, to }) => {
    const [left, right] = [plan.left + plan.each * from + 4, plan.left + plan.each * (to + 1) - 4];
    const low = plan.bottom + 31 + (plan.rows - 1) * LABEL;
    const place = { x: (left + right) / 2, y: low + 15, "text-anchor": "middle" };
    return svg(
      "g",
      {},
      svg("path", { d: `M${left} ${low}H${right}`, style: "stroke:var(--muted)" }),
      svg("text", { ...place, class: "small", style: `font-weight:600;${colour(to)}` }, right - left < 34 ? "" : words),
    );
  });
  return [...labels, ...steps];
}
