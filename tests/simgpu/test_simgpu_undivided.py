"""Entering and leaving is all or nothing: cut short at every name that is replaced, by signals, other threads and forks."""

import os
import signal
import threading
import time

import pytest
import torch

from devicelab.simgpu import current, session, simulate_gpu
from devicelab.simgpu.machine import patches
from devicelab.simgpu.machine.patches import Patches
from devicelab.simgpu.machine.undivided import undivided

ABSENT = object()


@pytest.fixture(scope="module")
def replacements():
    """What one start replaces, in order: the owner, the name, what takes its place, and what was there."""
    simulate_gpu().stop()  # what is loaded at the first start is loaded
    found = []
    put = Patches._put

    def noting(self, owner, attribute, value):
        found.append((owner, attribute, value, vars(owner).get(attribute, ABSENT)))
        put(self, owner, attribute, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Patches, "_put", noting)
        simulate_gpu().stop()
    assert len(found) > 300
    return found


def changed(replacements):
    return [name for owner, name, _, before in replacements if vars(owner).get(name, ABSENT) is not before]


class Cut(BaseException):
    """What comes from outside at any moment, as Ctrl-C does."""


def cut(monkeypatch, at, before):
    """Have the `at`-th change of a name cut short, before or after it did its work."""
    count = iter(range(10**9))

    def cutting(change):
        def changing(*arguments):
            here = next(count) == at
            if here and before:
                raise Cut
            change(*arguments)
            if here:
                raise Cut

        return changing

    for change in (setattr, delattr):
        monkeypatch.setattr(patches, change.__name__, cutting(change), raising=False)


@pytest.mark.parametrize("before", [True, False], ids=["before it", "after it"])
def test_a_start_that_is_cut_at_any_name_leaves_none_replaced(replacements, monkeypatch, before):
    for number in range(len(replacements)):
        cut(monkeypatch, number, before)
        changes = Patches()
        with pytest.raises(Cut):
            for owner, name, value, _ in replacements:
                changes._put(owner, name, value)
        changes.undo()
        assert changed(replacements[: number + 1]) == []
    assert changed(replacements) == []


@pytest.mark.parametrize("before", [True, False], ids=["before it", "after it"])
def test_a_stop_that_is_cut_at_any_name_puts_all_back(replacements, monkeypatch, before):
    for number in range(int(before), len(replacements), 2):  # together all of them
        changes = Patches()
        for owner, name, value, _ in replacements:
            changes._put(owner, name, value)
        with monkeypatch.context() as patch, pytest.raises(Cut):
            cut(patch, number, before)
            changes.undo()
        assert changed(replacements) == []


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.99])
def test_a_simulation_whose_start_is_cut_is_none(replacements, monkeypatch, share):
    cut(monkeypatch, int(share * len(replacements)), before=False)
    with pytest.raises(Cut):
        simulate_gpu()
    assert changed(replacements) == [] and current() is None and not session.stack


def test_ctrl_c_at_every_stand_in_leaves_none_replaced(replacements, monkeypatch):
    for stand_in in session.STAND_INS:
        install = stand_in.install
        with monkeypatch.context() as patch:
            patch.setattr(
                stand_in,
                "install",
                lambda machine, run=install: (signal.raise_signal(signal.SIGINT), run(machine)),
            )
            with pytest.raises(KeyboardInterrupt):
                simulate_gpu()
        assert changed(replacements) == [] and not session.stack


class Failing:
    """A stand-in that is told to end the program, and fails."""

    @staticmethod
    def install(machine):
        signal.raise_signal(signal.SIGINT)
        raise ValueError("this stand-in cannot be installed")


def test_ctrl_c_during_a_start_that_fails_is_heard(replacements, monkeypatch):
    monkeypatch.setattr(session, "STAND_INS", (*session.STAND_INS, Failing))
    with pytest.raises(KeyboardInterrupt) as caught:
        simulate_gpu()
    assert isinstance(caught.value.__context__, ValueError)
    assert changed(replacements) == [] and not session.stack


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no alarms")
def test_any_signal_is_heard_when_the_block_has_ended():
    order = []

    def alarmed(*told):
        order.append("heard")
        raise Cut

    before = signal.signal(signal.SIGALRM, alarmed)
    try:
        with pytest.raises(Cut), undivided():
            signal.raise_signal(signal.SIGALRM)
            order.append("ended")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert order == ["ended", "heard"]


def test_of_several_signals_each_is_heard():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *told: heard.append("SIGTERM"))
    try:
        with pytest.raises(KeyboardInterrupt), undivided():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["SIGTERM"]


def test_an_error_inside_leaves_nothing(replacements):
    with pytest.raises(RuntimeError, match="two devices"), simulate_gpu():
        torch.ones(2, device="cuda") + torch.ones(2)
    with pytest.raises(KeyboardInterrupt), simulate_gpu():
        signal.raise_signal(signal.SIGINT)
    assert changed(replacements) == [] and current() is None


def exit_code_of(child):
    """Fork, call in the child, and return its exit code: 0 where it returned true."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            code = 0 if child() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of os.fork beside threads
]


@pytest.mark.usefixtures("replacements")
class TestForks:
    pytestmark = forks

    def test_a_forked_child_leaves_the_simulation_and_the_parent_stays_in_it(self, replacements):
        with simulate_gpu() as simulation:
            torch.ones(1, device="cuda")

            def leave():
                simulation.stop()
                return changed(replacements) == [] and torch.ones(1).device.type == "cpu"

            assert exit_code_of(leave) == 0
            assert torch.ones(1, device="cuda").is_cuda
        assert changed(replacements) == []

    def test_a_forked_child_starts_a_simulation_of_its_own(self, replacements):
        def start_and_stop():
            with simulate_gpu():
                assert torch.ones(1, device="cuda").is_cuda
            return changed(replacements) == []

        assert exit_code_of(start_and_stop) == 0
        assert changed(replacements) == []

    def test_a_fork_waits_for_another_threads_start(self):
        done, began = [], threading.Event()

        def half():
            with undivided():
                began.set()
                time.sleep(0.1)
                done.append(True)

        thread = threading.Thread(target=half)
        thread.start()
        began.wait()
        assert exit_code_of(lambda: bool(done)) == 0
        thread.join()
