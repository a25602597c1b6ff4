"""torch.autocast("cuda") for the simulated card: it casts what CUDA casts.

PyTorch's own kernels for the dispatch key AutocastCUDA are in every build, but they pass over the card's
tensors, which are CPU tensors to C++. While a simulation runs, kernels with the same rules take their place.
For the same reason autocast("cpu") must be kept from casting the card's tensors: that is the shield.
"""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks import marks
from devicelab.simgpu.rules.autocast import (
    Rule,
    cache,
    casts_keep_gradients,
    operator,
    registered,
    rule_of,
    tensors,
)

_Kernel = Callable[..., Any]

_CUDA = torch._C.DispatchKey.AutocastCUDA
_WITHOUT_CUDA = torch._C.DispatchKeySet(_CUDA)
_WITHOUT_BOTH = _WITHOUT_CUDA | torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
_BELOW_BOTH = torch._C._dispatch_keyset_full_after(_CUDA) - _WITHOUT_BOTH


class _State(threading.local):
    """Why this thread has the key on: `only_shield` when it is for autocast("cpu") alone."""

    only_shield = False


_state = _State()


def _on_card(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(marks.index_of(tensor) is not None for tensor in tensors((*args, *kwargs.values())))


def _casting(name: str, rule: Rule) -> _Kernel:
    """Return the kernel that stands for PyTorch's own: the rule, where a tensor on a card takes part."""
    op = operator(name)

    def autocast_kernel(*args: Any, **kwargs: Any) -> Any:
        on_card = _on_card(args, kwargs)
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT_BOTH if on_card else _WITHOUT_CUDA):
            return rule(op, args, kwargs) if on_card and not _state.only_shield else op(*args, **kwargs)

    return autocast_kernel


def _shielding(name: str) -> _Kernel:
    """Return a kernel that keeps autocast("cpu") from casting a card's tensors where CUDA has no rule."""
    op = operator(name)

    def shield_kernel(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        if _on_card(args, kwargs):
            return op.redispatch(keyset & _BELOW_BOTH, *args, **kwargs)
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT_CUDA):
            return op(*args, **kwargs)

    return shield_kernel


def _casting_kernels() -> dict[str, _Kernel]:
    return {name: _casting(name, rule) for name, rule in rule_of().items()}


def _shielding_kernels() -> dict[str, _Kernel]:
    return {name: _shielding(name) for name in registered("AutocastCPU") - rule_of().keys()}


def _register(kernels: dict[str, _Kernel], with_keyset: bool = False) -> torch.library.Library:
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's notice that a kernel is replaced, which is the point
        for name, kernel in kernels.items():
            library.impl(name, kernel, "AutocastCUDA", with_keyset=with_keyset)
    return library


class _Kernels:
    """The kernels, shared by all running simulations and registered when autocast is first switched on."""

    def __init__(self) -> None:
        self._users = 0
        self._libraries: list[torch.library.Library] = []
        self._lock = threading.Lock()

    def acquire(self) -> None:
        with self._lock:
            self._users += 1

    def release(self) -> bool:
        """Give up one use; return whether it was the last, so that PyTorch's own kernels are back."""
        with self._lock:
            self._users -= 1
            while not self._users and self._libraries:
                self._libraries.pop()._destroy()
            return not self._users

    def provide(self, device_type: str) -> None:
        """Register, once, the kernels that autocast on this type of device needs."""
        with torch.inference_mode(False):
            casts_keep_gradients()  # tried before the first region: inside a kernel it could not be
        with self._lock:
            if not self._libraries:
                self._libraries.append(_register(_casting_kernels()))
            if device_type == "cpu" and len(self._libraries) == 1:
                self._libraries.append(_register(_shielding_kernels(), with_keyset=True))


_kernels = _Kernels()


def _set_autocast_enabled(*args: Any, **kwargs: Any) -> None:
    """Stand for torch.set_autocast_enabled, whose older form has the flag alone and means CUDA."""
    if len(args) == 1 and not kwargs:
        args = ("cuda", *args)
    given = dict(zip(("device_type", "enabled"), args, strict=False)) | kwargs
    device_type, enabled = kind_of(given["device_type"]), given["enabled"]
    if enabled and device_type in ("cuda", "cpu"):
        _kernels.provide(device_type)
    on_card = enabled if device_type == "cuda" else _is_autocast_enabled("cuda")
    if device_type != "cuda":
        torch._C.set_autocast_enabled(device_type, enabled)
    _switch(on_card, shield=torch._C.is_autocast_enabled("cpu"))


def _switch(enabled: bool, shield: bool) -> None:
    """Tell the dispatcher whether this thread's operators go through the kernels."""
    _state.only_shield = shield and not enabled
    torch._C.set_autocast_enabled("cuda", enabled or shield)
    torch._C._dispatch_tls_set_dispatch_key_included(_CUDA, enabled or shield)


def _is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Stand for torch.is_autocast_enabled, which would count the shield."""
    return torch._C.is_autocast_enabled(device_type) and not (
        kind_of(device_type) == "cuda" and _state.only_shield
    )


def kind_of(device_type: str) -> str:
    """Return the kind of device that a name means to C++: it takes "cuda:0" as well."""
    return device_type.partition(":")[0]


def _clear_autocast_cache() -> None:
    """Stand for torch.clear_autocast_cache."""
    cache.clear()
    torch._C.clear_autocast_cache()


def _leave() -> None:
    """Give the dispatcher back as PyTorch has it; an autocast region that is still open stays open."""
    if _kernels.release():
        cache.clear()
        _switch(_is_autocast_enabled("cuda"), shield=False)
        torch._C._dispatch_tls_set_dispatch_key_included(_CUDA, False)


def _go_on() -> None:
    """Take over the autocast regions that are open on this thread already."""
    regions = [kind for kind in ("cuda", "cpu") if torch._C.is_autocast_enabled(kind)]
    for device_type in regions:
        _kernels.provide(device_type)
    if regions:
        _switch("cuda" in regions, shield="cpu" in regions)


def install(machine: Machine) -> None:
    """Make autocast work on the simulated card until the simulation stops."""
    _kernels.acquire()
    _go_on()
    machine.on_stop(_leave)
    machine.patches.replace("torch.set_autocast_enabled", _set_autocast_enabled)
    machine.patches.replace("torch.is_autocast_enabled", _is_autocast_enabled)
    machine.patches.replace("torch.clear_autocast_cache", _clear_autocast_cache)
