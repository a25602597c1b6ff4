"""Recording a card: refused where there is no real one, complete where there is; the card here is made up."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

import devicelab as lab
from devicelab import __main__ as cli
from devicelab import record
from devicelab.costs import CardCosts
from devicelab.errors import InputError
from devicelab.gpus import find
from devicelab.record import card as card_module
from devicelab.record import estimates, measure
from devicelab.record.card import Card
from devicelab.results import Timing
from tools.notebooks import warm

recordings = import_module("devicelab.recordings")  # `devicelab.recordings` is the function
SMALL = {
    "EXAMPLES": ((10, 2),),
    "LINEAR": ({"B": 1, "M": 2, "N": 3, "K": 4},),
    "BMM": ({"B": 2, "M": 2, "N": 3, "K": 4},),
    "ROWS": ({"B": 4, "H": 8},),
    "COPIES": (1024,),
    "REPEATS": 3,
}


class MadeUp(Card):
    """Answers as a card would; its work is done by the CPU, so its times mean nothing and go to tmp_path only."""

    device = torch.device("cpu")

    def __init__(self, name="Tesla T4"):
        self.name = name

    def facts(self):
        return {
            "name": self.name,
            "capability": [7, 5],
            "memory": 2**34,
            "multiprocessors": 40,
            "power_limit": None,
            "driver": None,
        }

    def synchronize(self):
        pass

    def host(self, nbytes, pinned):
        return torch.empty(nbytes, dtype=torch.uint8)

    def time(self, fn, seconds):
        return replace(super().time(fn, 0.001), device=self.label, name=self.name)

    def compare(self, rows, width):
        cpu = Timing((1e-4, 2e-4), 1, "cpu", "CPU", "measured", 1)
        gpu = replace(cpu, device="cuda:0", name=self.name)
        return {"cpu": SimpleNamespace(timing=cpu), "gpu": SimpleNamespace(timing=gpu)}

    def context(self):
        return 0.25, 300 * 2**20


@pytest.fixture
def small(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(measure, name, value)


@pytest.fixture
def made_up(small, monkeypatch):
    monkeypatch.setattr(record, "real_card", MadeUp)


# --- where there is no real card ----------------------------------------------------------------------------------------


def test_without_a_gpu_the_command_refuses_and_writes_nothing(tmp_path):
    done = warm.run("-m", "devicelab", "record", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    said = [
        line for line in done.stderr.splitlines() if "torch/utils/cpp_extension.py" not in line
    ]  # torch's own log
    assert said[0].startswith("devicelab: There is no real GPU here to measure.")
    assert "python -m devicelab doctor" in done.stderr and list(tmp_path.iterdir()) == []


def refused(tmp_path, message):
    with pytest.raises(InputError, match=message):
        record.record(str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_simulated_card_is_refused(tmp_path):
    with lab.simulate_gpu("Tesla T4"):
        refused(
            tmp_path,
            "The GPU here is simulated, so there is nothing to record. A recording holds measured times only",
        )


@pytest.mark.parametrize("mode", ["simulated", "off"])
def test_a_wish_for_no_real_gpu_is_respected(mode, tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICELAB_GPU", mode)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    refused(tmp_path, f"DEVICELAB_GPU is '{mode}', so no real GPU is used")


def test_apples_gpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    refused(tmp_path, "Only NVIDIA GPUs are recorded so far: Apple's")


def test_an_amd_card_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    refused(tmp_path, "this torch was built for AMD's")


# --- nothing but measured times gets in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["simulated", "estimated", "recorded"])
def test_a_time_that_was_not_measured_is_refused(origin):
    timing = Timing((1.0,), 1, "cuda:0", "Tesla T4", origin, 1)
    with pytest.raises(InputError, match=f"The time of 'linear' is {origin}, not measured"):
        measure.entry("linear", {}, timing)


@pytest.mark.parametrize(
    ("kind", "device"), [("linear", "cpu"), ("example cpu", "cuda:0"), ("launch", "cuda:1")]
)
def test_a_time_from_elsewhere_is_refused(kind, device):
    with pytest.raises(InputError, match=f"The work of '{kind}' ran on {device}, not on "):
        measure.entry(kind, {}, Timing((1.0,), 1, device, "x", "measured", 1))


class OnSimulation(MadeUp):
    """A card that forgets to look whether it is a real one."""

    device = torch.device("cuda", 0)

    def synchronize(self):
        torch.cuda.synchronize()

    time = Card.time
    compare = Card.compare


@pytest.mark.parametrize("only", ["EXAMPLES", "LINEAR", "ROWS", "COPIES", "nothing else"])
def test_a_simulated_time_is_refused_wherever_it_is_taken(only, small, monkeypatch):
    for name in ("EXAMPLES", "LINEAR", "BMM", "ROWS", "COPIES"):
        if name != only:
            monkeypatch.setattr(measure, name, ())
    with (
        lab.simulate_gpu("Tesla T4"),
        pytest.raises(InputError, match="is simulated, not measured: it cannot go into"),
    ):
        measure.measure_all(OnSimulation())


def test_examples_that_do_not_run_stop_the_recording(small):
    card = MadeUp()
    failed = SimpleNamespace(timing=None, error="CUDA out of memory", skipped=None)
    card.compare = lambda rows, width: {"cpu": failed, "gpu": failed}
    with pytest.raises(InputError, match="The examples did not run: CUDA out of memory"):
        measure.measure_all(card)


# --- a recording --------------------------------------------------------------------------------------------------------


def test_a_recording_holds_everything_and_keeps_to_the_schema(made_up, tmp_path, capsys):
    assert cli.main(["record", "--out", str(tmp_path), "--quick"]) == 0
    (path,) = tmp_path.iterdir()
    data = json.loads(path.read_text("utf-8"))
    assert path.name == "tesla-t4.json" and data["quick"] is True and data["origin"] == "measured"
    kinds = {time["kind"] for time in data["times"]}
    assert kinds == set(recordings.schema()["$defs"]["time"]["properties"]["kind"]["enum"])
    assert data["context"] == {"seconds": [0.25], "memory": 300 * 2**20}
    assert (
        data["software"]["torch"] == torch.__version__ and data["host"]["cpu"] and data["host"]["cores"] >= 1
    )
    found = recordings.load(path)
    assert {timing.origin for timing in found.times.values()} == {"recorded"}
    said = capsys.readouterr().out
    assert (
        "Measuring the Tesla T4" in said and "estimated / recorded" in said and f"Written to {path}" in said
    )


def test_a_recording_is_not_overwritten_and_refused_before_it_is_measured(
    made_up, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "tesla-t4.json"
    path.write_text("mine", encoding="utf-8")
    monkeypatch.setattr(record, "measure_all", lambda *_, **__: pytest.fail("measured in vain"))
    assert cli.main(["record", "--out", str(tmp_path)]) == 2
    assert path.read_text("utf-8") == "mine" and "--replace" in capsys.readouterr().err


def test_it_is_replaced_when_asked(made_up, tmp_path):
    path = tmp_path / "tesla-t4.json"
    path.write_text("mine", encoding="utf-8")
    assert cli.main(["record", "--out", str(tmp_path), "--replace", "--quick"]) == 0
    assert recordings.load(path).card == "Tesla T4"


def test_an_interruption_writes_nothing(made_up, tmp_path, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(MadeUp, "context", interrupted)
    assert cli.main(["record", "--out", str(tmp_path / "out")]) == 130
    assert list(tmp_path.iterdir()) == [] and "interrupted" in capsys.readouterr().err


def test_it_goes_to_the_courses_folder_or_to_the_present_one(made_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record, "course_folder", lambda: None)
    assert record.record(quick=True).path.resolve() == (tmp_path / "recordings" / "tesla-t4.json").resolve()
    monkeypatch.setattr(record, "course_folder", lambda: tmp_path / "course")
    assert record.record(quick=True).path == tmp_path / "course" / "tesla-t4.json"


def test_quick_takes_fewer_sizes():
    assert measure._some(tuple(range(7)), True) == (0, 3, 6)
    assert measure._some(tuple(range(7)), False) == tuple(range(7))


def test_a_context_that_others_disturbed_is_left_empty(small, monkeypatch):
    card = MadeUp()
    card.context = lambda: (0.2, -5)
    assert measure.measure_all(card)[1] == {"seconds": [0.2] * 3, "memory": None}


def test_a_size_that_does_not_fit_is_left_out_and_said(small, capsys):
    card = MadeUp()

    def too_large(fn, seconds):
        if fn().shape == (4, 8):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return MadeUp.time(card, fn, seconds)

    card.time = too_large
    kinds = {time["kind"] for time in measure.measure_all(card)[0]}
    assert "linear" in kinds and not {"add", "layer_norm", "softmax"} & kinds
    assert "softmax {'B': 4, 'H': 8} does not fit on this card: left out." in capsys.readouterr().out


def test_operators_compute_what_their_names_say():
    cpu = torch.device("cpu")
    sizes = {"B": 2, "M": 3, "N": 5, "K": 4}
    assert measure.operator("linear", sizes, cpu)().shape == (2, 3, 5)
    assert measure.operator("bmm", sizes, cpu)().shape == (2, 3, 5)
    for kind in ("add", "layer_norm", "softmax"):
        assert measure.operator(kind, {"B": 2, "H": 6}, cpu)().shape == (2, 6)
    rows = measure.operator("softmax", {"B": 2, "H": 6}, cpu)().sum(1)
    torch.testing.assert_close(rows, torch.ones(2))


# --- the real card's own ways, with torch.cuda made up ------------------------------------------------------------------


def child(monkeypatch, code, free):
    """A card whose fresh process runs `code`, and whose free bytes are `free`, one at each look."""
    left = iter(free)
    monkeypatch.setattr(card_module, "CONTEXT", code)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (next(left), 0))
    return Card()


def test_the_contexts_memory_is_what_the_card_lost_without_pytorchs_own(monkeypatch):
    code = "import sys; print(0.5, 2_000, flush=True); sys.stdin.read()".replace("2_000", "2000")
    assert child(monkeypatch, code, [10_000, 5_000]).context() == (0.5, 3_000)


def test_a_process_that_cannot_start_cuda_is_said(monkeypatch):
    with pytest.raises(InputError, match="A fresh process could not start CUDA"):
        child(monkeypatch, "pass", [1, 1]).context()


def test_what_a_fresh_process_does_is_valid_python():
    compile(card_module.CONTEXT, "context", "exec")


def test_the_facts_of_a_card(monkeypatch):
    properties = SimpleNamespace(major=7, minor=5, total_memory=2**34, multi_processor_count=40)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(card_module, "_driver", lambda: ("570.1", 70.0))
    card = child(monkeypatch, "", [])
    assert card.facts() == {
        "name": "Tesla T4",
        "capability": [7, 5],
        "memory": 2**34,
        "multiprocessors": 40,
        "power_limit": 70.0,
        "driver": "570.1",
    }


def test_without_nvml_driver_and_power_limit_are_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert card_module._driver() == (None, None)


def test_nvml_tells_driver_and_power_limit(monkeypatch):
    closed = []
    nvml = SimpleNamespace(NVMLError=KeyError, nvmlSystemGetDriverVersion=lambda: b"570.1")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    reader = SimpleNamespace(limit=70.0, close=lambda: closed.append(True))
    monkeypatch.setattr(card_module, "Nvidia", lambda nvml, index: reader)
    assert card_module._driver() == ("570.1", 70.0) and closed == [True]


# --- estimate against measurement ---------------------------------------------------------------------------------------


def recorded(factor, card="Tesla T4"):
    """A recording in which every operator takes `factor` times as long as it is estimated to."""
    costs, times = CardCosts(find("Tesla T4")), {}
    for kind, sizes in (
        ("linear", {"B": 1, "M": 512, "N": 1024, "K": 1024}),
        ("softmax", {"B": 65536, "H": 1024}),
    ):
        name = recordings.name_of({"kind": kind, "sizes": sizes})
        seconds = factor * estimates.estimated(kind, sizes, costs)
        times[name] = Timing((seconds,), 1, "cuda:0", card, "recorded", 1)
    return recordings.Recording(
        card, "2026-01-02", "2.13.0", None, None, None, "cpu", times, (0.3,), None, None
    )


@pytest.mark.parametrize(("factor", "ratio"), [(1.0, "1.00"), (2.0, "0.500"), (0.5, "2.00")])
def test_the_table_shows_the_ratio_of_each_kind(factor, ratio):
    lines = estimates.table(recorded(factor)).splitlines()
    assert lines[0].split() == ["operator", "sizes", "estimated", "/", "recorded", "lowest", "and", "highest"]
    assert lines[1].split() == ["linear", "1", ratio, ratio, "to", ratio]
    assert lines[2].split()[:3] == ["softmax", "1", ratio] and len(lines) == 4


def test_an_estimate_computes_nothing_and_grows_with_the_work():
    costs = CardCosts(find("Tesla T4"))
    huge = {"B": 64, "M": 100_000, "N": 100_000, "K": 4096}
    small = estimates.estimated("bmm", huge | {"B": 1}, costs)
    assert estimates.estimated("bmm", huge, costs) == pytest.approx(64 * small, rel=0.2)


def test_a_card_outside_of_the_catalogue_has_no_estimates():
    assert estimates.table(recorded(1.0, "Unheard-of")).startswith(
        "No estimates: the catalogue has no Unheard-of."
    )


def test_means_are_geometric():
    assert estimates.geometric([2.0, 0.5]) == pytest.approx(1.0)


def test_sizes_are_read_from_a_name():
    assert estimates.sizes_of("to card, pinned bytes=1024") == {"bytes": 1024}
