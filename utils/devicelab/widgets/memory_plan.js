// Where the bytes stand in a picture of some width: no browser is touched here.

const LEFT = 74; // pixels, as all that follow
const TOP = 26;
const HIGH = 270;
const FOOT = 58;
const SIDE = 250;
const MOST_ROWS = 3;
export const LABEL = 16; // from one row of labels to the next
const ROOM = 1.3; // above the fullest moment, where the limit is far away
export const CHAR = 7.3; // width of a character of code at 12 pixels

/** The scales of a picture: the words beside the chart, or below it where that leaves too little room. */
export function layout(data, run, width) {
  const beside = width >= 760;
  const wide = beside ? width - SIDE - 20 : width;
  const most = Math.max(...data.runs.map(({ bytes }) => bytes));
  const near = 2 * most > data.limit;
  const top = near ? data.limit * 1.06 : most * ROOM;
  const end = wide - 14;
  const each = (end - LEFT) / Math.max(1, run.visits.length);
  const longest = Math.max(0, ...run.visits.map(({ label }) => label.length)) * CHAR + 8;
  const rows = Math.min(MOST_ROWS, Math.max(1, Math.ceil(longest / each)));
  return {
    beside,
    near,
    top,
    side: beside ? SIDE : width,
    width: wide,
    height: TOP + HIGH + FOOT + (rows - 1) * LABEL,
    left: LEFT,
    end,
    bottom: TOP + HIGH,
    each,
    rows, // of the labels of the lines: neighbours stand below each other where they would touch
    y: (bytes) => TOP + HIGH * (1 - bytes / top),
  };
}

/** The places along the lines, and what each kind holds at each: the context first, from the bottom up. */
export function stack(data, run, plan) {
  const xs = [plan.left];
  const points = [data.kinds.map(() => 0)];
  run.visits.forEach((visit, index) => {
    visit.points.forEach((point, number) => {
      xs.push(plan.left + plan.each * (index + (number + 1) / visit.points.length));
      points.push(point);
    });
  });
  let low = xs.map(() => 0);
  const layers = ["context", ...data.kinds].map((kind, index) => {
    const sizes = points.map((point) => (index ? point[index - 1] : data.context));
    const high = low.map((below, at) => below + sizes[at]);
    const layer = { kind, low, high, most: Math.max(...sizes) };
    low = high;
    return layer;
  });
  return { xs, layers };
}

/** An SVG path around a layer. */
export function around(xs, layer, plan) {
  const up = xs.map((x, at) => `${x} ${plan.y(layer.high[at])}`);
  const back = xs.map((x, at) => `${x} ${plan.y(layer.low[at])}`).reverse();
  return `M${[...up, ...back].join("L")}Z`;
}

/** Where a layer's name stands: in the middle of where it is thickest, if it is thick and wide enough there. */
export function naming(xs, layer, plan, words) {
  let best = null;
  for (let at = 1; at < xs.length - 1; at++) {
    const thick = plan.y(layer.low[at]) - plan.y(layer.high[at]);
    const neighbour = Math.min(
      plan.y(layer.low[at + 1]) - plan.y(layer.high[at + 1]),
      plan.y(layer.low[at - 1]) - plan.y(layer.high[at - 1]),
    );
    const worth = Math.min(thick, 2 * neighbour);
    if (worth > 20 && (!best || worth > best.worth)) best = { worth, at };
  }
  if (!best) return null;
  const half = words.length * 3.4;
  const x = Math.min(Math.max(xs[best.at], plan.left + half), plan.end - half);
  return { x, y: (plan.y(layer.low[best.at]) + plan.y(layer.high[best.at])) / 2 + 4 };
}

/** A round number of bytes of which four or so make `top`. */
export function even(top) {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(top, 1)) / 10));
  return ([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200].find((size) => size * unit * 5 >= top) ?? 500) * unit;
}

/** Neighbouring lines of one step, from the first to the last. */
export function brackets(run) {
  const found = [];
  run.visits.forEach(({ step }, index) => {
    const last = found[found.length - 1];
    if (last?.step === step) last.to = index;
    else found.push({ step, words: step < 0 ? "before" : `step ${step + 1}`, from: index, to: index });
  });
  return found;
}

/** The number of the run at which these knobs stand; the last knob goes fastest. */
export function numberOf(knobs, at) {
  return knobs.reduce((number, knob, index) => number * knob.values.length + at[index], 0);
}

/** Bytes in a unit, with three digits. */
export function size(bytes) {
  const power = bytes < 1 ? 0 : Math.min(3, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  const digits = power ? Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 1)))) : 0;
  return `${value.toFixed(digits)} ${["B", "KiB", "MiB", "GiB"][power]}`;
}

/** All that the picture says of a run, for who hears it. */
export function caption(data, run, setting) {
  const most = run.visits[run.peak]?.points.reduce((a, b) => (sum(b) > sum(a) ? b : a));
  const parts = data.kinds
    .map((kind, index) => (most?.[index] ? `${data.words[kind]} ${size(most[index])}` : ""))
    .filter((part) => part);
  return `${setting ? `${setting}. ` : ""}${run.head}. ${plain(run.say)} At the fullest moment: ${parts.join(", ")}.`;
}

const sum = (sizes) => sizes.reduce((a, b) => a + b, 0);

/** Words without the marks of code. */
export function plain(text) {
  return text.replaceAll("`", "");
}
