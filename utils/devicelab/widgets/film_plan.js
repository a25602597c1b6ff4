// What is there at a step of a film, and where it stands: no browser is touched here.

export const ROW = 46; // pixels, as all that follow
export const HEAD = 36;
export const GAP = 104;
const TIGHT = 86; // the gap of a narrow picture
const CALM = 24; // the gap where nothing is copied or refused
export const CHAR = 7.9; // width of a character of code
export const SMALL = 6.3; // of a character of a dot's second line
export const ASIDE = 66; // what a box needs beside a dot's words
const STRIP = 40;
const GUTTER = 36;

/** What is there after a step: dots, names with their rows, and the fences around them. */
export function at(film, step) {
  const dots = new Map();
  for (const [look, since, until, left] of film.dots) {
    const there = since <= step && step < until;
    if (!there && !(left && step === until)) continue;
    const [box, row, shape, size, label, fence, count, note] = film.looks[look];
    const key = `${box},${row}`;
    if (there || !dots.has(key))
      dots.set(key, { box, row, shape, size, label, fence, count, note, there, fresh: since === step });
  }
  const pins = film.names
    .filter(([, , , since, until]) => since <= step && step < until)
    .map(([name, box, row]) => ({ name, box, row }));
  const fenced = new Set([...dots.values()].map((dot) => dot.fence));
  const fences = film.fences
    .map(([name, kind, box, row, rows]) => ({ name, kind, box, row, rows }))
    .filter((_, index) => fenced.has(index));
  return { dots: [...dots.values()], pins, fences };
}

/** The words below a dot's name. */
export const below = (shape, size, note) => `${shape}, ${note || size}`;

/** How wide a box has to be for all words of its dots and fences. */
export function needed(film) {
  const dots = film.looks.map(([, , shape, size, label, , , note]) =>
    Math.max((label || "").length * CHAR, below(shape, size, note).length * SMALL),
  );
  const fences = film.fences.map(([name, kind]) => name.length * CHAR + kind.length * 7 + 6);
  return ASIDE + Math.max(0, ...dots, ...fences);
}

/** Where the boxes stand in a picture of this width: beside the code, below it, or below each other. */
export function layout(film, width) {
  const count = film.boxes.length,
    high = film.boxes.map(({ rows }) => HEAD + rows * ROW + STRIP),
    highest = Math.max(...high);
  const longest = Math.max(...film.code.map(([, text]) => text.length));
  const code = film.code.length ? Math.min(350, Math.max(200, longest * CHAR + 66)) : -18;
  const narrow = width - code < 430 || count > 2;
  const wide = narrow ? width : width - code - 18;
  const calm = !film.steps.some(({ arrows, refused }) => arrows || refused);
  const gap = calm ? CALM : narrow ? TIGHT : GAP;
  const each = (wide - gap * (count - 1)) / count;
  const stacked = each < 160 || (calm && count > 1 && each < needed(film));
  let foot = 0;
  const boxes = high.map((h, index) => {
    if (!stacked) return { x: index * (each + gap), y: 0, w: each, h: highest, mirror: index === 0 && count > 1 };
    foot += h + GUTTER;
    return { x: 0, y: foot - h - GUTTER, w: wide, h, mirror: false };
  });
  return { narrow, stacked, gap, boxes, code, width: wide, height: stacked ? foot - GUTTER : highest };
}

/** The middle of a row's dot. */
export function place(plan, box, row) {
  const { x, y, w, mirror } = plan.boxes[box];
  return { x: mirror ? x + w - 30 : x + 30, y: y + HEAD + row * ROW + ROW / 2, side: mirror ? -1 : 1 };
}

/** Where a refused operator stands: between the boxes, or between the last two where they stand below each other. */
export function between(plan) {
  const last = plan.boxes[plan.boxes.length - 1];
  if (plan.stacked) return { x: last.w - 70, y: last.y - 18 };
  return { x: plan.boxes.length > 1 ? last.x - plan.gap / 2 : last.w / 2, y: last.h - 20 };
}

/** All that a step says, for who hears the picture. */
export function caption(film, step) {
  const { line, turn, inner, say } = film.steps[step];
  const text = (film.code.find(([number]) => number === line) ?? [0, ""])[1].trim();
  const where = line ? `Line ${line}${turn > 1 ? `, turn ${turn}` : ""}: ${text}. ` : "";
  return `${where}${inner ? `In ${inner}. ` : ""}${say}`;
}
