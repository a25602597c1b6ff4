// The pure functions of the capstone's picture, without a browser: node --test tests/widgets
import assert from "node:assert/strict";
import test from "node:test";
import { caption, layout, listed, merged } from "../../utils/devicelab/widgets/rescue_plan.js";

const data = {
  say: "1 of the 2 faults is mended.",
  bars: [
    {
      name: "as given",
      text: "2.00 ms",
      pieces: [
        [-1, 1500],
        [0, 500],
      ],
    },
    { name: "your train.py", text: "1.50 ms", pieces: [[-1, 1500]] },
  ],
  lanes: [{ name: "as given", seconds: 1900, rows: [{ device: "cpu", events: [[0, 100, "wait"]] }] }],
  lights: [
    { name: "if error < 0.5", state: "mended", slow: true, cost: "500 µs of every step", say: "1: mended." },
    { name: "x.to(device)", state: "there", slow: false, cost: "every step", say: "2: still in the file." },
  ],
};

test("bars and lanes have one scale of time, and the longest leaves room for its time", () => {
  const { bars, lanes, left } = layout(data, 960);
  const scale = (bars[0].end - left) / 2000;
  assert.ok(bars[0].end < 960 - 70);
  assert.equal(bars[0].pieces[1].x, left + 1500 * scale);
  assert.equal(bars[1].end, left + 1500 * scale);
  assert.equal(lanes[0].w, 1900 * scale);
  assert.equal(lanes[0].rows[0].marks[0].w, 100 * scale);
});

test("a narrow picture sets names above the bars, and nothing leaves it", () => {
  const { bars, lanes, narrow } = layout(data, 500);
  assert.ok(narrow && bars[0].labelY < bars[0].y);
  for (const { pieces } of bars) for (const { x, w } of pieces) assert.ok(x >= 0 && x + w <= 500);
  assert.ok(lanes[0].x + lanes[0].w <= 500);
});

test("things stand below each other", () => {
  const { bars, lanes, height } = layout(data, 960);
  const tops = [bars[0].y, bars[1].y, lanes[0].rows[0].y, height];
  assert.deepEqual(
    tops,
    [...tops].sort((a, b) => a - b),
  );
});

test("neighbours of one kind become one, of two kinds they do not", () => {
  const events = [
    [0, 5, "wait"],
    [5.2, 5, "wait"],
    [10.3, 1, "other"],
    [30, 1, "other"],
  ];
  assert.deepEqual(merged(events, 1), [
    [0, 10.2, "wait"],
    [10.3, 1, "other"],
    [30, 1, "other"],
  ]);
});

test("the first step says the whole, each further one a fault", () => {
  assert.deepEqual(
    [0, 1, 2].map((step) => caption(data, step)),
    [data.say, "1: mended.", "2: still in the file."],
  );
});

test("what costs time is listed first, with the number that the picture gives it", () => {
  assert.deepEqual(
    listed(data).map(({ lights }) => lights.map(({ index }) => index)),
    [[0], [1]],
  );
});
