// What stands where in the picture of the bytes, tried without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  around,
  brackets,
  caption,
  even,
  layout,
  naming,
  numberOf,
  plain,
  size,
  stack,
} from "../../utils/devicelab/widgets/memory_plan.js";

const GIB = 2 ** 30;
const visit = (label, step, ...points) => ({ line: 1, text: label, label, step, points });
const run = {
  visits: [
    visit("to()", -1, [GIB, 0]),
    visit("model()", 0, [GIB, 8 * GIB], [GIB, 8 * GIB], [GIB, 8 * GIB]),
    visit("step()", 0, [GIB, 0]),
    visit("model()", 1, [GIB, 9 * GIB]),
  ],
  peak: 3,
  bytes: 10.5 * GIB,
  refused: null,
  head: "It fits",
  say: "Fullest at `model(x)`.",
};
const data = {
  limit: 15 * GIB,
  limitText: "15.0 GiB",
  context: GIB / 2,
  kinds: ["weights", "activations"],
  words: { context: "CUDA's context", weights: "weights", activations: "activations" },
  knobs: [],
  runs: [run],
};
const plan = layout(data, run, 1000);

test("the limit is in sight where it is near, and only said where it is far", () => {
  assert.ok(plan.near && plan.y(data.limit) > 0 && plan.y(data.limit) < plan.y(run.bytes));
  const small = { ...data, limit: 100 * GIB };
  const far = layout(small, run, 1000);
  assert.ok(!far.near && far.y(run.bytes) > 0);
});

test("a narrow picture has its words below", () => {
  assert.ok(plan.beside && !layout(data, run, 524).beside);
});

test("layers lie on each other, the context at the bottom, and the last ends at the fullest moment", () => {
  const { xs, layers } = stack(data, run, plan);
  assert.deepEqual(
    layers.map(({ kind }) => kind),
    ["context", "weights", "activations"],
  );
  assert.equal(xs.length, 7);
  for (const [index, layer] of layers.slice(1).entries()) assert.deepEqual(layer.low, layers[index].high);
  assert.equal(Math.max(...layers[2].high), run.bytes);
  assert.ok(xs.every((x, index) => !index || x > xs[index - 1]));
  assert.ok(around(xs, layers[0], plan).startsWith(`M${plan.left} `));
});

test("a thick layer has its name inside, a thin one none", () => {
  const { xs, layers } = stack(data, run, plan);
  assert.equal(naming(xs, layers[0], plan, "CUDA's context"), null);
  const { x, y } = naming(xs, layers[2], plan, "activations");
  assert.ok(x > plan.left && x < plan.end && y < plan.bottom);
});

test("lines of one step are bracketed together", () => {
  assert.deepEqual(
    brackets(run).map(({ words, from, to }) => [words, from, to]),
    [
      ["before", 0, 0],
      ["step 1", 1, 2],
      ["step 2", 3, 3],
    ],
  );
});

test("labels of lines that would touch stand below each other, in three rows at most", () => {
  assert.deepEqual(
    [1000, 250, 170].map((width) => layout(data, run, width).rows),
    [1, 2, 3],
  );
  assert.ok(layout(data, run, 250).height > layout(data, run, 500).height);
});

test("the last knob goes fastest", () => {
  const knobs = [{ values: [1, 2, 3] }, { values: [false, true] }];
  assert.deepEqual(
    [
      [0, 0],
      [0, 1],
      [1, 0],
      [2, 1],
    ].map((at) => numberOf(knobs, at)),
    [0, 1, 2, 5],
  );
});

test("sizes have a unit and three digits, the grid's are round", () => {
  assert.deepEqual([0, 512, 2048, 386 * 2 ** 20, 14.74 * GIB].map(size), ["0 B", "512 B", "2.00 KiB", "386 MiB", "14.7 GiB"]);
  assert.equal(even(16 * GIB), 5 * GIB);
  assert.equal(even(300 * 2 ** 20), 100 * 2 ** 20);
});

test("who hears it is told the setting, the answer and what the bytes are for", () => {
  const said = caption(data, run, "batch 8");
  assert.equal(said, "batch 8. It fits. Fullest at model(x). At the fullest moment: weights 1.00 GiB, activations 9.00 GiB.");
  assert.equal(plain("`a` and `b`"), "a and b");
});
