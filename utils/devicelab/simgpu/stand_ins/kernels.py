"""Which kernel of CUDA's would run: what programs ask of attention and of cuDNN before they call them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.nn.attention import SDPBackend

from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import card_of
from devicelab.simgpu.rules import attention

ASKED = {
    "flash": attention.FLASH,
    "mem_efficient": attention.EFFICIENT,
    "cudnn": attention.CUDNN,
}


def install(machine: Machine) -> None:
    """Answer as a CUDA build does, for the cards of this simulation."""
    capability = machine.cards[0].spec.capability
    patches = machine.patches

    def asked(backend: int) -> Callable[..., bool]:
        def can_use(params: Any, debug: bool = False) -> bool:
            names = ("query", "key", "value", "attn_mask", "dropout", "is_causal", "enable_gqa")
            given = {name: getattr(params, name) for name in names}
            return attention.can_use(backend, attention.Params(**given, capability=capability), debug)

        return can_use

    for name, backend in ASKED.items():
        patches.replace(f"torch._C._can_use_{name}_attention", asked(backend))
    patches.replace("torch._C._is_flash_attention_available", lambda: True)
    patches.wrap("torch.nested._internal.sdpa._select_sdp_backend", in_parts)
    for name in ("is_available", "_init"):
        patches.replace(f"torch.backends.cudnn.m.{name}", lambda: True)
    limit = torch.backends.ContextProp(
        lambda: machine.benchmark_limit,
        torch._C._cuda_set_cudnn_benchmark_limit,  # type: ignore[attr-defined]
    )
    patches.replace("torch.backends.cudnn.CudnnModule.benchmark_limit", limit)
    # It keeps a cache for each card that there was when it was first asked.
    patches.replace("torch.backends.cuda.cufft_plan_cache", torch.backends.cuda.cuFFTPlanCacheManager())
    patches.replace("torch.backends.cudnn.m.version", lambda: attention.cudnn_version(capability))


def in_parts(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the choice of the kernel for jagged tensors, whose fused kernels only CUDA has: their parts are run instead."""

    @wraps(original)
    def select(query: Any, *args: Any, **kwargs: Any) -> Any:
        backend = original(query, *args, **kwargs)
        is_fused = backend not in (SDPBackend.ERROR, SDPBackend.MATH)
        return SDPBackend.MATH if is_fused and card_of(query) else backend

    return select
