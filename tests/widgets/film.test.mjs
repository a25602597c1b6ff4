// The film's pure functions, without a browser: node --test tests/widgets
import assert from "node:assert/strict";
import test from "node:test";
import { hue, middle, moved, passes, short, within } from "../../utils/devicelab/widgets/common.js";
import {
  ASIDE,
  at,
  below,
  between,
  CHAR,
  caption,
  layout,
  needed,
  place,
  SMALL,
} from "../../utils/devicelab/widgets/film_plan.js";

const film = {
  boxes: [
    { device: "cpu", title: "CPU memory", note: "", rows: 3 },
    { device: "cuda:0", title: "cuda:0 memory", note: "", rows: 4 },
  ],
  code: [
    [1, "x = torch.ones(2)"],
    [2, "x.to('cuda')"],
    [3, "x = x.to('cuda')"],
  ],
  looks: [
    [0, 0, "2", "8 bytes", "", -1, 1, ""],
    [1, 0, "2", "8 bytes", "", -1, 1, ""],
    [1, 1, "2", "8 bytes", "weight", 0, 1, ""],
  ],
  dots: [
    [0, 1, 3, true],
    [1, 2, 2, true],
    [1, 3, 4, false],
    [2, 3, 4, false],
  ],
  names: [
    ["x", 0, 0, 1, 3],
    ["x", 1, 0, 3, 4],
  ],
  fences: [["model", "Linear", 1, 1, 2]],
  steps: [
    { say: "Before." },
    { line: 1, turn: 1, say: "x is new." },
    { line: 2, turn: 2, say: "A copy.", inner: "f: g()" },
    { line: 3, turn: 1, say: "x moves." },
  ],
};

test("before the first line nothing is there", () => {
  assert.deepEqual(at(film, 0), { dots: [], pins: [], fences: [] });
});

test("a dot is there from one step on and before another", () => {
  assert.deepEqual(
    at(film, 1).dots.map(({ box, there, fresh }) => [box, there, fresh]),
    [[0, true, true]],
  );
});

test("what just left is told from what is there, and a copy that nobody kept only leaves", () => {
  assert.deepEqual(
    at(film, 2).dots.map(({ box, there }) => [box, there]),
    [
      [0, true],
      [1, false],
    ],
  );
  assert.deepEqual(
    at(film, 3).dots.map(({ box, row, there }) => [box, row, there]),
    [
      [0, 0, false],
      [1, 0, true],
      [1, 1, true],
    ],
  );
});

test("a name stands where its memory is", () => {
  assert.deepEqual(
    [1, 2, 3].map((step) => at(film, step).pins),
    [[{ name: "x", box: 0, row: 0 }], [{ name: "x", box: 0, row: 0 }], [{ name: "x", box: 1, row: 0 }]],
  );
});

test("a fence stands while something is in it", () => {
  assert.deepEqual(at(film, 2).fences, []);
  assert.deepEqual(
    at(film, 3).fences.map(({ name, row, rows }) => [name, row, rows]),
    [["model", 1, 2]],
  );
});

for (const width of [320, 400, 560, 700, 964, 1400]) {
  test(`at ${width} pixels all dots lie in their boxes, and the boxes in the picture and apart`, () => {
    const plan = layout(film, width);
    const [one, other] = plan.boxes;
    assert.ok(one.x + one.w < other.x || one.y + one.h < other.y);
    for (const { x, y, w, h } of plan.boxes) assert.ok(x >= 0 && x + w <= plan.width + 1e-6 && y + h <= plan.height + 1e-6);
    assert.ok(plan.width <= width && (plan.narrow || plan.width + plan.code <= width));
    film.boxes.forEach(({ rows }, box) => {
      const dot = place(plan, box, rows - 1),
        { x, y, w, h } = plan.boxes[box];
      assert.ok(dot.x - 10 > x && dot.x + 10 < x + w && dot.y + 20 < y + h);
    });
  });
}

test("dots of two boxes that stand side by side face each other", () => {
  const plan = layout(film, 964);
  assert.deepEqual([place(plan, 0, 0).side, place(plan, 1, 0).side], [-1, 1]);
  assert.equal(place(plan, 0, 0).y, place(plan, 1, 0).y);
});

test("boxes stand nearer where nothing is copied or refused, so that more of the names fits", () => {
  const still = layout({ ...film, steps: [{ say: "Where things are." }] }, 964);
  const moving = layout({ ...film, steps: [...film.steps, { say: "A copy.", arrows: [[0, 0, 1, 0, "8 bytes"]] }] }, 964);
  assert.ok(still.boxes[0].w > moving.boxes[0].w + 30 && still.boxes[1].x - still.boxes[0].w < 30);
});

test("boxes of a calm film stand below each other where the words of their dots would be cut side by side", () => {
  const name = "state[net.0.weight].step",
    words = "one number, stays on purpose";
  const calm = {
    ...film,
    looks: [[0, 0, "one number", "4 bytes", name, 0, 1, "stays on purpose"]],
    steps: [{ say: "Where things are." }],
  };
  const narrow = layout(calm, 486);
  assert.ok(narrow.stacked && !layout(calm, 964).stacked && !layout({ ...film, steps: calm.steps }, 486).stacked);
  for (const { w } of narrow.boxes) assert.ok(w >= needed(calm));
  assert.equal(below("one number", "4 bytes", "stays on purpose"), words);
  assert.equal(needed(calm), ASIDE + Math.max(name.length * CHAR, words.length * SMALL));
});

test("boxes between which something is copied stay side by side at 486 px, with room for 100 × 10 floats in words", () => {
  const moving = { ...film, steps: [...film.steps, { say: "A copy.", arrows: [[0, 0, 1, 0, "4,000 bytes"]] }] };
  const plan = layout(moving, 486);
  assert.ok(!plan.stacked && plan.gap < layout(moving, 964).gap);
  for (const { w } of plan.boxes) assert.ok((w - ASIDE) / SMALL >= "100 × 10, 4,000 bytes".length);
});

test("a caption says the line, its turn, the function inside and what happened", () => {
  assert.equal(caption(film, 0), "Before.");
  assert.equal(caption(film, 2), "Line 2, turn 2: x.to('cuda'). In f: g(). A copy.");
});

test("keys lead on, back and to both ends, and no further; others are not ours", () => {
  assert.deepEqual(
    ["ArrowRight", "ArrowLeft", "Home", "End", "PageDown"].map((key) => moved(key, 2, 3)),
    [3, 1, 0, 3, 0],
  );
  assert.equal(moved("ArrowRight", 3, 3), 3);
  assert.equal(moved("Enter", 2, 3), undefined);
});

test("keys with a modifier, and Tab, are the notebook's; all others stay in the picture", () => {
  const pressed = [{ key: "s", ctrlKey: true }, { key: "Enter", shiftKey: true }, { key: "Tab" }, { key: "d" }, { key: "Home" }];
  assert.deepEqual(
    pressed.map((event) => Boolean(passes(event))),
    [true, true, true, false, false],
  );
});

test("a step stays within its bounds", () => {
  assert.deepEqual(
    [-1, 0, 2, 7].map((step) => within(step, 3)),
    [0, 0, 2, 3],
  );
});

for (const width of [320, 964]) {
  test(`at ${width} pixels a refused operator stands in no box`, () => {
    const plan = layout(film, width);
    const { x, y } = between(plan);
    for (const box of plan.boxes) assert.ok(x < box.x || x > box.x + box.w || y < box.y || y > box.y + box.h);
  });
}

test("colours belong to devices", () => {
  assert.deepEqual(["cpu", "cuda:0", "cuda:1", "mps:0", "meta"].map(hue), ["cpu", "gpu", "gpu2", "gpu", "meta"]);
});

test("a text is cut to its room", () => {
  assert.deepEqual(
    [short("weight", 6), short("weight", 4), short("w", 0)],
    ["weight", "wei…", "w…"].map((text) => text),
  );
});

test("the middle of a curve", () => {
  assert.deepEqual(
    middle([
      [0, 0],
      [4, 0],
      [4, 8],
      [8, 8],
    ]),
    { x: 4, y: 4 },
  );
});
