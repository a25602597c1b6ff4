"""A call as a queue: the numbers are those of the clocks, the browser counts as Python does, and bad input is told."""

import json
import subprocess

import pytest
import torch

import devicelab as lab
from devicelab.errors import InputError
from devicelab.lanes import WAIT
from devicelab.queue import Queue
from tests.widgets.test_modules import NODE, WIDGETS, needs_node


def product():
    b = torch.zeros(1536, 1536, device="cuda")
    return lambda: b @ b


def small():
    x = torch.zeros(10, device="cuda")

    def twenty():
        y = x
        for _ in range(20):
            y = y + 1

    return twenty


def test_the_stopwatch_that_is_read_at_once_is_faster_than_the_data_sheet():
    with lab.simulate_gpu("Tesla T4"):
        fn = product()
        found = lab.queue(fn, "b @ b", operations=2 * 1536**3, cpu=0.04)
        right = lab.timeit(fn).median
    data = found.data()["queue"]
    read = dict(found.clocks)
    assert read["after one wait"] == pytest.approx(right, rel=0.2)
    assert read["stopped at once"] < found.floor[0] < read["after one wait"]
    assert data["floor"] == pytest.approx(1e6 * 2 * 1536**3 / 8.1e12, rel=0.01) and data["cpu"] == 40_000
    assert "so the first reading is false" in str(found) and "simulated, Tesla T4" in str(found)


def test_small_orders_wait_for_the_cpu_and_a_wait_after_each_adds_both():
    with lab.simulate_gpu("Tesla T4"):
        found = lab.queue(small(), "small()")
    read = dict(found.clocks)
    assert found.data()["queue"]["count"] == 20 and "Drawn as equal orders" in str(found)
    assert read["after one wait"] < 1.2 * read["stopped at once"] < read["a wait after every order"]


def test_clocks_of_the_museum_read_the_call_itself_and_the_axis_is_not_drawn_out_for_them():
    with lab.simulate_gpu("Tesla T4"):
        found = lab.queue(product(), "b @ b")
    read, more = dict(found.clocks), dict(found.data()["queue"]["museum"])
    [first, wall] = more
    assert first == "the first call here" and wall.startswith("time.perf_counter(), this machine imitating")
    assert read[first] == pytest.approx(read["after one wait"], rel=0.5)
    assert read[wall] > 3 * read["after one wait"]  # this machine's own seconds: no card's
    assert more[wall] == pytest.approx(1e6 * read[wall], rel=1e-3)
    assert found.data()["length"] < 2e6 * read["after one wait"]
    assert "What a real card loads in its first call is not simulated." in str(found)


def test_what_stands_first_is_the_false_reading():
    with lab.simulate_gpu("Tesla T4"):
        found = lab.queue(product())
    host, card = found.tracks[0].lanes
    assert [bar.kind for bar in host.bars] == ["other", WAIT] and card.bars[0].begin == host.bars[0].end
    assert dict(found.marks)["stop"] == host.bars[0].end


def test_a_call_without_the_gpu_has_no_queue():
    with lab.simulate_gpu("Tesla T4"):
        with pytest.raises(InputError, match="ran on the CPU alone"):
            lab.queue(lambda: torch.ones(2) + 1)
        with pytest.raises(InputError, match="operations must be above 0"):
            lab.queue(product(), operations=0)
    with pytest.raises(InputError, match="queue needs a function"):
        lab.queue(3)


@needs_node
@pytest.mark.parametrize("numbers", [(12e-6, 2e-3, 1, 4e-6), (10e-6, 2e-6, 20, 4e-6), (10e-6, 35e-6, 7, 0.0)])
def test_the_browser_counts_as_python_does(numbers):
    launch, work, count, wait = numbers
    set_ = json.dumps({"launch": 1e6 * launch, "work": 1e6 * work, "count": count, "sync": 1e6 * wait})
    module = json.dumps((WIDGETS / "lanes_plan.js").as_uri())
    code = f"import {{clocks}} from {module}; console.log(JSON.stringify(clocks({set_})))"
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", code], capture_output=True, text=True, timeout=60, check=True
    )
    here = Queue(launch, work, count, wait).clocks
    assert [(name, pytest.approx(us)) for name, us in json.loads(done.stdout)] == [
        (name, 1e6 * seconds) for name, seconds in here
    ]
