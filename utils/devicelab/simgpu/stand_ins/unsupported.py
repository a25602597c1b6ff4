"""What a simulated card does not do: each is refused in one sentence that says what to do instead, and none passes silently."""

import functools
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from devicelab.errors import SimulationError
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.patches import Patches, table

from .cuda import SETTER

COMPILER = (
    "{} is not simulated: on a simulated card nothing is compiled, so there is no graph to hand out. Call it where no "
    "simulation runs; torch.export.export(strict=False) works here too."
)
GRAPHS = "CUDA graphs are not simulated: run the same work without capture. On a real GPU a graph saves launches, not arithmetic."
KERNELS = (
    "{} is not simulated: a simulated card cannot run kernels of your own. Use torch's operators here, and your kernel "
    "on a real GPU."
)
SENSORS = (
    "{} cannot be answered: it asks the NVIDIA driver, and a simulated card has no driver and no sensors. "
    "torch.cuda.memory_allocated() and devicelab.clock() do work."
)
FOREIGN = (
    "{} is not simulated: it takes the memory or the stream of another library on a real GPU, and a simulated card has "
    "neither. Leave it out here: PyTorch's own allocator and torch.cuda.Stream() work."
)
INTERNAL = "torch.cuda's {} is not simulated. If your program needs it, run that part on a real GPU."

SENSOR_FUNCTIONS = (
    "utilization",
    "memory_usage",
    "temperature",
    "power_draw",
    "clock_rate",
    "device_memory_used",
    "list_gpu_processes",
)
# The classes and functions that lead to another library's memory or stream, with the modules that name them.
FOREIGN_NAMES = {
    "MemPool": ("torch.cuda", "torch.cuda.memory"),
    "CUDAPluggableAllocator": ("torch.cuda", "torch.cuda.memory"),
    "ExternalStream": ("torch.cuda", "torch.cuda.streams"),
}
COMPILERS = {"torch._dynamo": ("explain", "export"), "torch._inductor": ("compile", "aot_compile")}
GRAPH_NAMES = ("CUDAGraph", "graph", "make_graphed_callables", "graph_pool_handle")
# Functions of the C++ extension that others than torch.cuda call: torch._inductor, and programs that watch memory.
INTERNALS = (
    "_cuda_beginAllocateCurrentStreamToPool",
    "_cuda_CUDAAllocator_AllocatorState",
    "_cuda_checkPoolLiveAllocations",
    "_cuda_getCheckpointState",
    "_cuda_setCheckpointPoolState",
)


def refusal(sentence: str) -> Callable[..., Any]:
    """Return a function that raises SimulationError with the sentence, whatever it is given."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise SimulationError(sentence)

    return refuse


def refused_class(name: str, sentence: str) -> type:
    """Return a class that cannot be made, for names that programs also use in isinstance."""
    return type(name, (), {"__new__": refusal(sentence)})


def install(machine: Machine) -> None:
    """Refuse what is not simulated."""
    patches = machine.patches
    for module, names in COMPILERS.items():
        patches.later(module, functools.partial(_compilers, patches, module, names))
    patches.later("torch.export", lambda: patches.everywhere("torch.export.export", exporting))
    for name, modules in FOREIGN_NAMES.items():
        for module in modules:
            patches.replace(f"{module}.{name}", refused_class(name, FOREIGN.format(f"torch.cuda.{name}")))
    _graphs(patches)
    _custom_kernels(patches)
    for name in SENSOR_FUNCTIONS:
        for module in ("torch.cuda", "torch.cuda.memory"):
            if f"{module}.{name}" in table():
                patches.replace(f"{module}.{name}", refusal(SENSORS.format(f"torch.cuda.{name}()")))
    served = {SETTER, *(path.removeprefix("torch._C.") for path in table())}
    for name in {*asked_of_cuda(), *INTERNALS} - served:
        patches.answer(f"torch._C.{name}", refusal(INTERNAL.format(name.removeprefix("_cuda_"))))


@functools.cache
def asked_of_cuda() -> frozenset[str]:
    """Return the functions of the C++ extension that torch.cuda's own Python code names; a CPU build has none of them."""
    folder = Path(torch.cuda.__file__).parent
    sources = [*folder.glob("*.py"), folder.parent / "backends" / "cuda" / "__init__.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.exists())
    imported = " ".join(re.findall(r"from torch\._C import (\([^)]*\)|.*)", text))
    return frozenset(re.findall(r"\b_C\.(_cuda_[a-z]\w+)", text) + re.findall(r"_cuda_[a-z]\w+", imported))


def exporting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return torch.export.export without its strict way, which compiles."""

    @functools.wraps(original)
    def export(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("strict"):
            raise SimulationError(COMPILER.format("torch.export.export(strict=True)"))
        return original(*args, **kwargs)

    return export


def _compilers(patches: Patches, module: str, names: tuple[str, ...]) -> None:
    for name in names:
        patches.replace(f"{module}.{name}", refusal(COMPILER.format(f"{module}.{name}")))


def _graphs(patches: Patches) -> None:
    for name in GRAPH_NAMES:
        refused = refused_class(name, GRAPHS) if name in ("CUDAGraph", "graph") else refusal(GRAPHS)
        for module in ("torch.cuda", "torch.cuda.graphs"):
            patches.replace(f"{module}.{name}", refused)
    patches.replace("torch.accelerator.Graph", refused_class("Graph", GRAPHS))


def _custom_kernels(patches: Patches) -> None:
    """Refuse kernels that the program brings along; C++ extensions for the CPU still load."""
    patches.replace("torch.cuda._compile_kernel", refusal(KERNELS.format("torch.cuda._compile_kernel")))
    jiterator = "torch._C._cuda_jiterator_compile_and_launch_kernel"
    patches.answer(jiterator, refusal(KERNELS.format("torch.cuda.jiterator")))
    if find_spec("triton"):  # CPU wheels come without it
        patches.replace("triton.runtime.jit.JITFunction.run", refusal(KERNELS.format("A Triton kernel")))
    patches.later("torch.utils.cpp_extension", functools.partial(_extensions, patches))


def _extensions(patches: Patches) -> None:
    patches.wrap("torch.utils.cpp_extension.load", loading)
    patches.wrap("torch.utils.cpp_extension.load_inline", loading_inline)
    patches.replace("torch.utils.cpp_extension.CUDAExtension", refusal(KERNELS.format("A CUDA extension")))


def loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return cpp_extension.load for extensions without CUDA."""

    @functools.wraps(original)
    def load(name: str, sources: Any, *args: Any, **kwargs: Any) -> Any:
        files = [sources] if isinstance(sources, str) else list(sources)
        if kwargs.get("with_cuda") or any(str(file).endswith((".cu", ".cuh")) for file in files):
            raise SimulationError(KERNELS.format(f"The CUDA extension {name}"))
        return original(name, sources, *args, **kwargs)

    return load


def loading_inline(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return cpp_extension.load_inline for extensions without CUDA."""

    @functools.wraps(original)
    def load_inline(name: str, cpp_sources: Any, cuda_sources: Any = None, *args: Any, **kwargs: Any) -> Any:
        if cuda_sources or kwargs.get("with_cuda"):
            raise SimulationError(KERNELS.format(f"The CUDA extension {name}"))
        return original(name, cpp_sources, cuda_sources, *args, **kwargs)

    return load_inline
