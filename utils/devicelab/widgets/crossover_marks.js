// What the crossover is drawn with: axes, zones, lines, points with their labels, and the bars beside them.

import { html, short, svg } from "./common.js";
import { KEY, labels, round, ticks, zones } from "./crossover_plan.js";

const path = (points) => points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join("");

export function drawAxes(view, plan, now) {
  const lines = plan.decades.flatMap((decade) => {
    const y = plan.y(10 ** decade);
    return [
      svg("path", { d: `M${plan.left} ${y}H${plan.end}`, style: "stroke:var(--line)" }),
      svg("text", { x: plan.left - 10, y: y + 4, class: "small muted", "text-anchor": "end" }, round(decade)),
    ];
  });
  const numbers = ticks(view, plan, now).map((stop) =>
    svg(
      "text",
      {
        x: plan.x(view.stops[stop]),
        y: plan.bottom + 20,
        class: stop === now ? "small" : "small muted",
        style: stop === now ? "font-weight:700" : "",
        "text-anchor": "middle",
      },
      view.stops[stop].toLocaleString("en"),
    ),
  );
  const x = plan.x(view.stops[now]);
  return [
    ...lines,
    ...numbers,
    svg("path", { d: `M${x} ${plan.top}V${plan.bottom}`, style: "stroke:var(--ink);stroke-width:1.5" }),
  ];
}

const ZONE = { CPU: "fill:var(--hue-soft)", GPU: "fill:var(--hue-soft)", "": "fill:var(--panel)" };

/** What the colours behind the lines mean: words with a swatch each. */
export function drawKey() {
  return KEY.map(([who, words]) => {
    const style = `${ZONE[who]};stroke:var(--line)`;
    const rect = svg("rect", { x: 0.5, y: 0.5, width: 11, height: 11, style });
    const swatch = svg("svg", { width: 12, height: 12, class: who === "CPU" ? "cpu" : "gpu", "aria-hidden": "true" }, rect);
    return html("span", {}, swatch, words);
  });
}

export function drawZones(view, plan, who, reached) {
  return zones(view, plan, who, reached).map((zone) => {
    const wide = Math.max(2, zone.right - zone.left);
    const made = svg(
      "g",
      { class: zone.who === "CPU" ? "cpu" : "gpu" },
      svg("rect", { x: zone.left, y: plan.top, width: wide, height: plan.bottom - plan.top, style: ZONE[zone.who] }),
    );
    if (wide > zone.words.length * 7 + 8) {
      const style = zone.who ? "fill:var(--hue-ink);font-weight:600" : "fill:var(--muted);font-weight:600";
      const place = { x: (zone.left + zone.right) / 2, y: plan.bottom - 10, "text-anchor": "middle" };
      made.append(svg("text", { ...place, class: "small", style }, zone.words));
    }
    return made;
  });
}

/** A line with its band and its points, as far as the learner has drawn it; `faint` for a card that was chosen before. */
export function drawTrail(view, plan, hue, times, reached, faint = false) {
  const xs = view.stops.slice(0, reached + 1).map(plan.x);
  const at = (part) => xs.map((x, index) => [x, plan.y(times[index][part])]);
  const style = faint ? "fill:none;stroke:var(--muted);stroke-dasharray:5 4" : "fill:none;stroke:var(--hue);stroke-width:2.2";
  const line = svg("path", { d: path(at(1)), style });
  if (faint) return svg("g", {}, line);
  const band = svg("path", {
    d: `${path([...at(0), ...at(2).reverse()])}Z`,
    style: "fill:var(--hue);opacity:.22;stroke:var(--hue);stroke-width:6;stroke-linejoin:round;stroke-opacity:.6",
  });
  return svg("g", { class: hue }, band, line, ...at(1).map(([x, y]) => mark(hue, x, y, 4)));
}

function mark(hue, x, y, size) {
  const style = "fill:var(--hue);stroke:var(--paper);stroke-width:1.5";
  if (hue === "cpu") return svg("circle", { cx: x, cy: y, r: size, style });
  return svg("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size, rx: 1, style });
}

/** Times that others measured on a real card. */
export function drawDots(view, plan, reached) {
  return view.dots.slice(0, reached + 1).map((seconds, stop) => {
    const [x, y] = [plan.x(view.stops[stop]), plan.y(seconds)];
    return svg("path", { d: `M${x} ${y - 7}l7 7l-7 7l-7-7z`, style: "fill:var(--paper);stroke:var(--ink);stroke-width:2" });
  });
}

/** The present points, each with its time, and under the card's what it is bound by. */
export function drawNow(view, plan, card, now) {
  const x = plan.x(view.stops[now]);
  const ys = [view.cpu ? plan.y(view.cpu.times[now][1]) : null, plan.y(card.times[now][1])];
  const right = x < (plan.left + plan.end) * 0.55;
  const room = Math.floor(((right ? plan.end - x : x - plan.left) + 8) / 7);
  const place = { x: right ? x + 14 : x - 14, "text-anchor": right ? "start" : "end" };
  const halo = "paint-order:stroke;stroke:var(--paper);stroke-width:4;stroke-linejoin:round";
  return labels(ys, plan).flatMap((y, index) => {
    if (y === null) return [];
    const hue = index ? "gpu" : "cpu";
    const name = index ? `${card.name}, ${card.texts[now]}` : `CPU, ${view.cpu.texts[now]}`;
    const texts = [svg("text", { ...place, y: y + 4, style: `fill:var(--hue-ink);font-weight:700;${halo}` }, short(name, room))];
    if (index) texts.push(svg("text", { ...place, y: y + 20, class: "small", style: halo }, `bound by ${card.bounds[now]}`));
    return [svg("g", { class: hue }, mark(hue, x, ys[index], 7), ...texts)];
  });
}

/** The CPU's step, and of the card's what the CPU launches and what the card works: two bars, for both run at once. */
export function drawBars(view, plan, card, now) {
  const bars = card.bars[now];
  if (!bars || !view.cpu) return [];
  const [submit, work, submitText, workText] = bars;
  const cpu = view.cpu.times[now][1];
  const scale = (plan.side - 4) / Math.max(cpu, submit, work);
  const rows = [
    ["cpu", "CPU, measured", 0, "", true],
    ["cpu", `a step: ${view.cpu.texts[now]}`, cpu, "var(--hue)", false],
    ["gpu", `${card.name}, estimated`, 0, "", true],
    ["gpu", `a step: ${card.texts[now]}`, 0, "", false],
    ["cpu", `the CPU launches: ${submitText}`, submit, "var(--hue-soft)", false],
    ["gpu", `the card works, meanwhile: ${workText}`, work, "var(--hue)", false],
  ];
  let y = 14;
  return rows.map(([hue, words, seconds, fill, bold]) => {
    const style = bold ? "fill:var(--hue-ink);font-weight:700" : "";
    const made = svg(
      "g",
      { class: hue },
      svg("text", { x: 0, y, class: bold ? "" : "small", style }, short(words, plan.side / 6.6)),
    );
    if (seconds)
      made.append(
        svg("rect", {
          x: 1,
          y: y + 6,
          width: Math.max(2, seconds * scale),
          height: 14,
          rx: 2,
          style: `fill:${fill};stroke:var(--hue);stroke-width:1`,
        }),
      );
    y += seconds ? 42 : 18;
    return made;
  });
}
