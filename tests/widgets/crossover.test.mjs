// What stands where in the crossover, tried without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  caption,
  KEY,
  labels,
  layout,
  nearest,
  round,
  ticks,
  turned,
  zones,
} from "../../utils/devicelab/widgets/crossover_plan.js";

const times = (...middles) => middles.map((middle) => [middle / 2, middle, middle * 2]);
const view = {
  stops: [10, 100, 1000, 10000],
  cpu: { times: times(1e-4, 1e-4, 1e-3, 1e-2), texts: ["100 µs", "100 µs", "1 ms", "10 ms"] },
  cards: [
    {
      name: "Card",
      times: times(5e-4, 5e-4, 5e-4, 6e-4),
      texts: ["500 µs", "500 µs", "500 µs", "600 µs"],
      bars: [
        [5e-4, 1e-5, "500 µs", "10 µs"],
        [5e-4, 1e-5, "500 µs", "10 µs"],
        [5e-4, 1e-4, "500 µs", "100 µs"],
        [5e-4, 6e-4, "500 µs", "600 µs"],
      ],
      bounds: ["launching", "launching", "launching", "arithmetic"],
      who: ["CPU", "CPU", "", "GPU"],
      turn: 3,
      heads: ["CPU", "CPU", "Nobody can say", "GPU"],
      says: ["a", "b", "c", "d"],
    },
  ],
  dots: [],
};
const plan = layout(view, 1000);

test("both axes are logarithmic, and hold every time with its range", () => {
  assert.ok(Math.abs(plan.x(100) - plan.x(10) - (plan.x(1000) - plan.x(100))) < 1e-9);
  assert.equal(plan.x(10000), plan.end);
  assert.ok(Math.abs(plan.y(1e-3) - plan.y(1e-2) - (plan.y(1e-4) - plan.y(1e-3))) < 1e-9);
  assert.deepEqual(plan.decades, [-5, -4, -3, -2, -1]);
  for (const second of [5e-5, 2e-2]) assert.ok(plan.y(second) > plan.top && plan.y(second) < plan.bottom);
});

test("a narrow picture has its panel below the chart", () => {
  assert.ok(plan.beside);
  const narrow = layout(view, 524);
  assert.ok(!narrow.beside && narrow.width === 524 && narrow.side === 524);
});

test("powers of ten are written in their unit", () => {
  assert.deepEqual([-7, -4, -3, -2, 0, 1].map(round), ["100 ns", "100 µs", "1 ms", "10 ms", "1 s", "10 s"]);
});

test("the key says what each colour behind the lines means", () => {
  const drawn = zones(view, plan, view.cards[0].who, 3);
  assert.equal(KEY.length, drawn.length);
  for (const zone of drawn) assert.ok(KEY.some(([who, words]) => who === zone.who && words.startsWith(zone.words)));
});

test("neighbours with one leader are one zone, and nothing ahead of the knob is shown", () => {
  const who = view.cards[0].who;
  assert.equal(zones(view, plan, who, 0).length, 1);
  assert.equal(zones(view, plan, who, 0)[0].right, plan.x(10));
  const all = zones(view, plan, who, 3);
  assert.deepEqual(
    all.map((zone) => zone.words),
    ["CPU ahead", "nobody can say", "GPU ahead"],
  );
  assert.equal(all[0].right, all[1].left);
  assert.equal(all[2].right, plan.end);
});

test("the cards come when the lead has changed, or at the end where it does not", () => {
  assert.deepEqual(
    [0, 2, 3].map((reached) => turned(view, reached)),
    [false, false, true],
  );
  const never = { ...view, cards: [{ ...view.cards[0], turn: null }] };
  assert.ok(!turned(never, 2) && turned(never, 3));
});

test("a place in the chart leads to the nearest stop", () => {
  assert.deepEqual(
    [0, plan.x(100) + 3, 5000].map((x) => nearest(view, plan, x)),
    [0, 1, 3],
  );
});

test("labels of near points do not touch, and stay inside", () => {
  for (const [cpu, card] of [
    [100, 100],
    [100, 110],
    [110, 100],
    [plan.bottom, plan.bottom - 2],
    [plan.top, plan.top + 1],
  ]) {
    const placed = labels([cpu, card], plan);
    assert.ok(Math.abs(placed[0] - placed[1]) >= 30, `${placed}`);
    assert.ok(Math.max(...placed) <= plan.bottom && Math.min(...placed) >= plan.top - 30, `${placed}`);
  }
  assert.deepEqual(labels([null, 100], plan), [null, 100]);
});

test("numbers that would touch are left out, the present one never", () => {
  const close = { ...view, stops: [1000, 1010, 1020, 10000] };
  const scale = layout(close, 1000);
  assert.deepEqual(ticks(close, scale, 1).sort(), [1, 3]);
});

test("who hears it is told both times, both bars, the bound and who leads", () => {
  const said = caption(view, view.cards[0], 0);
  for (const part of [
    "w = 10.",
    "CPU 100 µs, measured",
    "Card 500 µs, estimated",
    "bound by launching",
    "launches 500 µs while",
    "works 10 µs",
  ])
    assert.ok(said.includes(part), part);
});
