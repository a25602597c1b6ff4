"""What a simulated card does not do: each is refused in one sentence that says what to do instead, and none passes silently."""

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from devicelab.errors import SimulationError

from .tags import device_of

if TYPE_CHECKING:
    from .session import Simulation

COMPILE = (
    "torch.compile is not simulated: it would compile for this machine's CPU, past the simulated card. Run the model "
    "without it (torch.compile(model, disable=True) leaves it as it is), or stop the simulation first."
)
GRAPHS = "CUDA graphs are not simulated: run the same work without capture. On a real GPU a graph saves launches, not arithmetic."
NCCL = (
    "NCCL is not simulated: it connects real GPUs. Use init_process_group(backend='gloo'), with the model and the data "
    "on the CPU."
)
PARALLEL = (
    "{} over simulated cards is not simulated: train on one card (cuda:0), or use gloo with the model and the data on "
    "the CPU, one process per worker."
)
KERNELS = (
    "{} is not simulated: a simulated card cannot run kernels of your own. Use torch's operators here, and your kernel "
    "on a real GPU."
)
SENSORS = (
    "{} cannot be answered: it asks the NVIDIA driver, and a simulated card has no driver and no sensors. "
    "torch.cuda.memory_allocated() and devicelab.clock() do work."
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
GRAPH_NAMES = ("CUDAGraph", "graph", "make_graphed_callables", "graph_pool_handle")

# Functions of the C++ extension that torch.cuda would call and that surface.py does not answer.
INTERNALS = (
    "customAllocator", "changeCurrentAllocator", "getAllocator", "cudaHostAllocator",
    "cudaCachingAllocator_raw_alloc", "cudaCachingAllocator_raw_delete", "beginAllocateToPool",
    "beginAllocateCurrentThreadToPool", "beginAllocateCurrentStreamToPool", "endAllocateToPool", "releasePool",
    "getCheckpointState", "setCheckpointPoolState", "checkPoolLiveAllocations", "memorySnapshot",
    "record_memory_history", "record_memory_history_legacy", "attach_out_of_memory_observer", "allocationTraceback",
    "getCurrentBlasHandle", "getCurrentSolverHandle", "getStreamFromExternal", "tunableop_enable",
    "tunableop_tuning_enable", "tunableop_set_filename", "tunableop_read_file", "tunableop_get_results",
    "tunableop_get_validators", "record_untuned_enable", "setMemoryMetadata", "getMemoryMetadata",
    "cudaCachingAllocator_enable", "getCublasLtWorkspaceSize", "getCublasWorkspaceSize",
    "setCublasLtWorkspaceSize", "setCublasWorkspaceSize",
    "tunableop_get_filename", "tunableop_get_max_tuning_duration", "tunableop_get_max_tuning_iterations",
    "tunableop_get_rotating_buffer_size", "tunableop_set_max_tuning_duration",
    "tunableop_set_max_tuning_iterations", "tunableop_set_numerical_check_tolerances",
    "tunableop_set_rotating_buffer_size", "resetCublasWorkspaceSize", "resetCublasLtWorkspaceSize",
)  # fmt: skip


def refusal(sentence: str) -> Callable[..., Any]:
    """Return a function that raises SimulationError with the sentence, whatever it is given."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise SimulationError(sentence)

    return refuse


def refused_class(name: str, sentence: str) -> type:
    """Return a class that cannot be made, for names that programs also use in isinstance."""
    return type(name, (), {"__new__": refusal(sentence)})


def on_card(module: torch.nn.Module) -> bool:
    """Return whether any parameter or buffer of the module lies on a simulated card."""
    return any(device_of(tensor).type == "cuda" for tensor in (*module.parameters(), *module.buffers()))


def install(simulation: "Simulation") -> None:
    """Refuse what is not simulated."""
    patch = simulation.patches.set
    _compile(patch)
    _graphs(patch)
    _several_cards(patch)
    _custom_kernels(patch)
    for name in SENSOR_FUNCTIONS:
        for module in (torch.cuda, torch.cuda.memory):
            if hasattr(module, name):
                patch(module, name, refusal(SENSORS.format(f"torch.cuda.{name}()")))
    for name in INTERNALS:
        patch(torch._C, f"_cuda_{name}", refusal(INTERNAL.format(name)))


def _compile(patch: Callable[[Any, str, Any], None]) -> None:
    """Refuse every call of a compiled function, whenever it was compiled; torch._dynamo asks here what to do with its frame."""
    from torch._dynamo import eval_frame

    original = eval_frame._callback_from_stance

    def callback_from_stance(callback: Any) -> Any:
        answer = original(callback)
        if callable(callback) and answer is not None:  # None: this stance runs everything as it is
            raise SimulationError(COMPILE)
        return answer

    patch(eval_frame, "_callback_from_stance", callback_from_stance)


def _graphs(patch: Callable[[Any, str, Any], None]) -> None:
    for name in GRAPH_NAMES:
        refused = refused_class(name, GRAPHS) if name in ("CUDAGraph", "graph") else refusal(GRAPHS)
        for module in (torch.cuda, torch.cuda.graphs):
            patch(module, name, refused)
    if hasattr(torch.accelerator, "Graph"):
        patch(torch.accelerator, "Graph", refused_class("Graph", GRAPHS))


def _several_cards(patch: Callable[[Any, str, Any], None]) -> None:
    """Refuse what spreads work over cards or processes by NCCL."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    parallel_init, distributed_init = DataParallel.__init__, DistributedDataParallel.__init__

    @functools.wraps(parallel_init)
    def data_parallel(self: Any, module: Any, device_ids: Any = None, *args: Any, **kwargs: Any) -> None:
        if (torch.cuda.device_count() if device_ids is None else len(device_ids)) > 1:
            raise SimulationError(PARALLEL.format("DataParallel"))
        parallel_init(self, module, device_ids, *args, **kwargs)

    @functools.wraps(distributed_init)
    def distributed(self: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        if on_card(module):
            raise SimulationError(PARALLEL.format("DistributedDataParallel"))
        distributed_init(self, module, *args, **kwargs)

    def scatter(
        tensor: torch.Tensor, devices: list[int], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, ...]:
        if len(devices) > 1:
            raise SimulationError(PARALLEL.format("Scattering a tensor"))
        return (tensor.to(torch.device("cuda", devices[0])),)

    patch(torch._C, "_scatter", scatter)
    for name in (
        "_gather",
        "_broadcast",
        "_broadcast_coalesced",
        "_broadcast_out",
        "_gather_out",
        "_scatter_out",
    ):
        patch(torch._C, name, refusal(PARALLEL.format(f"torch.cuda.comm{name.replace('_', '.', 1)}")))
    patch(DataParallel, "__init__", data_parallel)
    patch(DistributedDataParallel, "__init__", distributed)
    if torch.distributed.is_available():
        _process_groups(patch)


def _process_groups(patch: Callable[[Any, str, Any], None]) -> None:
    from torch.distributed import device_mesh, distributed_c10d

    init_group, new_group, init_mesh = (
        distributed_c10d.init_process_group,
        distributed_c10d.new_group,
        device_mesh.init_device_mesh,
    )

    @functools.wraps(init_group)
    def init_process_group(backend: Any = None, *args: Any, **kwargs: Any) -> Any:
        if backend is None or "nccl" in str(backend).lower():
            raise SimulationError(NCCL)
        return init_group(backend, *args, **kwargs)

    @functools.wraps(new_group)
    def new_group_without_nccl(*args: Any, **kwargs: Any) -> Any:
        if "nccl" in str(kwargs.get("backend", args[2] if len(args) > 2 else "")).lower():
            raise SimulationError(NCCL)
        return new_group(*args, **kwargs)

    @functools.wraps(init_mesh)
    def init_device_mesh(device_type: str, *args: Any, **kwargs: Any) -> Any:
        if device_type == "cuda":
            raise SimulationError(PARALLEL.format("A device mesh"))
        return init_mesh(device_type, *args, **kwargs)

    replacements = {
        init_group: init_process_group,
        new_group: new_group_without_nccl,
        init_mesh: init_device_mesh,
    }
    for module in (torch.distributed, distributed_c10d, device_mesh):
        for name, value in list(vars(module).items()):
            if callable(value) and value in replacements:
                patch(module, name, replacements[value])
    for name in (
        "unique_id",
        "init_rank",
        "all_reduce",
        "reduce",
        "broadcast",
        "all_gather",
        "reduce_scatter",
    ):
        patch(torch.cuda.nccl, name, refusal(NCCL))


def refuse_launches(patch: Callable[[Any, str, Any], None], kernel: type) -> None:
    """Refuse to launch kernels of Triton's class."""
    patch(kernel, "run", refusal(KERNELS.format("A Triton kernel")))


def _custom_kernels(patch: Callable[[Any, str, Any], None]) -> None:
    """Refuse kernels that the program brings along; C++ extensions for the CPU still load."""
    patch(
        torch._C, "_cuda_jiterator_compile_and_launch_kernel", refusal(KERNELS.format("torch.cuda.jiterator"))
    )
    if hasattr(torch.cuda, "_compile_kernel"):
        patch(torch.cuda, "_compile_kernel", refusal(KERNELS.format("torch.cuda._compile_kernel")))
    with contextlib.suppress(ImportError):  # CPU wheels come without Triton
        from triton.runtime.jit import JITFunction  # type: ignore[import-not-found,import-untyped]

        refuse_launches(patch, JITFunction)
    try:
        from torch.utils import cpp_extension
    except ImportError:  # it needs setuptools
        return
    load, load_inline = cpp_extension.load, cpp_extension.load_inline

    @functools.wraps(load)
    def load_without_cuda(name: str, sources: Any, *args: Any, **kwargs: Any) -> Any:
        files = [sources] if isinstance(sources, str) else list(sources)
        if kwargs.get("with_cuda") or any(str(file).endswith((".cu", ".cuh")) for file in files):
            raise SimulationError(KERNELS.format(f"The CUDA extension {name}"))
        return load(name, sources, *args, **kwargs)

    @functools.wraps(load_inline)
    def load_inline_without_cuda(
        name: str, cpp_sources: Any, cuda_sources: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        if cuda_sources or kwargs.get("with_cuda"):
            raise SimulationError(KERNELS.format(f"The CUDA extension {name}"))
        return load_inline(name, cpp_sources, cuda_sources, *args, **kwargs)

    patch(cpp_extension, "load", load_without_cuda)
    patch(cpp_extension, "load_inline", load_inline_without_cuda)
    patch(cpp_extension, "CUDAExtension", refusal(KERNELS.format("A CUDA extension")))
