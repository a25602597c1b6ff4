"""Sizes in a row: where the lead changes, what is left out and why. No time is asserted; timings are made up by a formula."""

import io
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from devicelab import devices, simulate_gpu, sweep
from devicelab.errors import InputError
from devicelab.results import Timing
from devicelab.sweep import Line, Point, Sweep, run

GPU = 1e-3  # seconds of a made-up step on the GPU, whatever its size


def timing(seconds: float, wide: float = 0.0, device: str = "cpu", load: float | None = None) -> Timing:
    origin: devices.Origin = "measured" if device == "cpu" else "simulated"
    low, high = (None, None) if device == "cpu" else (seconds / (1 + wide), seconds * (1 + wide))
    samples = (seconds / (1 + wide), seconds, seconds * (1 + wide)) if device == "cpu" else (seconds,) * 3
    return Timing(samples, 1, device, "Card", origin, 1, low, high, load)


def line(*cpu: float, wide: float = 0.0, load: float | None = None) -> Line:
    """Return points at widths 10, 100, 1,000, ... with these CPU times; the GPU always takes a millisecond."""
    points = [
        Point(64, 10 ** (number + 1), timing(seconds, load=load), timing(GPU, wide, "cuda:0"))
        for number, seconds in enumerate(cpu)
    ]
    return Line("width", 64, tuple(points))


# --- the crossover ---------------------------------------------------------------------------------------------------


def test_the_crossover_is_interpolated_on_logarithmic_scales():
    crossover = line(1e-4, 1e-2).crossover
    assert crossover is not None and crossover.leader == "GPU"
    assert crossover.size == pytest.approx(10**1.5)
    assert crossover.low == pytest.approx(crossover.size) == crossover.high


def test_its_uncertainty_comes_from_the_ranges():
    crossover = line(1e-4, 1e-2, wide=9**0.5 - 1).crossover
    assert crossover is not None
    assert crossover.low < crossover.size < crossover.high
    assert crossover.size / crossover.low == pytest.approx(crossover.high / crossover.size)
    text = str(line(1e-4, 1e-2, wide=9**0.5 - 1))
    assert text == "With 64 rows the GPU takes over at about a width of 32 (between 18 and 55)."


def test_unclear_sizes_between_two_clear_ones_belong_to_the_uncertainty():
    narrow, wide = line(1e-4, 1e-2).crossover, line(1e-5, 0.9e-3, 1.1e-3, 1e-1, wide=0.5).crossover
    assert narrow and wide and wide.low < 100 < wide.size < 1000 < wide.high


def test_the_cpu_can_take_over_too():
    crossover = line(1e-2, 1e-4).crossover
    assert crossover is not None and crossover.leader == "CPU" and crossover.size == pytest.approx(10**1.5)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (line(1e-5, 1e-4), "the CPU is ahead at every size tried (width 10 and 100)"),
        (line(1e-2, 1e-1, 1), "the GPU is ahead at every size tried (width 10 to 1,000)"),
        (line(1e-3, 1.1e-3, wide=1), "nobody can say who is ahead: the ranges overlap at every size tried"),
        (
            line(1.1e-3, 1e-2, wide=1),
            "the GPU is ahead at 1 of 2 sizes tried; at width 10 the ranges overlap",
        ),
        (
            line(1e-4, 1e-2, 1e-4),
            "the lead changes 2 times, at width of about 32 and 316: there is no single size",
        ),
        (line(1e-4, 1e-2, load=9.0), "nobody can say who is ahead: this machine was busy"),
        (
            line(1e-5, 1e-3, 1e-1, load=9.0),
            "the CPU is ahead at width 10 and the GPU is ahead at width 1,000; more cannot be said: this machine was busy",
        ),
    ],
)
def test_where_there_is_no_single_crossover_it_is_said_so(one, words):
    assert one.crossover is None and words in str(one)


def test_the_table_is_sorted_by_rows_then_width_and_names_a_lead_that_load_does_not_explain():
    sizes = ((8, 10, 1e-5), (4, 100, 9e-3), (4, 10, 1e-1))  # in the order of their product they are mixed
    points = [Point(r, w, timing(cpu, load=3.0), timing(GPU, 0, "cuda:0")) for r, w, cpu in sizes]
    result = Sweep(tuple(points), (Line("width", 4, tuple(points)),))
    cells = re.findall("<t[hd][^>]*>([^<]*)</t", result._repr_html_())[5:]
    rows = [(cells[i], cells[i + 1], cells[i + 4]) for i in range(0, 15, 5)]
    assert rows == [("4", "10", "GPU"), ("4", "100", "cannot say"), ("8", "10", "CPU")]
    assert "This machine is busy (load 3.0 per core)" in str(result)


def test_without_a_gpu_only_the_cpu_is_spoken_of():
    only = Line("width", 64, (Point(64, 10, timing(1e-3), None),))
    assert only.crossover is None and "there is no GPU here, real or simulated" in str(only)


# --- a run -----------------------------------------------------------------------------------------------------------


class Made:
    """A step that does nothing and knows its size."""

    def __init__(self, device: str, rows: int, width: int) -> None:
        self.device, self.size = device, rows * width

    def __call__(self) -> None:
        pass


@pytest.fixture
def order(monkeypatch) -> Iterator[list[tuple[str, int]]]:
    """Replace the timer by a formula and register a made-up GPU; the list collects what was timed."""
    seen: list[tuple[str, int]] = []

    def timeit(step: Made, seconds: float) -> Timing:
        seen.append((step.device, step.size))
        return timing(1e-6 * step.size) if step.device == "cpu" else timing(GPU, 0.5, f"{step.device}:0")

    device = devices.Device("cuda", "Card", "simulated")
    monkeypatch.setattr(run, "timeit", timeit)
    devices.register(device)
    yield seen
    devices.unregister(device)


def test_sizes_go_from_small_to_large_with_cpu_and_gpu_in_turns(order):
    result = sweep((1, 10), (100, 10_000), step=Made)
    assert order == [
        ("cpu", 100), ("cuda", 100), ("cuda", 1000), ("cpu", 1000),
        ("cpu", 10000), ("cuda", 10000), ("cuda", 100_000), ("cpu", 100_000),
    ]  # fmt: skip
    assert result.complete and (result.points[0].rows, result.points[0].width) == (1, 100)
    assert [line.fixed for line in result.lines] == [1, 10]
    assert result.crossover and result.crossover.axis == "width"
    assert "CPU measured, GPU simulated: an estimate, not a proof (the GPU: Card)" in str(result)


def test_where_only_rows_vary_the_crossover_is_a_number_of_rows(order):
    result = sweep((10, 100, 1000, 10_000), 10, step=Made)
    assert result.crossover and result.crossover.size == pytest.approx(100)
    assert "With a width of 10 the GPU takes over at about 100 rows (between" in str(result)


def test_the_time_budget_leaves_large_sizes_out(order, monkeypatch):
    monkeypatch.setattr(run, "timeit", lambda step, seconds: timing(step.size / 100, device=step.device))
    result = sweep(1, (10, 100, 1000), budget=5, step=Made)
    assert [point.width for point in result.points] == [10] and not result.complete
    assert result.left_out == ((1, 100, "for want of time"), (1, 1000, "for want of time"))
    assert "Left out: 2 for want of time." in str(result)


def test_what_would_not_fit_the_memory_is_left_out(order, monkeypatch):
    monkeypatch.setattr(run, "free", lambda: 1e6)
    result = sweep(1, (10, 10_000), step=Made)
    assert result.left_out == ((1, 10_000, "too large for the free memory"),)
    assert "Left out: 1 too large for the free memory." in str(result)


def test_half_of_the_free_memory_may_be_used(monkeypatch):
    memory = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=4e9))
    monkeypatch.setitem(sys.modules, "psutil", memory)
    assert run.free() == 2e9
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert run.free() == float("inf")


def test_a_card_whose_memory_is_full_leaves_the_size_out(order):
    def full(device, rows, width):
        if device == "cuda" and width > 10:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return Made(device, rows, width)

    result = sweep(1, (10, 20), step=full)
    assert result.left_out == ((1, 20, "too large for the free memory"),) and len(result.points) == 1


def test_interrupted_it_returns_what_it_has(order):
    def stops(device, rows, width):
        if width == 20:
            raise KeyboardInterrupt
        return Made(device, rows, width)

    result = sweep(1, (10, 20, 30), step=stops)
    assert [point.width for point in result.points] == [10]
    assert result.left_out == ((1, 20, "interrupted"), (1, 30, "interrupted"))
    assert "Left out: 2 interrupted." in str(result)


def test_an_error_of_the_step_is_the_learners_own(order):
    def fails(device, rows, width):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sweep(1, 10, step=fails)


def test_without_a_gpu_the_cpu_is_timed_alone(order, monkeypatch):
    monkeypatch.setattr(devices, "present", lambda: devices.CPU)
    result = sweep(1, (10, 20), step=Made)
    assert {device for device, _ in order} == {"cpu"} and result.points[0].gpu is None
    assert result.crossover is None and "there is no GPU here" in str(result)
    assert "2 sizes, measured on the CPU." in str(result) and "<td" in result._repr_html_()


def test_a_step_that_ignores_its_device_is_told():
    def always_cpu(device, rows, width):
        return lambda: torch.ones(rows, width).sum()

    with (
        simulate_gpu("Tesla T4"),
        pytest.raises(
            InputError, match=r"The step made for 'cuda' ran on cpu\. Make model and data on the device"
        ),
    ):
        sweep(1, 10, step=always_cpu)


def test_the_articles_step_runs_on_both_devices():
    with simulate_gpu("Tesla T4"):
        result = sweep(8, (4, 8), budget=2)
    point = result.points[0]
    assert (point.cpu.device, point.gpu.device) == ("cpu", "cuda:0") and point.gpu.origin == "simulated"


def test_a_progress_bar_shows_when_it_takes_long_and_leaves_nothing(order, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    sweep(1, (10, 20), step=Made)
    assert "size" not in sys.stderr.getvalue()
    monkeypatch.setattr(run, "DELAY", 0)
    sweep(1, (10, 20), step=Made)
    assert "2/2" in sys.stderr.getvalue() or "0/2" in sys.stderr.getvalue()
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert sweep(1, (10, 20), step=Made).complete, "without tqdm there is no bar"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": 0}, "rows must be between 1 and 10,000,000, but it is 0"),
        ({"rows": 2.5}, "rows must be whole numbers, but one is 2.5"),
        ({"rows": "many"}, "rows must be whole numbers, but one is 'many'"),
        ({"rows": ()}, "the number of rows must be between 1 and 20, but it is 0"),
        ({"widths": range(1, 99)}, "the number of widths must be between 1 and 20, but it is 98"),
        ({"budget": 0}, "budget must be between 0.1"),
        ({"step": 3}, "step must be a function of .device, rows, width., but it is int"),
        (
            {"rows": 1, "widths": 1, "step": lambda *size: None},
            "needs a function to call, but it got NoneType",
        ),
    ],
)
def test_unusable_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        sweep(**arguments)


# --- text and picture ------------------------------------------------------------------------------------------------


def test_the_text_is_short_however_many_lines_there_are():
    result = Sweep(line(1e-4, 1e-2).points, (line(1e-4, 1e-2),) * 9, ((1, 1, "interrupted"),))
    assert len(str(result).splitlines()) <= 8 and "... and 5 more in .lines" in str(result)


def test_nothing_timed_is_said():
    assert "Nothing was timed." in str(Sweep((), (), ((1, 1, "interrupted"),)))


def test_cautions_are_said_once():
    uneven = timing(1.0, wide=1.0)
    point = Point(1, 1, uneven, timing(GPU, device="cuda:0"))
    result = Sweep((point,) * 3, (Line("width", 1, (point,) * 3),))
    assert str(result).count("The samples differ widely") == 1


@pytest.mark.parametrize("one", [line(1e-4, 1e-2, wide=0.5), line(1e-4, 1e-2, 1e-4)])
def test_the_picture_has_a_sentence_and_logarithmic_axes(one):
    picture = Sweep(one.points, (one,)).plot()
    assert str(one) in picture.alt and "logarithmic" in picture.alt and picture.png.startswith(b"\x89PNG")
    assert '<img alt="' in picture._repr_html_()


def test_a_sweep_without_a_gpu_or_without_points_can_be_drawn():
    points = (Point(1, 10, timing(1e-3), None), Point(1, 20, timing(2e-3), None))
    assert Sweep(points, (Line("width", 1, points),)).plot().png
    assert Sweep((), ()).plot().png
