"""Leaving a simulation leaves torch exactly as it was: attributes and behaviour, whatever happened in between."""

import gc
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab import devices
from devicelab.errors import SimulationError
from devicelab.simgpu import current, session, simulate_gpu

NOT_TORCH_S = (
    "devicelab",
    "test",
    "_pytest",
    "pytest",
    "sys",
    "warnings",
    "torch._subclasses",
)  # the last counts its tensors
OWNERS = (
    torch.Tensor,
    torch.UntypedStorage,
    torch.storage.TypedStorage,
    torch._C.TensorBase,
    torch._C.StorageBase,
    threading.Thread,
)


Attributes = dict[str | type, dict[str, int]]


def attributes() -> Attributes:
    """Return the identity of each attribute of every loaded module, of torch's classes and of the other OWNERS."""
    found: dict[str | type, Mapping[str, Any]] = {owner: vars(owner) for owner in OWNERS}
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and not name.startswith(NOT_TORCH_S):
            found[name] = vars(module)
            if name.startswith("torch"):
                found |= {one: vars(one) for one in vars(module).values() if issubclass(type(one), type)}
    return {owner: dict(zip(held, map(id, held.values()), strict=True)) for owner, held in found.items()}


@pytest.fixture(scope="module")
def held() -> Attributes:
    """Have done once what changes torch the first time it is done, on any machine: imports, and what optimizers set up."""
    simulate_gpu().stop()
    model = torch.nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    torch.optim.Adam(model.parameters()).step()
    return attributes()


def outcome(program: Callable[[], object]) -> tuple[str, str]:
    """Return what a program does: its value, or its error."""
    try:
        return "value", str(program())
    except Exception as error:
        return type(error).__name__, str(error)


PROGRAMS: dict[str, Callable[[], object]] = {
    "zeros": lambda: torch.zeros(3, device="cuda"),
    "tensor": lambda: torch.tensor([1.0], device="cuda"),
    "ones_like": lambda: torch.ones_like(torch.zeros(2), device="cuda:0"),
    "new_zeros": lambda: torch.zeros(1).new_zeros(2, device="cuda"),
    "cuda": lambda: torch.ones(2).cuda(),
    "to": lambda: torch.ones(2).to("cuda"),
    "to number": lambda: torch.ones(2).to(0),
    "module": lambda: torch.nn.Linear(2, 2).cuda(),
    "generator": lambda: torch.Generator("cuda"),
    "is_available": torch.cuda.is_available,
    "device_count": torch.cuda.device_count,
    "is_initialized": torch.cuda.is_initialized,
    "current_device": lambda: torch.cuda.current_device(),
    "synchronize": lambda: torch.cuda.synchronize(),
    "memory": lambda: torch.cuda.memory_allocated(),
    "event": lambda: torch.cuda.Event(),
    "stream": lambda: torch.cuda.Stream(),
    "seed": lambda: torch.cuda.manual_seed(3),
    "accelerator": lambda: torch.accelerator.is_available(),
    "current_accelerator": lambda: torch.accelerator.current_accelerator(),
    "pin": lambda: torch.ones(2).pin_memory(),
    "is_pinned": lambda: torch.ones(2).is_pinned(),
    "default device": lambda: torch.get_default_device(),
    "random": lambda: (torch.manual_seed(5), torch.rand(3))[1],
    "grad": lambda: torch.ones(2, requires_grad=True).sum().backward(),
    "device": lambda: torch.ones(2).device,
    "numpy": lambda: torch.ones(2).numpy(),
    "dlpack": lambda: torch.ones(2).__dlpack_device__(),
}


def behaviour() -> dict[str, tuple[str, str]]:
    """Return the outcomes of all programs."""
    return {name: outcome(program) for name, program in PROGRAMS.items()}


def use() -> torch.Tensor:
    """Touch much of what a simulation replaces; return a tensor of the card that has been trained."""
    model = torch.nn.Linear(4, 2).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    torch.cuda.manual_seed_all(1)
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(torch.randn(8, 4, device="cuda")).square().mean()
    loss.backward()
    optimizer.step()
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.ones(3).pin_memory().to("cuda", non_blocking=True)
    return next(model.parameters()).detach()


@pytest.fixture
def untouched(held: Attributes) -> Any:
    """Compare attributes, modes and behaviour before and after the test."""
    behaved = behaviour()
    yield
    gc.collect()
    now = attributes()
    touched = [owner for owner, before in held.items() if now.get(owner) != before]
    changed = [
        (owner, name)
        for owner in touched
        for name, value in held[owner].items()
        if now.get(owner, {}).get(name) != value
    ]
    assert not changed, f"changed or taken away: {changed[:10]}"
    assert behaviour() == behaved
    assert torch._C._len_torch_dispatch_stack() == 0
    assert current() is None
    assert devices.simulated() is None
    if not torch.backends.cuda.is_built():
        assert behaved["zeros"] == ("AssertionError", "Torch not compiled with CUDA enabled")


def test_the_comparison_can_fail() -> None:
    before = attributes()
    torch.Tensor.is_cuda_for_a_test = True  # type: ignore[attr-defined]
    assert attributes()[torch.Tensor].keys() - before[torch.Tensor].keys() == {"is_cuda_for_a_test"}
    del torch.Tensor.is_cuda_for_a_test  # type: ignore[attr-defined]
    with simulate_gpu():
        assert outcome(PROGRAMS["zeros"]) == ("value", "tensor([0., 0., 0.], device='cuda:0')")


def test_leaving_after_much_use(untouched: None) -> None:
    with simulate_gpu(count=2):
        use()


def test_stop_twice(untouched: None) -> None:
    simulation = simulate_gpu()
    use()
    simulation.stop()
    simulation.stop()


def test_leaving_after_an_exception(untouched: None) -> None:
    with pytest.raises(RuntimeError, match="same device"), simulate_gpu():
        torch.ones(3, device="cuda") + torch.ones(3)


def test_leaving_after_an_interruption_in_the_middle_of_an_operator(untouched: None) -> None:
    class Interrupted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            func(*args, **(kwargs or {}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), simulate_gpu():
        ones = torch.ones(3, device="cuda")
        with Interrupted():
            ones + 1


def test_nested_simulations_left_in_order(untouched: None) -> None:
    with simulate_gpu("Tesla T4"):
        outer = torch.ones(3, device="cuda")
        with simulate_gpu("NVIDIA L4", count=2):
            assert torch.cuda.get_device_name() == "NVIDIA L4"
            assert torch.cuda.device_count() == 2
            assert outer.device.type == "cpu", "a tensor of a resting simulation is what it is"
            assert torch.ones(3, device="cuda:1").device.index == 1
        assert torch.cuda.get_device_name() == "Tesla T4"
        assert (outer + 1).device == torch.device("cuda", 0)


def account() -> dict[str, Any]:
    """Return what a card has been told, and what it holds."""
    return {
        "initialized": torch.cuda.is_initialized(),
        "memory": torch.cuda.memory_stats(),
        "current": (torch.cuda.current_device(), torch.cuda.current_stream(), torch.get_default_device()),
        "random": torch.cuda.get_rng_state().tolist(),
        "fraction": torch.cuda.get_per_process_memory_fraction(),
        "cudnn": torch.backends.cudnn.benchmark_limit,
        "debug": torch.cuda.get_sync_debug_mode(),
        "accelerator": getattr(torch.accelerator, "memory_allocated", int)(),  # from 2.9 on
    }


def test_what_an_outer_card_holds_and_was_told_survives_an_inner_one(untouched: None) -> None:
    with simulate_gpu("Tesla T4", count=2), torch.device("cuda"):
        torch.cuda.set_device(1)
        torch.cuda.manual_seed(3)
        torch.cuda.set_per_process_memory_fraction(0.5)
        with getattr(torch.backends, "__allow_nonbracketed_mutation")():  # torch's own test helpers forbid it
            torch.backends.cudnn.benchmark_limit = 3
        torch.cuda.set_sync_debug_mode(1)
        kept, gone = torch.rand(3, device="cuda:1"), torch.ones(2**20, device="cuda:1")
        with torch.cuda.stream(torch.cuda.Stream()):
            before = account()
            with simulate_gpu("NVIDIA L4"):
                assert not torch.cuda.is_initialized() and torch.cuda.memory_allocated() == 0
                assert torch.backends.cudnn.benchmark_limit == 10 and torch.cuda.get_sync_debug_mode() == 0
            assert account() == before and torch.cuda.memory_allocated() > 0
        del gone
        torch.cuda.empty_cache()
        assert torch.cuda.memory_reserved() < before["memory"]["reserved_bytes.all.current"]
        assert kept.device.index == 1


def test_nested_simulations_left_in_any_order(untouched: None) -> None:
    first, second, third = (
        simulate_gpu("Tesla T4"),
        simulate_gpu("NVIDIA L4"),
        simulate_gpu("Tesla T4", count=2),
    )
    second.stop()
    assert torch.cuda.device_count() == 2
    third.stop()
    assert torch.cuda.device_count() == 1
    assert torch.ones(2, device="cuda").is_cuda
    first.stop()


def test_first_left_before_second(untouched: None) -> None:
    first, second = simulate_gpu(), simulate_gpu(count=2)
    first.stop()
    assert torch.cuda.device_count() == 2
    second.stop()


def test_leaving_inside_another_mode(untouched: None) -> None:
    class Trace(TorchDispatchMode):
        seen: list[str]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen.append(str(func))
            return func(*args, **(kwargs or {}))

    simulation = simulate_gpu()
    with Trace() as trace:
        trace.seen = []
        simulation.stop()
        torch.ones(3) + 1
        assert "aten.add.Tensor" in trace.seen, "the trace was removed with the simulation"


def test_entering_inside_another_mode(untouched: None) -> None:
    class Empty(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    with Empty():
        simulation = simulate_gpu()
        assert (torch.ones(3, device="cuda") + 1).is_cuda
    assert (torch.ones(3, device="cuda") + 1).is_cuda
    simulation.stop()


def test_entering_under_fake_tensors_is_refused(untouched: None) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), pytest.raises(SimulationError, match="FakeTensorMode"):
        simulate_gpu()


def test_a_failing_start_leaves_nothing(untouched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "STAND_INS", (*session.STAND_INS[:-1], None))
    with pytest.raises(AttributeError):
        simulate_gpu()
    monkeypatch.undo()


def test_a_class_that_lets_nothing_be_set_has_its_own_method_again(untouched: None) -> None:
    methods = vars(type(torch.default_generator))
    before = methods["set_state"]
    with simulate_gpu(), simulate_gpu():
        assert methods["set_state"] is not before
    assert methods["set_state"] is before


def test_stopped_by_another_thread(untouched: None) -> None:
    simulation = simulate_gpu()
    thread = threading.Thread(target=simulation.stop)
    thread.start()
    thread.join()
    assert torch.ones(2).device.type == "cpu"
    with simulate_gpu():
        assert (torch.ones(2, device="cuda") * 2).is_cuda


def test_default_device_does_not_outlive_the_simulation(untouched: None) -> None:
    with simulate_gpu():
        torch.set_default_device("cuda")
        assert torch.zeros(2).is_cuda
    assert torch.zeros(2).device.type == "cpu"


def test_a_default_device_set_before_stays(untouched: None) -> None:
    was_set = hasattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context")
    torch.set_default_device("meta")
    try:
        with simulate_gpu():
            torch.set_default_device("cuda")
        assert torch.zeros(2).device.type == "meta"
    finally:
        torch.set_default_device(None)
        if not was_set:  # before PyTorch 2.10 get_default_device does not survive the None that is left
            del torch._GLOBAL_DEVICE_CONTEXT.device_context


def test_tensors_that_outlive_the_simulation_say_what_they_are(untouched: None) -> None:
    with simulate_gpu():
        tensor = use()
        assert tensor.device == torch.device("cuda", 0)
    assert tensor.device == torch.device("cpu")
    assert "cuda" not in repr(tensor)
    assert torch.equal(tensor + torch.zeros(4), tensor)
    with simulate_gpu():
        assert tensor.device == torch.device("cpu"), "another simulation's card does not hold it"
        assert (tensor + torch.zeros(4)).device == torch.device("cpu")
        with pytest.raises(RuntimeError, match="same device"):
            tensor + torch.zeros(2, 4, device="cuda")
        assert tensor.to("cuda").is_cuda


def test_names_taken_while_simulating_work_afterwards(untouched: None) -> None:
    with simulate_gpu():
        from torch import as_tensor, randn_like, tensor

        to = torch.Tensor.to
    assert (
        tensor([1.0]).device
        == as_tensor([1.0]).device
        == randn_like(torch.ones(1)).device
        == torch.device("cpu")
    )
    assert to(torch.ones(1), torch.float64).dtype == torch.float64
    assert outcome(lambda: tensor([1.0], device="cuda")) == outcome(PROGRAMS["tensor"])
    assert outcome(lambda: to(torch.ones(2), "cuda")) == outcome(PROGRAMS["to"])


def test_names_taken_before_work_while_simulating(untouched: None) -> None:
    zeros, tensor, tensor_method = torch.zeros, torch.tensor, torch.Tensor.new_zeros
    with simulate_gpu():
        assert zeros(2, device="cuda").is_cuda
        assert tensor_method(torch.ones(1), 2, device="cuda").is_cuda
        assert outcome(lambda: tensor([1.0], device="cuda"))[0] != "value", (
            "refused, or on the card; never on the CPU"
        )


def test_beside_a_real_gpu_it_starts_only_by_name(untouched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA RTX 4090")
    with pytest.raises(SimulationError, match=r"real GPU \(NVIDIA RTX 4090\).*simulate_gpu\(\"Tesla T4\"\)"):
        simulate_gpu()
    assert current() is None
    with pytest.warns(
        UserWarning, match="cuda:0 is a simulated NVIDIA L4, not this machine's NVIDIA RTX 4090"
    ):
        simulation = simulate_gpu("NVIDIA L4")
    with simulation:
        assert simulation.cards[0].spec.name == "NVIDIA L4"
        simulate_gpu().stop()  # inside of a simulation nobody asks
    monkeypatch.undo()


@pytest.mark.parametrize("code", ["", "sim.stop()"])
def test_the_interpreter_ends_quietly(code: str) -> None:
    program = (
        "import torch, devicelab.simgpu\n"
        "sim = devicelab.simgpu.simulate_gpu()\n"
        "x = torch.ones(3, device='cuda', requires_grad=True)\n"
        f"(x * 2).sum().backward()\n{code}\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def restored() -> bool:
    return not session.stack and torch.cuda.device_count is DEVICE_COUNT and torch.Tensor.to is TO


DEVICE_COUNT, TO = torch.cuda.device_count, torch.Tensor.to


def test_threads_that_start_at_once_leave_torch_as_it_was():
    failures: list[BaseException] = []
    together = threading.Barrier(3)

    def enter_and_leave():
        together.wait()
        try:
            for _ in range(5):
                with simulate_gpu("T4"):
                    pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=enter_and_leave) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and restored()


def test_ctrl_c_while_it_starts_leaves_torch_as_it_was(monkeypatch):
    install = session.sleep.install

    def interrupted(machine):
        signal.raise_signal(signal.SIGINT)
        install(machine)

    monkeypatch.setattr(session.sleep, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate_gpu("T4")
    assert restored()


def test_ctrl_c_while_it_stops_leaves_torch_as_it_was():
    simulation = simulate_gpu("T4")
    simulation.on_stop(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        simulation.stop()
    assert restored()
