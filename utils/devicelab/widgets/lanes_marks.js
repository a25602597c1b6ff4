// What lanes are drawn with: bars, flags, the zone that no card reaches, the stopwatches, the axis.

import { hue, pill, svg } from "./common.js";
import { BAR, CLOCK, KINDS, ticks, time, WAIT } from "./lanes_plan.js";

const SHADE = { forward: 1, backward: 0.65, optimizer: 0.38, other: 0.85, load: 0.65, copy: 0.15 };
const WORDS = { load: "loads", wait: "waits" };

/** Hatching for waiting, under a name that no other picture on the page has. */
export function hatching(id) {
  const pattern = svg(
    "pattern",
    { id, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 8, height: 8, style: "fill:var(--panel)" }),
    svg("line", { x1: 0, y1: 0, x2: 0, y2: 8, style: "stroke:var(--muted);stroke-width:3" }),
  );
  return svg("defs", {}, pattern);
}

function fill(plan, kind) {
  if (kind === WAIT) return `fill:url(#${plan.hatch});stroke:var(--line)`;
  return `fill:var(--hue);fill-opacity:${SHADE[KINDS[kind]]};stroke:var(--hue);stroke-width:0.6`;
}

export function drawLane(plan, names, lane, y) {
  const made = svg("g", { class: hue(lane.device) });
  for (const [begin, length, kind, name] of lane.bars) {
    const [x, wide] = [plan.x(begin), Math.max(1, plan.x(begin + length) - plan.x(begin) - 0.7)];
    made.append(svg("rect", { x, y, width: wide, height: BAR, rx: wide > 8 ? 2 : 0, style: fill(plan, kind) }));
    const word = WORDS[KINDS[kind]] ?? names[name].replace(/^aten::/, "");
    if (word && word.length * 6.6 + 26 < wide) made.append(pill(x + wide / 2, y + BAR / 2, word, "var(--line)", false));
  }
  const at = plan.narrow ? { x: 0, y: y - 5 } : { x: plan.left - 12, y: y + 20, "text-anchor": "end" };
  made.append(svg("text", { ...at, style: "fill:var(--hue-ink);font-weight:700" }, lane.label));
  return made;
}

export function drawTrack(plan, names, track, row) {
  const made = svg("g", {}, ...track.lanes.map((lane, number) => drawLane(plan, names, lane, row.lines[number])));
  if (track.title) made.append(svg("text", { x: plan.left, y: row.top + 15, class: "dl-mono" }, track.title));
  if (track.end !== null) {
    const x = plan.x(track.end);
    const word = svg("text", { x: x - 6, y: row.top + 15, "text-anchor": "end", style: "font-weight:700" }, time(track.end));
    made.append(upright(x, row.top + 4, row.bottom), word);
  }
  return made;
}

const upright = (x, from, to, style = "") =>
  svg("line", { x1: x, x2: x, y1: from, y2: to, style: `stroke:var(--ink);stroke-width:1.6;${style}` });

/** Flags on the time axis; two that would overlap share one. */
export function drawFlags(plan, flags) {
  const top = 28;
  const joined = [];
  for (const [name, us] of flags) {
    const near = joined.find((other) => Math.abs(plan.x(other.us) - plan.x(us)) < 52);
    if (near) near.name += ` and ${name}`;
    else joined.push({ name, us });
  }
  const made = svg("g", {}, ...flags.map(([, us]) => upright(plan.x(us), top - 6, plan.clocks - 14)));
  for (const { name, us } of joined) {
    const wide = name.length * 7.4 + 16;
    const x = Math.min(Math.max(0, plan.x(us) - (us ? wide / 2 : 0)), plan.width - wide);
    made.append(svg("rect", { x, y: 0, width: wide, height: 22, rx: 4, style: "fill:var(--ink)" }));
    made.append(svg("text", { x: x + 8, y: 15, style: "fill:var(--paper);font-weight:700" }, name));
  }
  return made;
}

/** The time before which no card of this kind can be done. */
export function drawFloor(plan, floor) {
  const [x, y] = [plan.x(0), 26];
  const edge = plan.x(floor);
  const high = plan.axis - y;
  return svg(
    "g",
    {},
    svg("rect", { x, y, width: Math.max(0, edge - x), height: high, style: "fill:var(--stop-soft)" }),
    svg("line", { x1: edge, x2: edge, y1: y, y2: plan.axis, style: "stroke:var(--stop);stroke-width:1.5" }),
  );
}

/** What each stopwatch reads, as a bar from the start on; one that leaves the picture ends in an arrow. */
export function drawClocks(plan, clocks) {
  return svg(
    "g",
    {},
    ...clocks.flatMap(([name, us], number) => {
      const y = plan.clocks + number * CLOCK;
      const leaves = plan.x(us) > plan.width;
      const end = leaves ? plan.width - 9 : plan.x(us);
      const tip = svg("path", { d: `M${end} ${y + 15}l9 6.5l-9 6.5z`, style: "fill:var(--ink)" });
      return [
        ...(leaves ? [tip] : []),
        svg("text", { x: plan.left, y: y + 12, class: "small" }, `${name}: ${time(us)}`),
        svg("rect", {
          x: plan.left,
          y: y + 18,
          width: Math.max(2, end - plan.left),
          height: 7,
          rx: 2,
          style: "fill:var(--ink)",
        }),
      ];
    }),
  );
}

export function drawAxis(plan, length) {
  const y = plan.axis;
  const made = svg("g", {}, svg("line", { x1: plan.left, x2: plan.width, y1: y, y2: y, style: "stroke:var(--muted)" }));
  const most = plan.narrow ? 4 : 6;
  for (const [us, word] of ticks(length, most)) {
    const x = plan.x(us);
    made.append(svg("line", { x1: x, x2: x, y1: y, y2: y + 5, style: "stroke:var(--muted)" }));
    const anchor = x < 12 ? "start" : "middle";
    made.append(svg("text", { x, y: y + 20, class: "small muted", "text-anchor": anchor }, word));
  }
  return made;
}

/** A ring around a bar, and the thread from an order to its work. */
export function drawJoined(plan, row, [lane, bar], found) {
  const box = (line, [begin, length]) => {
    const [x, wide] = [plan.x(begin), Math.max(3, plan.x(begin + length) - plan.x(begin))];
    const at = { x: x - 2, y: row.lines[line] - 3, width: wide + 4, height: BAR + 6, rx: 3 };
    return svg("rect", { ...at, style: "fill:none;stroke:var(--ink);stroke-width:2.2" });
  };
  const made = svg("g", {}, box(lane, bar));
  if (!found) return made;
  const [other, work] = found;
  const [x, y] = [plan.x(bar[0] + bar[1]), row.lines[lane] + BAR + 3];
  made.append(
    svg("path", {
      d: `M${x} ${y}L${plan.x(work[0])} ${row.lines[other] - 3}`,
      style: "fill:none;stroke:var(--ink);stroke-width:2",
    }),
  );
  made.append(box(other, work));
  return made;
}

/** The kinds that are there, as swatches with their names. */
export function legend(tracks) {
  const there = new Set(tracks.flatMap(({ lanes }) => lanes.flatMap(({ bars }) => bars.map((bar) => bar[2]))));
  return [...there]
    .sort((a, b) => a - b)
    .map((kind) => [WORDS[KINDS[kind]] ?? KINDS[kind], kind === WAIT ? "dl-waits" : `opacity:${SHADE[KINDS[kind]]}`]);
}
