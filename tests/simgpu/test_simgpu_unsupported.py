"""What is not simulated says so in one clear sentence, never passes silently, and works again after leaving."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch

from devicelab import simulate_gpu
from devicelab.errors import SimulationError
from devicelab.simgpu.machine.patches import owner_of
from devicelab.versions import release
from tools.notebooks import warm


@pytest.fixture
def cards():
    with simulate_gpu("T4", count=2) as simulation:
        yield simulation


def double(x):
    return x * 2


REFUSED = {
    "graph object": (lambda: torch.cuda.CUDAGraph(), "CUDA graphs are not simulated"),
    "graphed callables": (
        lambda: torch.cuda.make_graphed_callables(double, (torch.ones(2, device="cuda"),)),
        "CUDA graphs are not simulated",
    ),
    "graph pool": (lambda: torch.cuda.graph_pool_handle(), "CUDA graphs are not simulated"),
    "nccl call": (
        lambda: torch.cuda.nccl.all_reduce([torch.ones(1, device="cuda")]),
        "torch.cuda.nccl.all_reduce is not simulated",
    ),
    "own kernel": (
        lambda: torch.cuda.jiterator._create_jit_fn("template <typename T> T f(T x) { return x; }")(
            torch.ones(2, device="cuda")
        ),
        "torch.cuda.jiterator is not simulated",
    ),
    "memory pool": (lambda: torch.cuda.MemPool(), "torch.cuda.MemPool is not simulated"),
    "own allocator": (
        lambda: torch.cuda.memory.CUDAPluggableAllocator("a.so", "malloc", "free"),
        "torch.cuda.CUDAPluggableAllocator is not simulated",
    ),
    "another library's stream": (
        lambda: torch.cuda.ExternalStream(5),
        "torch.cuda.ExternalStream is not simulated",
    ),
    "event for another process": (
        lambda: torch.cuda.Event(interprocess=True).ipc_handle(),
        "An event that another process waits for is not simulated",
    ),
    "event of another process": (
        lambda: torch.cuda.Event.from_ipc_handle(torch.device("cuda:0"), b"0" * 64),
        "An event that another process waits for is not simulated",
    ),
    "blas handle": (lambda: torch.cuda.current_blas_handle(), "getCurrentBlasHandle is not simulated"),
}


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_words(cards, call, words):
    with pytest.raises(SimulationError, match=words) as caught:
        call()
    sentences = str(caught.value)
    assert sentences[0].isupper() or sentences.startswith("torch.")
    assert sentences.endswith(".")
    assert len(sentences) < 300


SENSORS = [
    name
    for name in (
        "utilization",
        "memory_usage",
        "temperature",
        "power_draw",
        "clock_rate",
        "device_memory_used",
        "list_gpu_processes",
    )
    if hasattr(torch.cuda, name)
]


@pytest.mark.parametrize("sensor", SENSORS)
def test_there_are_no_sensors(cards, sensor):
    with pytest.raises(
        SimulationError, match=rf"torch\.cuda\.{sensor}\(\) cannot be answered.*no driver and no sensors"
    ):
        getattr(torch.cuda, sensor)()


def test_cuda_extensions_are_refused_and_others_are_not(cards, monkeypatch):
    cpp_extension = pytest.importorskip("torch.utils.cpp_extension")
    with pytest.raises(SimulationError, match="The CUDA extension mine is not simulated"):
        cpp_extension.load("mine", ["mine.cpp", "mine.cu"])
    with pytest.raises(SimulationError, match="The CUDA extension mine is not simulated"):
        cpp_extension.load_inline("mine", "", cuda_sources="__global__ void f() {}")
    with pytest.raises(SimulationError, match="A CUDA extension is not simulated"):
        cpp_extension.CUDAExtension("mine", ["mine.cu"])


def test_triton_kernels_are_refused(monkeypatch):
    """With a stand-in for Triton, since CPU wheels come without it."""

    class JITFunction:
        def run(self, *args):
            raise AssertionError("a kernel was launched")

    for name in ("triton", "triton.runtime", "triton.runtime.jit"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            parent, _, child = name.rpartition(".")
            monkeypatch.setattr(sys.modules[parent], child, module, raising=False)
    sys.modules["triton.runtime.jit"].JITFunction = JITFunction
    owner_of.cache_clear()
    try:
        with simulate_gpu(), pytest.raises(SimulationError, match="A Triton kernel is not simulated"):
            JITFunction().run(torch.ones(2, device="cuda"))
    finally:
        owner_of.cache_clear()


def test_dynamo_can_be_reset(cards, monkeypatch):
    """Its first reset loads torch._inductor's CUDA graphs, which ask the C++ extension for names of a CUDA build."""
    monkeypatch.delitem(sys.modules, "torch._inductor.cudagraph_trees", raising=False)
    torch._dynamo.reset()


@pytest.mark.skipif(
    release(torch.__version__) < (2, 13),
    reason="PyTorch 2.8 to 2.12 has an internal error there, under this kind of mode",
)
def test_gloo_and_cpu_modules_still_work():
    # Alone, and ended at once: gloo's thread may still wait for Python's lock when its group is taken down.
    code = """
import os, torch
from devicelab import simulate_gpu
with simulate_gpu():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    print(tuple(model(torch.ones(1, 2)).shape), flush=True)
    os._exit(0)
"""
    done = warm.run("-c", code)
    assert (done.returncode, done.stdout) == (0, "(1, 2)\n"), done.stderr


def test_every_function_below_torch_cuda_is_answered_or_refused(cards):
    """Whatever torch.cuda's Python code asks of the C++ extension must not end in an AttributeError."""
    import inspect
    import re

    import torch.cuda.memory
    import torch.cuda.tunable

    modules = (
        torch.cuda,
        torch.cuda.memory,
        torch.cuda.graphs,
        torch.cuda.tunable,
        torch.cuda.profiler,
        torch.accelerator,
        torch.backends.cuda,
        torch.backends.cudnn,
        torch.nn.parallel.comm,
    )
    asked = {
        name
        for module in modules
        for name in re.findall(
            r"torch\._C\.(_(?:cuda|accelerator|scatter|gather|broadcast)\w*)", inspect.getsource(module)
        )
    }
    assert len(asked) > 40
    assert sorted(name for name in asked if not hasattr(torch._C, name)) == []


def test_leaving_lets_the_refused_be_what_it_was():
    before = (
        torch.cuda.CUDAGraph,
        torch.cuda.graph,
    )
    with simulate_gpu():
        pass
    assert (
        torch.cuda.CUDAGraph,
        torch.cuda.graph,
    ) == before
