// Where the crossover's lines, zones and labels stand in a picture of some width: no browser is touched here.

const SIDE = 290; // pixels, as all that follow
const LEFT = 66;
const TOP = 14;
const HIGH = 290;
const FOOT = 26;
const APART = 40; // between the labels of the two points
const UNITS = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [1e-9, "ns"],
];
const ZONES = { CPU: "CPU ahead", GPU: "GPU ahead", "": "nobody can say" };

/** What the colours behind the lines mean, for the key below them: whose zone it is, and the words. */
export const KEY = [
  ["CPU", "CPU ahead for certain"],
  ["GPU", "GPU ahead for certain"],
  ["", "nobody can say: the ranges overlap, or this machine was busy"],
];

/** The scales of a view: the chart beside the panel, or above it where that leaves too little room. */
export function layout(view, width) {
  const beside = width >= 720;
  const wide = beside ? width - SIDE - 24 : width;
  const times = [...(view.cpu?.times ?? []), ...view.cards.flatMap((card) => card.times), ...view.dots].flat();
  const low = Math.floor(Math.log10(Math.min(...times)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...times))));
  const first = Math.log10(view.stops[0]);
  const span = Math.log10(view.stops[view.stops.length - 1]) - first || 1;
  const end = wide - 22;
  return {
    beside,
    side: beside ? SIDE : width,
    width: wide,
    height: TOP + HIGH + FOOT,
    left: LEFT,
    end,
    top: TOP,
    bottom: TOP + HIGH,
    decades: Array.from({ length: high - low + 1 }, (_, index) => low + index),
    x: (stop) => LEFT + ((end - LEFT) * (Math.log10(stop) - first)) / span,
    y: (seconds) => TOP + (HIGH * (high - Math.log10(seconds))) / (high - low),
  };
}

/** A power of ten in the unit that suits it. */
export function round(decade) {
  const [scale, unit] = UNITS.find(([size]) => 10 ** decade >= size * 0.999) ?? UNITS[3];
  return `${Math.round(10 ** decade / scale)} ${unit}`;
}

/** The stop that lies nearest to a place in the chart. */
export function nearest(view, plan, x) {
  const far = view.stops.map((stop) => Math.abs(plan.x(stop) - x));
  return far.indexOf(Math.min(...far));
}

/** Neighbouring stops with one leader, up to the one that was reached; a zone ends half way to the next. */
export function zones(view, plan, who, reached) {
  const xs = view.stops.map(plan.x);
  const found = [];
  for (let index = 0; index <= reached; index++) {
    const left = index ? (xs[index - 1] + xs[index]) / 2 : xs[0];
    const right = index === reached ? xs[index] : (xs[index] + xs[index + 1]) / 2;
    const last = found[found.length - 1];
    if (last?.who === who[index]) last.right = right;
    else found.push({ who: who[index], words: ZONES[who[index]], left, right });
  }
  return found;
}

/** The stops that show their number: as many as there is room for, the present one always. */
export function ticks(view, plan, now) {
  const shown = [];
  for (const stop of [now, ...view.stops.keys()]) {
    const x = plan.x(view.stops[stop]);
    const room = (other) => Math.abs(plan.x(view.stops[other]) - x) > 30 + 4 * String(view.stops[stop]).length;
    if (shown.every(room)) shown.push(stop);
  }
  return shown;
}

/** The heights of the labels of two points, pushed apart where they would touch; `ys` are those of CPU and card. */
export function labels(ys, plan) {
  const [cpu, card] = ys;
  const within = (y) => Math.min(Math.max(y, plan.top + 14), plan.bottom - 44);
  if (cpu === null) return [null, within(card)];
  const lower = cpu > card ? 0 : 1;
  const gap = Math.abs(cpu - card);
  const push = gap < APART ? (APART - gap) / 2 : 0;
  const placed = [cpu + (lower === 0 ? push : -push), card + (lower === 1 ? push : -push)].map(within);
  if (Math.abs(placed[0] - placed[1]) < APART) placed[1 - lower] = placed[lower] - APART;
  return placed;
}

/** Whether the menu of cards is shown: the lead has changed before the learner's eyes, or there is nothing more to see. */
export function turned(view, reached) {
  return reached >= (view.cards[0].turn ?? view.stops.length - 1);
}

/** All that the picture says at a stop, for who hears it. */
export function caption(view, card, stop) {
  const { name, texts, bars, bounds, heads, says } = card;
  const [, , submit, work] = bars[stop] ?? [];
  const cpu = view.cpu ? `CPU ${view.cpu.texts[stop]}, measured. ` : "";
  const both = submit ? `The CPU launches ${submit} while the card works ${work}. ` : "";
  return `w = ${view.stops[stop]}. ${cpu}${name} ${texts[stop]}, estimated, bound by ${bounds[stop]}. ${both}${heads[stop]}. ${says[stop]}`;
}
