// What a picture of lanes shows at a step: no browser is touched here. Times are µs.

export const KINDS = ["forward", "backward", "optimizer", "other", "copy", "load", "wait"];
export const WAIT = KINDS.indexOf("wait");
const OTHER = KINDS.indexOf("other");
const MOST = 400; // orders that a queue draws

/** A time for people, with three digits. */
export function time(us) {
  const [scale, unit] = us >= 1e6 ? [1e6, "s"] : us >= 1e3 ? [1e3, "ms"] : us >= 1 || us === 0 ? [1, "µs"] : [1e-3, "ns"];
  return `${digits(us / scale)} ${unit}`;
}

/** A number with three significant digits, and commas. */
export function digits(value) {
  if (value === 0) return "0";
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** Round times from 0 on for an axis of this length, with their unit: [[time, word], ...]. */
export function ticks(length, most = 6) {
  const power = 10 ** Math.floor(Math.log10(length / most));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => length / each <= most);
  const [scale, unit] = length > 2e6 ? [1e6, "s"] : length > 2e3 ? [1e3, "ms"] : [1, "µs"];
  const count = Math.floor(length / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, number) => {
    const word = Number(((number * step) / scale).toPrecision(6)).toLocaleString("en-US");
    return [number * step, number === count ? `${word} ${unit}` : word];
  });
}

// --- a trace: one bar of the CPU after the other ---------------------------------------------------------------------

/** What the CPU did, in order: [track, lane, bar]; an empty one comes first. */
export function moments(data) {
  const found = [null];
  data.tracks.forEach((track, number) => {
    const lane = Math.max(
      0,
      track.lanes.findIndex(({ device }) => device === "cpu"),
    );
    for (const bar of track.lanes[lane]?.bars ?? []) found.push([number, lane, bar]);
  });
  return found;
}

/** The card's bar that belongs to the CPU's: [lane, bar], or nothing. */
export function joined(track, lane, bar) {
  if (bar[4] < 0) return undefined;
  for (const [number, { bars }] of track.lanes.entries()) {
    const found = number === lane ? undefined : bars.find((other) => other[4] === bar[4]);
    if (found) return [number, found];
  }
  return undefined;
}

const bare = (name) => name.replace(/^aten::/, "");

/** What is to be said of a moment. */
export function told(data, moment) {
  if (!moment) return `${data.say} Step through the CPU's lane to see each order and the work that it leads to.`;
  const [number, lane, bar] = moment;
  const track = data.tracks[number];
  const name = bare(data.names[bar[3]]) || "an operator";
  const [begin, end] = [bar[0], bar[0] + bar[1]];
  const where = track.title ? `${track.title}: the` : "The";
  if (bar[2] === WAIT) return `${where} CPU stands still for ${time(bar[1])}, in ${name}, until the card has done its work.`;
  const found = joined(track, lane, bar);
  if (!found) return `${where} CPU works on ${name} itself, from ${time(begin)} to ${time(end)}.`;
  const [other, work] = found;
  const done = work[0] + work[1];
  const late = work[0] > end + 0.01 ? `, ${time(work[0] - end)} after the order` : "";
  return (
    `${where} CPU writes the order for ${name}, until ${time(end)}; ${track.lanes[other].device} begins at ${time(work[0])}${late}, ` +
    `and is done at ${time(done)}. A stopwatch stopped here reads ${time(end)}; with synchronize() before it, ${time(Math.max(end, done))}.`
  );
}

// --- a queue: so many equal orders, and one line that can be moved ---------------------------------------------------

export const PLACES = [3, 2, 1, 0]; // where synchronize() stands among the lines, by step

/** The orders of a queue: when each is written, when its work begins and ends. */
export function orders({ launch, work, count }) {
  let free = 0;
  return Array.from({ length: count }, (_, number) => {
    const written = (number + 1) * launch;
    const begin = Math.max(written, free);
    free = begin + work;
    return { from: number * launch, written, begin, end: free };
  });
}

/** What stopwatches read: stopped at once, after one wait, with a wait after every order; then others that timed this very call. */
export function clocks(set) {
  const { launch, work, count, sync, museum = [] } = set;
  return [
    ["stopped at once", launch * count],
    ["after one wait", orders(set).at(-1).end + sync],
    ["a wait after every order", count * (launch + work + sync)],
    ...museum,
  ];
}

/** The time that a queue's picture holds: the orders and all waits for them; a clock that reads more leaves it. */
export const reach = (read) => Math.max(...read.slice(0, 3).map(([, us]) => us));

/** The frame of a queue at a step: tracks, flags, the reading of the stopwatch, and what is to be said. */
export function queue(set, step) {
  const all = orders(set);
  const [written, done] = [all.at(-1).written, all.at(-1).end];
  const waits = step < 2 ? [[written, done + set.sync - written, WAIT, 1, -1]] : [];
  const shown = all.slice(0, MOST);
  const cpu = shown.map(({ from }, n) => [from, set.launch, OTHER, 2, n]).concat(waits);
  const card = shown.map(({ begin }, n) => [begin, set.work, OTHER, 0, n]);
  const reading = step === 1 ? done + set.sync : written;
  const lanes = [
    { device: "cpu", label: "CPU", bars: cpu },
    { device: set.device, label: set.device, bars: card },
  ];
  return {
    tracks: [{ title: "", end: null, lanes }],
    names: [set.call, "synchronize", "order"],
    reading,
    flags: [
      ["start", 0],
      ["stop", reading],
    ],
    say: saidOfQueue(step, set, reading),
  };
}

function saidOfQueue(step, { count }, reading) {
  const what = count === 1 ? "an order" : `${count} orders`;
  return [
    `Between start and stop the CPU only wrote ${what}: ${time(reading)}. Nobody timed the work; the CPU waits for it after the stopwatch was read.`,
    `The CPU writes ${what}, waits for the work, then reads the stopwatch: ${time(reading)}, and this can be true.`,
    `synchronize() comes before the work: there is nothing to wait for yet. The stopwatch reads ${time(reading)}, the time to write ${what}.`,
    `synchronize() comes before the start: a clean beginning, but nothing waits for the end. The stopwatch reads ${time(reading)}, the time to write ${what}.`,
  ][step];
}

/** How many times the CPU's time a reading is ahead, and whether the card's data sheet allows it. */
export function judged({ cpu, floor }, reading) {
  return { times: cpu ? cpu / reading : null, allowed: floor ? reading >= floor : null };
}

/** The program's lines with synchronize() at its place: [[text, whether it is the one that moves], ...]. */
export function program({ call, count }, step) {
  const work = count === 1 ? call : `for _ in range(${count}): ${call}`;
  const lines = ["start = lab.clock()", work, "stop = lab.clock()"].map((text) => [text, false]);
  lines.splice(PLACES[step], 0, ["torch.cuda.synchronize()", true]);
  return lines;
}

// --- a pipeline: three knobs, one number -----------------------------------------------------------------------------

/** The positions of all knobs at a step; the first knob turns slowest. */
export function turned(knobs, step) {
  const found = [];
  for (const { values } of [...knobs].reverse()) {
    found.unshift(step % values.length);
    step = Math.floor(step / values.length);
  }
  return found;
}

/** The step for positions of all knobs. */
export const stepOf = (knobs, positions) => knobs.reduce((step, { values }, n) => step * values.length + positions[n], 0);

// --- where it stands -------------------------------------------------------------------------------------------------

export const BAR = 30; // pixels, as all that follow
export const LANE = 40;
export const CLOCK = 34;

/** Where everything stands in a picture of this width. */
export function layout({ tracks, flags = [], clocks: read = [], length }, width) {
  const narrow = width < 540;
  const left = narrow ? 0 : 24 + Math.max(...tracks.flatMap(({ lanes }) => lanes.map(({ label }) => label.length * 8)));
  const above = narrow ? 20 : 0; // for the label of a lane, where it does not stand beside it
  let y = flags.length ? 34 : 4;
  const rows = tracks.map(({ title, lanes }) => {
    const top = y;
    y += title ? 26 : 0;
    const lines = lanes.map((_, number) => y + above + number * (LANE + above));
    y += lanes.length * (LANE + above) + 8;
    return { top, lines, bottom: y - 18 };
  });
  const first = y;
  y += read.length * CLOCK;
  const right = 46;
  const scale = Math.max(40, width - left - right) / length;
  return { narrow, left, rows, clocks: first, axis: y, height: y + 30, width, x: (us) => left + us * scale };
}
