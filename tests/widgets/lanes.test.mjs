// The lanes' pure functions, without a browser: node --test tests/widgets
import assert from "node:assert/strict";
import test from "node:test";
import {
  clocks,
  digits,
  joined,
  judged,
  layout,
  moments,
  orders,
  program,
  queue,
  reach,
  stepOf,
  ticks,
  time,
  told,
  turned,
  WAIT,
} from "../../utils/devicelab/widgets/lanes_plan.js";

const one = { launch: 12, work: 1920, count: 1, sync: 4, cpu: 48600, floor: 895, call: "b @ b", device: "cuda:0" };
const many = { ...one, launch: 10, work: 2, count: 20, sync: 4, cpu: null, floor: null };
const trace = {
  say: "All.",
  names: ["aten::add", "item"],
  tracks: [
    {
      title: "",
      end: null,
      lanes: [
        {
          device: "cpu",
          label: "CPU",
          bars: [
            [0, 10, 0, 0, 7],
            [10, 30, WAIT, 1, -1],
            [40, 5, 3, 0, -1],
          ],
        },
        { device: "cuda:0", label: "cuda:0", bars: [[25, 5, 0, 0, 7]] },
      ],
    },
  ],
};

test("times and numbers have three digits and one unit", () => {
  assert.deepEqual(
    [time(0), time(15.5), time(1937.4), time(2.5e6), time(0.25)],
    ["0 µs", "15.5 µs", "1.94 ms", "2.50 s", "250 ns"],
  );
  assert.equal(digits(3135.2), "3,135");
});

test("an axis has few round ticks, and its last one has the unit", () => {
  assert.deepEqual(ticks(1937), [
    [0, "0"],
    [500, "500"],
    [1000, "1,000"],
    [1500, "1,500 µs"],
  ]);
  assert.equal(ticks(70000).at(-1)[1], "60 ms");
});

test("work begins when its order is written and the work before it is done", () => {
  assert.deepEqual(
    orders({ launch: 10, work: 25, count: 3 }).map(({ begin }) => begin),
    [10, 35, 60],
  );
  assert.deepEqual(
    orders({ launch: 10, work: 2, count: 3 }).map(({ begin }) => begin),
    [10, 20, 30],
  );
});

test("three stopwatches: waiting after every order adds the lanes, one wait takes the longer", () => {
  assert.deepEqual(
    clocks(many).map(([, us]) => us),
    [200, 206, 320],
  );
  assert.deepEqual(
    clocks(one).map(([, us]) => us),
    [12, 1936, 1936],
  );
});

test("clocks that timed the call itself come last, and the axis is not drawn out for them", () => {
  const read = clocks({ ...one, museum: [["time.perf_counter()", 400_000]] });
  assert.deepEqual(read.at(-1), ["time.perf_counter()", 400_000]);
  assert.equal(reach(read), 1936);
});

test("only a wait between the work and stop makes the reading honest", () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((step) => queue(one, step).reading),
    [12, 1936, 12, 12],
  );
  assert.match(queue(one, 0).say, /only wrote an order: 12.0 µs/);
  assert.match(queue(one, 2).say, /nothing to wait for yet/);
  assert.equal(queue(one, 2).tracks[0].lanes[0].bars.length, 1); // no waiting is drawn
});

test("the data sheet judges a reading", () => {
  assert.deepEqual(judged(one, 12), { times: 4050, allowed: false });
  assert.equal(judged(one, 1936).allowed, true);
  assert.deepEqual(judged(many, 12), { times: null, allowed: null });
});

test("the program shows where synchronize() stands", () => {
  const places = [0, 1, 2, 3].map((step) => program(one, step).findIndex(([, moves]) => moves));
  assert.deepEqual(places, [3, 2, 1, 0]);
  assert.equal(program(many, 0)[1][0], "for _ in range(20): b @ b");
});

test("a trace is stepped through by what the CPU did; at first nothing is marked", () => {
  const found = moments(trace);
  assert.equal(found.length, 4);
  assert.equal(found[0], null);
  assert.match(told(trace, found[0]), /^All\./);
  assert.match(told(trace, found[1]), /order for add, until 10.0 µs; cuda:0 begins at 25.0 µs, 15.0 µs after the order/);
  assert.match(told(trace, found[1]), /stopped here reads 10.0 µs; with synchronize\(\) before it, 30.0 µs/);
  assert.match(told(trace, found[2]), /stands still for 30.0 µs, in item/);
  assert.match(told(trace, found[3]), /works on add itself/);
});

test("an order leads to its work", () => {
  const [track] = trace.tracks;
  assert.equal(joined(track, 0, track.lanes[0].bars[0])[1][0], 25);
  assert.equal(joined(track, 0, track.lanes[0].bars[2]), undefined);
});

test("every position of the knobs has a step, and the first knob turns slowest", () => {
  const knobs = [{ values: ["a", "b"] }, { values: ["c", "d"] }, { values: ["0", "2", "4"] }];
  const steps = Array.from({ length: 12 }, (_, step) => stepOf(knobs, turned(knobs, step)));
  assert.deepEqual(steps, [...steps.keys()]);
  assert.deepEqual(turned(knobs, 7), [1, 0, 1]);
});

test("at 560 px names stand above their lanes, and nothing leaves the picture", () => {
  const wide = layout({ ...trace, length: 45 }, 900);
  const narrow = layout({ ...trace, length: 45 }, 524);
  assert.ok(wide.left > 60 && !wide.narrow && narrow.left === 0 && narrow.narrow);
  assert.ok(narrow.x(45) <= 524 && wide.x(45) <= 900);
  assert.ok(narrow.rows[0].lines[1] - narrow.rows[0].lines[0] > wide.rows[0].lines[1] - wide.rows[0].lines[0]);
});
