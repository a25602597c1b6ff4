"""CPU and GPU over time: what is sampled, what is said, and that nothing is left behind."""

import builtins
import re
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import devicelab as lab
from devicelab import monitor as monitor_function
from devicelab.errors import InputError
from devicelab.monitor import Load, Sample, live, readers
from devicelab.monitor.queue import BINS, Queue
from devicelab.monitor.readers import Cpu, Gpu, Nvidia, gpu_reader
from devicelab.simgpu import current


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "devicelab-monitor"]


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    assert threads() == []


@pytest.fixture
def card():
    with lab.simulate_gpu("Tesla T4"):
        yield


def steps(count=10):
    model = torch.nn.Linear(100, 100).cuda()
    x = torch.rand(1000, 100).cuda()
    for _ in range(count):
        model(x).relu().sum().backward()
    torch.cuda.synchronize()


# --- a block, and how it ends -------------------------------------------------------------------------------------------


def test_the_processor_is_sampled_and_the_samples_cover_the_block():
    with lab.monitor(interval=0.05) as m:
        end = time.perf_counter() + 0.25
        while time.perf_counter() < end:
            sum(range(1000))
    assert m.origin == "measured" and m.device == "cpu" and m.gpu is None and m.queue == ()
    assert len(m.samples) >= 2 and all(0 <= core <= 1 for sample in m.samples for core in sample.cpu)
    assert sum(sample.seconds for sample in m.samples) == pytest.approx(m.seconds, abs=0.1)
    assert m.process > 0.05, "this process worked all the time"
    assert 0 <= m.cpu <= 1 and len(m.cores) >= 1


def test_the_result_is_there_after_an_error():
    with pytest.raises(ZeroDivisionError), lab.monitor() as m:
        1 / 0  # noqa: B018
    assert len(m.samples) == 1 and "process used" in str(m)


def test_the_result_is_there_after_an_interruption():
    with pytest.raises(KeyboardInterrupt), lab.monitor() as m:
        raise KeyboardInterrupt
    assert len(m.samples) == 1


def test_a_second_and_an_inner_monitor_work_on_their_own(card):
    with lab.monitor() as outer:
        steps(3)
        with lab.monitor() as inner:
            steps(3)
    with lab.monitor() as later:
        pass
    assert 0 < inner.kernels < outer.kernels and later.kernels == 0
    assert inner.gpu > 0 and inner.simulated_seconds < outer.simulated_seconds


def test_a_monitor_runs_once():
    once = lab.monitor()
    with once:
        pass
    with pytest.raises(InputError, match=r"has run already. Make another"), once:
        pass


def test_it_is_read_after_the_block():
    with lab.monitor() as m:
        assert str(m) == "a monitor that is still running"
        with pytest.raises(InputError, match="still running: read it after"):
            _ = m.samples
        with pytest.raises(InputError, match="still running"):
            _ = m.gpu
        with pytest.raises(AttributeError, match="no 'watts'"):
            _ = m.watts


def test_a_short_block_says_so():
    with lab.monitor() as m:
        pass
    assert len(m.samples) == 1
    assert "less than two samples of 100 ms: this is coarse." in str(m)


def test_a_long_block_does_not_say_so():
    with lab.monitor(interval=0.01) as m:
        time.sleep(0.05)
    assert "coarse" not in str(m)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, "interval must be between 0.01 and 60"),
        ({"device": -1}, "device must be between 0 and 63"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        lab.monitor(**arguments)


def test_a_sampler_that_fails_leaves_the_work_alone(monkeypatch):
    def fails(self):
        raise OSError("the driver is gone")

    monkeypatch.setattr(Gpu, "read", fails)
    with lab.monitor(interval=0.01) as m:
        time.sleep(0.03)
    assert "Sampling stopped after 0 samples: the driver is gone" in str(m)
    assert (
        m.samples == ()
        and m.process is None
        and m.sentence() == "Of the CPU nothing was seen [measured, cpu]"
    )


def test_it_works_in_a_script_without_a_notebook():
    code = (
        "import devicelab as lab\nwith lab.monitor(live=True) as m:\n    sum(range(10))\nprint(m.sentence())"
    )
    # In a Python of its own: in a forked one Triton, which a CUDA build loads, complains at the end of what was frozen.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "process used" in done.stdout and done.stderr == ""


# --- the processor ------------------------------------------------------------------------------------------------------

Times = namedtuple("Times", "user idle iowait guest")


def cpu_with(monkeypatch, *looks):
    import psutil

    pending = iter(looks)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(pending))
    return Cpu()


def test_a_cores_share_leaves_out_idling_and_waiting_and_counts_guests_once(monkeypatch):
    cpu = cpu_with(
        monkeypatch,
        [Times(0, 0, 0, 0), Times(0, 0, 0, 0)],
        [Times(1, 2, 1, 1), Times(3, 0, 0, 0)],
    )
    assert cpu.read(1.0)[0] == (0.25, 1.0)


def test_a_look_after_too_short_a_time_says_nothing_and_the_next_one_covers_it(monkeypatch):
    cpu = cpu_with(monkeypatch, [Times(0, 0, 0, 0)], [Times(0.01, 0, 0, 0)], [Times(0.05, 0.05, 0, 0)])
    assert cpu.read(0.01)[0] == ()
    assert cpu.read(0.1)[0] == (0.5,)


def test_without_psutil_the_process_is_still_seen(monkeypatch):
    without(monkeypatch, "psutil")
    with lab.monitor() as m:
        pass
    assert m.cores == () and m.cpu is None and m.process is not None
    assert "python -m pip install psutil" in str(m)


def without(monkeypatch, missing):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == missing:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


# --- a simulated card ---------------------------------------------------------------------------------------------------


def test_a_context_takes_memory_and_time_and_computes_nothing(card):
    with lab.monitor() as m:
        torch.zeros(1).to("cuda")
    assert m.origin == "simulated" and (m.kernels, m.copies, m.gpu) == (0, 1, 0)
    assert m.context == pytest.approx(m.simulated_seconds, rel=0.01)
    assert m.memory == (386 + 2) * 2**20, "the context, and the first segment of PyTorch's"
    assert m.queue[0].memory == 0 and m.queue[-1].memory == m.memory
    text = str(m)
    assert "busy 0 % of 300 ms, 388 MiB of 14.7 GiB" in text
    assert "Creating the CUDA context took 300 ms of that: memory is taken, nothing is computed." in text


def test_a_simulated_card_is_said_to_be_our_drawing_and_has_no_power(card):
    with lab.monitor() as m:
        steps()
    assert m.power is None and all(sample.power is None for sample in m.queue)
    assert "[GPU simulated, cuda:0 (Tesla T4); CPU measured]" in str(m)
    assert "which nvidia-smi and Task Manager cannot see" in str(m) and "Creating" in str(m)


def test_the_drawing_is_the_same_every_time():
    def drawn():
        with lab.simulate_gpu("Tesla T4"), lab.monitor() as m:
            steps()
        return m.queue, m.gpu, m.memory, m.simulated_seconds, m.kernels, m.copies

    assert drawn() == drawn()


def test_the_bins_hold_all_the_work_of_the_card():
    with lab.simulate_gpu() as simulation:
        steps(1)
        before = simulation.clock.busy(0)
        with lab.monitor() as m:
            for _ in range(50):
                torch.ones(1000, 1000, device="cuda").relu_()
            torch.cuda.synchronize()
        worked = simulation.clock.busy(0) - before
    assert sum(bin.gpu * bin.seconds for bin in m.queue) == pytest.approx(worked)
    assert m.gpu * m.simulated_seconds == pytest.approx(worked)
    assert len(m.queue) <= BINS and m.queue[-1].begin + m.queue[-1].seconds == pytest.approx(
        m.simulated_seconds
    )


def test_a_slow_loader_keeps_the_memory_and_starves_the_card(card):
    steps(1)
    with lab.monitor() as m:
        for _ in range(3):
            time.sleep(0.02)
            steps(1)
    assert m.memory > 386 * 2**20 and 0 < m.gpu < 0.02


def test_work_that_is_still_queued_at_the_end_is_told(card):
    torch.zeros(1).cuda()
    with lab.monitor() as m:
        torch.cuda._sleep(3_000_000)
    assert "The queue still held 2.0" in str(m) and "torch.cuda.synchronize()" in str(m)
    torch.cuda.synchronize()
    with lab.monitor() as m:
        torch.cuda._sleep(3_000_000)
        torch.cuda.synchronize()
    assert "still held" not in str(m) and m.gpu > 0.9


def test_streams_that_overlap_count_once(card):
    torch.zeros(1).cuda()
    with lab.monitor() as m:
        torch.cuda._sleep(3_000_000)
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(3_000_000)
        torch.cuda.synchronize()
    assert m.gpu <= 1 and m.simulated_seconds < 0.003


def test_the_current_card_is_watched_or_the_one_that_is_asked_for():
    with lab.simulate_gpu(count=2):
        torch.cuda.set_device(1)
        torch.zeros(1).cuda()
        with lab.monitor() as current, lab.monitor(device=0) as first:
            torch.ones(10, device="cuda").add_(1)
        assert (current.device, first.device) == ("cuda:1", "cuda:0")
        assert current.kernels > 0 and first.kernels == 0
        with pytest.raises(InputError, match="device must be between 0 and 1"), lab.monitor(device=2):
            pass


def test_a_simulation_that_ends_inside_the_block_is_told():
    simulation = lab.simulate_gpu()
    with lab.monitor() as m:
        simulation.stop()
    assert "The simulation ended or changed inside the block" in str(m)


def test_nobody_watches_afterwards():
    with lab.simulate_gpu() as simulation:
        with pytest.raises(ValueError, match="stop"), lab.monitor():
            raise ValueError("stop")
        assert simulation.clock.watchers == []


def fake_queue():
    now = SimpleNamespace(time=0.0)
    device = SimpleNamespace(
        name="made up", clock=lambda: now.time, memory=lambda index: (0, 2**30), watchers=[], type="cuda"
    )
    with lab.simulate_gpu():
        queue = Queue(device, 0)
    queue.start()
    return queue, now


def test_an_hour_takes_no_more_bins_than_a_second():
    queue, now = fake_queue()
    for second in range(0, 3600, 10):
        queue(0, "kernel", second, second + 5)
    now.time = 3600.0
    queue.stop()
    bins = queue.bins()
    assert BINS / 2 <= len(bins) <= BINS
    assert sum(bin.gpu * bin.seconds for bin in bins) == pytest.approx(1800)
    assert all(0 <= bin.gpu <= 1 for bin in bins)


def test_bins_tell_when_the_work_was():
    queue, now = fake_queue()
    queue(0, "kernel", 0.5, 1.0)
    now.time = 1.0
    queue.stop()
    early = [bin.gpu for bin in queue.bins() if bin.begin + bin.seconds <= 0.5]
    late = [bin.gpu for bin in queue.bins() if bin.begin >= 0.5]
    assert set(early) == {0.0} and late == pytest.approx([1.0] * len(late))


# --- a real NVIDIA card, as NVML tells of it ----------------------------------------------------------------------------


class Refused(Exception):
    pass


class FakeNvml:
    """Two cards in the order of the bus; each call can be refused."""

    NVMLError = Refused
    UUIDS = ("GPU-aaaa", "GPU-bbbb")

    def __init__(self, refuses=(), count=2):
        self.refuses, self.count, self.open = refuses, count, 0

    def _answer(self, name, value):
        if name in self.refuses:
            raise Refused("Not Supported")
        return value

    def nvmlInit(self):
        self._answer("init", None)
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index):
        return self._answer("handle", index)

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid not in self.UUIDS:
            raise Refused("Not Found")
        return self.UUIDS.index(uuid)

    def nvmlDeviceGetName(self, handle):
        return ("Tesla T4", b"NVIDIA L4")[handle]

    def nvmlDeviceGetMemoryInfo(self, handle):
        return self._answer("memory", SimpleNamespace(total=2**34, used=(handle + 1) * 2**30))

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        return self._answer("limit", 70_000)

    def nvmlDeviceGetUtilizationRates(self, handle):
        return self._answer("utilization", SimpleNamespace(gpu=40 + handle, memory=3))

    def nvmlDeviceGetPowerUsage(self, handle):
        return self._answer("power", 31_000)


@pytest.fixture
def cuda(monkeypatch):
    """A torch that sees the two cards the other way round; `started` says whether CUDA has."""
    state = SimpleNamespace(started=False, uuids=("bbbb", "aaaa"), nvml=FakeNvml())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: state.started)
    monkeypatch.setattr(
        torch.cuda, "current_device", lambda: 0 if state.started else pytest.fail("starts CUDA")
    )
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: (
            SimpleNamespace(uuid=state.uuids[index]) if state.started else pytest.fail("starts CUDA")
        ),
    )
    monkeypatch.setattr(torch.cuda, "_get_nvml_device_index", lambda index: index)
    monkeypatch.setitem(sys.modules, "pynvml", state.nvml)
    monkeypatch.setattr(torch.version, "hip", None)
    return state


def with_nvml(monkeypatch, cuda, **options):
    cuda.nvml = FakeNvml(**options)
    monkeypatch.setitem(sys.modules, "pynvml", cuda.nvml)


def test_a_real_card_is_sampled(cuda):
    cuda.started = True
    with lab.monitor(interval=0.01) as m:
        time.sleep(0.05)
    assert (m.origin, m.device, m.name) == ("measured", "cuda:0", "NVIDIA L4")
    assert (m.gpu, m.memory, m.power, m.limit, m.total) == (
        pytest.approx(0.41),
        2**31,
        pytest.approx(31),
        70,
        2**34,
    )
    assert m.queue == () and m.kernels is None and cuda.nvml.open == 0
    text = str(m)
    assert (
        "busy 41 % of" in text and "2.00 GiB of 16.0 GiB of its memory were taken, it drew 31 of 70 W" in text
    )
    assert "[measured, cuda:0 (NVIDIA L4)]" in text and "Power tells the two apart" in text
    assert "looks back over up to 1 s" in text and "drawing" not in text


def test_the_uuid_says_which_card_is_cuda_0(cuda):
    cuda.started = True
    assert Nvidia(cuda.nvml, 0).name == "NVIDIA L4"
    assert Nvidia(cuda.nvml, 1).name == "Tesla T4"


def test_cuda_is_not_started_to_find_out_and_the_card_is_corrected_once_it_has(cuda):
    reader = gpu_reader(None)
    assert reader.name == "Tesla T4" and reader.read().gpu == 0.40 and reader.notes == []
    cuda.started = True
    assert reader.read().gpu == 0.41 and reader.name == "NVIDIA L4"
    assert reader.notes == [
        "Until CUDA started, the Tesla T4 was watched: torch numbers the cards otherwise."
    ]


def test_a_part_of_a_card_is_found_by_its_own_uuid(cuda, monkeypatch):
    monkeypatch.setattr(FakeNvml, "UUIDS", ("MIG-aaaa", "MIG-bbbb"))
    cuda.started = True
    assert Nvidia(cuda.nvml, 0).name == "NVIDIA L4"


@pytest.mark.parametrize(
    ("refused", "left"),
    [("utilization", (None, 2**30, 31)), ("memory", (0.4, None, 31)), ("power", (0.4, 2**30, None))],
)
def test_what_the_driver_refuses_is_said_and_the_rest_is_read(cuda, monkeypatch, refused, left):
    with_nvml(monkeypatch, cuda, refuses=(refused,), count=1)
    with lab.monitor() as m:
        pass
    assert [m.gpu, m.memory, m.power] == [value and pytest.approx(value) for value in left]
    assert str(m).count(f"This driver does not tell the GPU's {refused} (NVML: Not Supported).") == 1


def test_a_driver_that_cannot_be_asked_is_said(cuda, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    for refused in ("init", "handle"):
        with_nvml(monkeypatch, cuda, refuses=(refused,))
        with lab.monitor() as m:
            pass
        assert "does not let us look at cuda:0 (CUDA_VISIBLE_DEVICES=1): Not Supported" in str(m)
        assert "Of the GPU nothing could be read" in str(m) and cuda.nvml.open == 0


def test_without_nvml_the_command_to_install_it_is_said(cuda, monkeypatch):
    without(monkeypatch, "pynvml")
    with lab.monitor() as m:
        pass
    assert m.gpu is None and "python -m pip install nvidia-ml-py." in str(m)


def test_while_a_card_is_simulated_no_real_one_is_asked(cuda, monkeypatch):
    with_nvml(monkeypatch, cuda, refuses=("init",))
    monkeypatch.setattr(readers, "simulated", lambda: object())
    assert gpu_reader(None).notes == []


# --- other machines -----------------------------------------------------------------------------------------------------


def test_without_a_gpu_the_doctor_is_named():
    with lab.monitor() as m:
        pass
    assert "No GPU was found, so the CPU alone was watched" in str(m) and "python -m devicelab doctor" in str(
        m
    )
    assert "[measured, cpu]" in str(m) and "utilization" not in str(m)


def test_apples_gpu_tells_its_memory_and_the_rest_is_in_activity_monitor(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 3 * 2**20)
    with lab.monitor() as m:
        pass
    assert m.memory == 3 * 2**20 and m.gpu is None and m.power is None
    assert "3.00 MiB of its memory were taken" in str(m) and "Activity Monitor draws it" in str(m)


def test_an_amd_card_is_not_read(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with lab.monitor() as m:
        pass
    assert "rocm-smi" in str(m) and m.gpu is None


# --- pictures -----------------------------------------------------------------------------------------------------------


def made_up(**changes):
    samples = tuple(Sample(0.1 * n, 0.1, (0.5, 1.0), 1.2, 0.3, 2**30, 40.0) for n in range(3))
    fields = {"samples": samples, "queue": (), "seconds": 0.3, "interval": 0.1, "origin": "measured"}
    return Load(**fields | {"device": "cuda:0", "name": "Tesla T4", "limit": 70.0} | changes)


def test_means_weigh_each_sample_by_its_length():
    long, short = (Sample(0, s, (), None, gpu, None, None) for s, gpu in ((0.9, 1.0), (0.1, 0.0)))
    assert made_up(samples=(long, short)).gpu == pytest.approx(0.9)


@pytest.mark.parametrize(
    "value, text", [(0, "0 %"), (0.0032, "0.32 %"), (0.041, "4.1 %"), (0.87, "87 %"), (1, "100 %")]
)
def test_shares_are_said_as_per_cent(value, text):
    from devicelab.monitor.words import share

    assert share(value) == text


def test_the_picture_has_its_sentence_as_alternative_text(card):
    with lab.monitor() as m:
        steps()
    picture = m.plot()
    assert picture.png.startswith(b"\x89PNG") and picture.alt == f"Load over time. {m.sentence()}"
    assert "GPU simulated" in picture._repr_html_() and "<img alt=" in picture._repr_html_()


@pytest.mark.parametrize(
    "load",
    [
        made_up(),
        made_up(samples=()),
        made_up(limit=None),
        made_up(samples=(Sample(0, 0.1, (), 1.0, None, None, None),), device="cpu", name="CPU"),
    ],
)
def test_whatever_could_be_read_is_drawn(load):
    assert load.plot().png.startswith(b"\x89PNG")


def test_cpu_and_simulated_card_have_an_axis_of_time_each(card, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        sys.modules["devicelab.monitor.plot"], "picture", lambda figure, alt: drawn.append(figure)
    )
    with lab.monitor() as m:
        steps()
    m.plot()
    labels = [axes.get_xlabel() for axes in drawn[0].axes]
    assert labels[0] == "seconds, measured" and labels[-1] == "seconds, simulated"
    limits = [axes.get_xlim()[1] for axes in drawn[0].axes]
    assert limits == [m.seconds, m.simulated_seconds, m.simulated_seconds]
    assert "our drawing" in drawn[0].axes[1].get_title(loc="left")


def test_a_value_that_stays_the_same_is_not_hidden_by_the_frame(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        sys.modules["devicelab.monitor.plot"], "picture", lambda figure, alt: drawn.append(figure)
    )
    made_up().plot()
    memory, power = drawn[0].axes[2:]
    assert memory.get_ylim()[0] == power.get_ylim()[0] == 0
    assert memory.get_ylim()[1] > 1.05  # GiB, of 1
    assert power.get_ylim()[1] > 70  # watts: the dotted line of the limit is in sight


def test_everything_is_in_the_plain_data(card):
    with lab.monitor() as m:
        steps(1)
    data = m.to_dict()
    assert data["origin"] == "simulated" and data["gpu"] == m.gpu and len(data["queue"]) == len(m.queue)


def test_html_is_escaped():
    assert "&lt;b&gt;" in made_up(name="<b>")._repr_html_()


def test_the_page_shows_what_the_monitor_says(capsys):
    page = (
        (Path(__file__).parents[2] / "docs" / "evidence.md")
        .read_text("utf-8")
        .partition("## `lab.monitor`")[2]
    )
    code, text = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL).groups()
    try:
        exec(code, {})
    finally:
        current().stop()
    digits = re.compile(r"[0-9.]+")  # a machine's own, and estimates that grow better
    assert digits.sub("#", capsys.readouterr().out) == digits.sub("#", text)


# --- the live picture ---------------------------------------------------------------------------------------------------


class Handle:
    def __init__(self):
        self.shown = []

    def update(self, html):
        self.shown.append(html.data)


@pytest.fixture
def notebook(monkeypatch):
    from IPython import display as display_module

    handle = Handle()
    monkeypatch.setattr(live, "in_notebook", lambda: True)
    monkeypatch.setattr(live, "PAUSE", 0.0)
    monkeypatch.setattr(display_module, "display", lambda html, display_id: handle)
    return handle


def test_the_live_picture_is_redrawn_and_ends_with_the_last_sample(card, notebook):
    with lab.monitor(interval=0.05, live=True) as m:
        time.sleep(0.12)
        steps()
    assert len(notebook.shown) == len(m.samples) >= 2
    assert (
        "CPU, all cores (measured)" in notebook.shown[-1]
        and "Tesla T4 (simulated seconds)" in notebook.shown[-1]
    )
    assert (
        "taken" in notebook.shown[-1]
        and "<style" not in notebook.shown[-1]
        and "<svg" not in notebook.shown[-1]
    )


def test_the_live_picture_of_a_real_card(cuda, notebook):
    cuda.started = True
    with lab.monitor(live=True):
        pass
    assert "NVIDIA L4 (measured): 41 % busy. 2.00 GiB taken, 31 W" in notebook.shown[-1]


def test_without_being_asked_nothing_is_shown(notebook):
    with lab.monitor():
        pass
    assert notebook.shown == []


def test_the_live_picture_says_what_it_cannot_read(monkeypatch, notebook):
    monkeypatch.setattr(readers.Cpu, "read", lambda self, seconds: ((), None))
    with lab.monitor(live=True):
        pass
    assert "CPU, all cores (measured): nothing to read." in notebook.shown[-1]


def test_a_long_course_is_thinned():
    assert live._thinned([0.0, 1.0] * 60) == [0.5] * 60
    assert live._thinned([]) == []


def test_in_a_real_kernel_the_live_picture_is_one_output_that_changes():
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    code = (
        "import time, devicelab as lab\nwith lab.monitor(interval=0.05, live=True) as m:\n    time.sleep(0.3)"
    )
    cells = NotebookClient(new_notebook(cells=[new_code_cell(code)]), timeout=100).execute().cells
    outputs = cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data"]
    assert "CPU, all cores (measured)" in outputs[0].data["text/html"]


def test_the_name_is_the_function_not_the_module():
    assert monitor_function is lab.monitor and callable(lab.monitor)
