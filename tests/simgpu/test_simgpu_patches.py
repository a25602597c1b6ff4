"""Replacements speak: a name that torch lacks, has already, or that is replaced twice never passes in silence."""

from contextlib import suppress

import pytest
import torch
import torch._dynamo  # as it is loaded it asks for names that tests here take away

from devicelab import doctor, versions
from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.machine import patches
from devicelab.simgpu.machine.patches import Patches, known, owner_of, table
from tools.notebooks import warm

ESTIMATES = "what asks a tensor for its values, while an estimate computes none"
REPLACED = [name for name in table().values() if name.verb in ("replace", "use") and name.what != ESTIMATES]


def taken_away(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Remove a name from torch; one that C++ holds, or that is inherited, is hidden from the look-up instead."""
    owner, attribute = owner_of(path), path.rpartition(".")[2]
    with suppress(AttributeError, TypeError):
        monkeypatch.delattr(owner, attribute)
    if hasattr(owner, attribute):
        there = patches.is_there
        monkeypatch.setattr(patches, "is_there", lambda asked: asked != path and there(asked))


def can_be_missed(name: patches.Name) -> bool:
    """Whether this process would replace the name at all: third-party packages may be absent or not loaded."""
    root = name.path.split(".")[0]
    return name.expected and (
        root not in ("IPython", "triton") or (root == "triton" and patches.is_there(name.path))
    )


@pytest.mark.parametrize(
    "name", [name for name in REPLACED if can_be_missed(name)], ids=lambda name: name.path
)
def test_a_name_that_is_gone_stops_the_start_or_is_listed(name, monkeypatch):
    simulate_gpu().stop()  # all that is loaded at the first start is loaded
    monkeypatch.setattr(versions, "is_newer", lambda version: True)
    taken_away(monkeypatch, name.path)
    if name.placement:
        with pytest.raises(
            SimulationError, match=r"does not start: .*It works with PyTorch 2\.8 to 2\.\d+: pip install"
        ):
            simulate_gpu()
        return
    with simulate_gpu() as simulation:
        assert name.path in simulation.patches.missing
        assert name.path in str(doctor())
    assert any(line.startswith(f"{name.path} (") for line in patches.lacking())


def test_what_the_table_expects_is_there_in_this_torch():
    assert patches.lacking() == []


def test_every_name_of_the_table_is_used(monkeypatch):
    """And every name that is replaced stands in the table, else the replacement itself fails."""
    asked = set()
    speak = Patches._speak
    monkeypatch.setattr(
        Patches, "_speak", lambda self, path, verb: asked.add(path) or speak(self, path, verb)
    )
    with simulate_gpu():
        pass
    known = [name for name in table().values() if name.what != ESTIMATES and name.verb != "use"]
    here = versions.release(torch.__version__)
    unused = {
        name.path for name in known if name.since <= here and (name.expected or name.verb != "replace")
    } - asked
    elsewhere = (
        "torch._C._cuda_*",
        "triton.",
        "IPython.",
    )  # the rest; where Triton is installed; in a notebook
    assert [path for path in unused if not path.startswith(elsewhere)] == []


def test_a_name_that_is_there_already_is_not_added_over(monkeypatch):
    monkeypatch.setattr(torch.UntypedStorage, "_simulated_card", 1, raising=False)
    with pytest.raises(SimulationError, match=r"_simulated_card, on which placement rests, is there already"):
        simulate_gpu()


def test_a_second_replacement_of_one_name_is_an_error():
    changes = Patches()
    try:
        changes.replace("torch.cuda.device_count", lambda: True)
        with pytest.raises(SimulationError, match=r"torch\.cuda\.device_count is replaced a second time"):
            changes.replace("torch.cuda.device_count", lambda: False)
    finally:
        changes.undo()


def test_a_name_that_nobody_explained_is_not_replaced():
    with pytest.raises(KeyError):
        Patches().replace("torch.nn.Linear.forward", None)


def test_a_verb_that_the_table_contradicts_is_refused():
    with pytest.raises(
        SimulationError, match=r"replaced\.yaml says replace of torch\.cuda\.device_count, not add"
    ):
        Patches().add("torch.cuda.device_count", None)


def test_a_wildcard_explains_the_rest():
    assert known("torch._C._cuda_somethingNew").what == known("torch._C._cuda_*").what


def test_later_names_are_not_expected_of_earlier_releases(monkeypatch):
    late = known("torch._C._accelerator_emptyCache")
    assert late.since == (2, 9)
    monkeypatch.setattr(torch, "__version__", "2.8.0+cpu")
    assert not late.expected


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        ("2.8.0", False),
        (versions.TRIED[-1], False),
        ("2.9rc1", False),
        ("nightly", False),
        ("2.99.0a0+git1", True),
        ("3.0.1+cu140", True),
        ("3", True),
    ],
)
def test_a_release_after_the_last_one_tried_is_newer(version, newer):
    assert versions.is_newer(version) is newer


def test_start_says_that_this_torch_was_not_tried(monkeypatch, capsys):
    import devicelab

    monkeypatch.setattr(torch, "__version__", "2.99.0")
    monkeypatch.setenv("DEVICELAB_GPU", "simulated")
    if patches.lacking():
        pytest.skip("this release lacks names of a later one, which would be missed")
    devicelab.start()
    try:
        said = capsys.readouterr().out.splitlines()
        assert said[1:] == [
            f"PyTorch 2.99.0 is newer than any that the simulated GPU was tried with ({versions.spoken()}): trust it less."
        ]
    finally:
        devicelab.simgpu.current().stop()


def test_a_name_that_is_gone_as_the_modules_load_is_spoken_of_too():
    program = """
import torch
torch.__version__ = "2.99.0"
del torch._C._TorchDispatchModeKey
from devicelab.errors import SimulationError
try:
    from devicelab.simgpu import simulate_gpu
except SimulationError as error:
    print(error)
"""
    done = warm.run("-c", program)
    assert "_TorchDispatchModeKey" in done.stdout, done.stderr
    assert "It works with PyTorch 2.8 to" in done.stdout


def test_what_a_signals_handler_interrupts_is_put_back_all_the_same():
    class Interrupted(type):
        times = 0

        def __setattr__(cls, name, value):
            Interrupted.times += 1
            if Interrupted.times == 1:
                raise TimeoutError
            super().__setattr__(name, value)

    owner = Interrupted("owner", (), {"there": "a stand-in"})
    own = Patches()
    own._undo.append((owner, "there", "torch's own"))
    with pytest.raises(TimeoutError):
        own.undo()
    assert owner.there == "torch's own" and not own._undo
