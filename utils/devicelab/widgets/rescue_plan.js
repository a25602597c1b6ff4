// Where bars and lanes of the capstone's picture stand: no browser is touched here.

export const BAR = 26; // pixels, as all that follow
export const LANE = 20;
const LABEL = 170;
const TIME = 76; // right of a bar, for its time
const NARROW = 620;
const THINNEST = 1.2; // so that a short operator can be seen

/** Bars and lanes in a picture of this width, all on one scale of time. */
export function layout(data, width) {
  const narrow = width < NARROW;
  const left = narrow ? 0 : LABEL;
  const longest = Math.max(...data.bars.map(total), ...data.lanes.map(({ seconds }) => seconds));
  const scale = (width - left - TIME) / longest;
  const above = narrow ? 22 : 0;
  const inset = narrow ? 56 : 0; // the lanes' own labels
  let y = 22;
  const bars = data.bars.map((bar) => {
    const top = y + above;
    let x = left;
    const pieces = bar.pieces.map(([fault, micro]) => {
      const w = micro * scale;
      x += w;
      return { fault, x: x - w, w };
    });
    y = top + BAR + 24;
    return { name: bar.name, text: bar.text, y: top, labelY: narrow ? top - 22 + 12 : top + 18, end: x, pieces };
  });
  y += 4;
  const lanes = data.lanes.map((one) => {
    const top = y + 22;
    const fit = (width - Math.max(left, inset) - TIME) / longest;
    const rows = one.rows.map(({ device, events }, index) => ({
      device,
      y: top + index * (LANE + 4),
      marks: merged(events, 1 / fit).map(([begin, micro, phase]) => ({
        x: Math.max(left, inset) + begin * fit,
        w: Math.max(micro * fit, THINNEST),
        phase,
      })),
    }));
    y = top + one.rows.length * (LANE + 4) + 10;
    return { name: one.name, labelY: top - 8, rows, x: Math.max(left, inset), w: one.seconds * fit };
  });
  return { width, narrow, bars, lanes, left: Math.max(left, inset), height: y };
}

function total(bar) {
  return bar.pieces.reduce((sum, [, micro]) => sum + micro, 0);
}

/** Neighbours of one kind with less than a pixel between them are drawn as one. */
export function merged(events, pixel) {
  const found = [];
  for (const [begin, micro, phase] of events) {
    const last = found[found.length - 1];
    if (last && last[2] === phase && begin - (last[0] + last[1]) < pixel) last[1] = Math.max(last[1], begin + micro - last[0]);
    else found.push([begin, micro, phase]);
  }
  return found;
}

/** All that a step says, for who hears the picture: the whole, or one fault. */
export function caption(data, step) {
  return step === 0 ? data.say : data.lights[step - 1].say;
}

/** The lights in the order in which they are listed: those that cost time come first. */
export function listed(data) {
  const all = data.lights.map((light, index) => ({ ...light, index }));
  return [
    { title: "Costs time", lights: all.filter(({ slow }) => slow) },
    { title: "Costs no time, costs the result", lights: all.filter(({ slow }) => !slow) },
  ];
}
