"""Stand-ins for functions that CUDA PyTorch checks before it takes them apart, or takes apart otherwise than the CPU does.

The dispatch mode sees only the parts, and on a CPU build the CPU's, so a stand-in looks first (`rules/functions.py`).
"""

import functools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.patches import owner_of
from devicelab.simgpu.marks import marks
from devicelab.simgpu.rules import attention, fourier
from devicelab.simgpu.rules.functions import place, places
from devicelab.simgpu.rules.outputs import CHECKS
from devicelab.simgpu.rules.refusals import CPU
from devicelab.simgpu.run import words
from devicelab.simgpu.run.create import request

from . import recurrent

Tensor = torch.Tensor


def stand_in(name: str, original: Any) -> Callable[..., Any]:
    """Return a function that checks the devices and then calls the original."""
    names, check = CHECKS[name]

    @functools.wraps(original, assigned=("__name__", "__doc__", "__module__"))
    def function(*args: Any, **kwargs: Any) -> Any:
        if state.current is not None and not overridden((*args, *kwargs.values())):
            given = dict(zip(names, args, strict=False)) | kwargs
            given |= {
                "input": given.get("input", given.get("self")),
                "function": original.__name__,
                "all": args,
            }
            if all(key in given for key in names[:2]):
                check(given)
        return CALLS.get(original.__name__, call)(original, args, kwargs)

    return function


def overridden(values: Iterable[Any]) -> bool:
    """Say whether a subclass of Tensor takes the call, as the biases of torch.nn.attention do."""
    kinds = {type(value) for value in values if isinstance(value, Tensor)} - {*PLAIN}
    return any(written(kind.__torch_function__) not in BY_NOBODY for kind in kinds)


def written(method: Any) -> Any:
    """Return the function of a class's method; one that C++ wrote is none."""
    return getattr(method, "__func__", method)


def call(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call the function as it is."""
    return original(*args, **kwargs)


def with_batch_sizes_on_cpu(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call `_pack_padded_sequence`, whose second result stays on the CPU."""
    data, batch_sizes = original(*args, **kwargs)
    marks.tag(batch_sizes, CPU)
    return data, batch_sizes


def with_moved_targets(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call `ctc_loss` with the targets where the input is, and with lengths that are on no device.

    LossCTC.cpp reads lengths that are tensors on the host, also where they lie on the card.
    """
    tensors = list(args[:4])
    if len(args) >= 4 and set(places(tensors)) != {CPU}:
        data, targets, *lengths = tensors
        lengths = [item.reshape(-1).tolist() if isinstance(item, Tensor) else item for item in lengths]
        args = (data, targets.to(place(data)), *lengths, *args[4:])
    return where_the_first_is(original, args, kwargs)  # the lengths by which the mean is divided


def by_the_cards_kernel(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call `scaled_dot_product_attention` as the kernel that CUDA would choose; refuse where it has none."""
    names, _ = CHECKS["torch._C._nn.scaled_dot_product_attention"]
    given = dict(zip(names, args, strict=False)) | kwargs
    tensors = [given.get(name) for name in names[:3]]
    plain = all(type(tensor) in PLAIN for tensor in tensors)
    if not plain or marks.card_of(tensors[0]) is None or len({tensor.dtype for tensor in tensors}) > 1:  # type: ignore
        return original(*args, **kwargs)
    kernel = attention.choose(attention.params_of(given))
    if kernel is None:
        return original(*args, **kwargs)  # which says so
    if kernel != attention.MATH and tensors[0].is_nested:  # the CPU has no fused kernel for it
        query, key, value = (tensor.contiguous() for tensor in tensors)
        kwargs = {**given, "query": query, "key": key, "value": value}
        args = ()
    with attention.computed(kernel):
        return original(*args, **kwargs)


def unread(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function that on the CPU alone asks whether its values are right (Sorting.cpp, quantile_compute)."""
    if state.current is None:
        return original(*args, **kwargs)
    with state.current.clock.running_ahead():
        return original(*args, **kwargs)


def with_halves(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a Fourier transform; of half precision on a card by single precision."""
    given = args[0] if args else kwargs.get("input", kwargs.get("self"))
    if (
        type(given) in PLAIN
        and given.dtype in fourier.WIDE
        and marks.card_of(given)
        and kwargs.get("out") is None
    ):
        return fourier.transformed(original, original.__name__, args, dict(kwargs))
    return original(*args, **kwargs)


def in_cudas_words(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function that describes its tensors in its errors, by the names of their types."""
    try:
        return original(*args, **kwargs)
    except RuntimeError as error:
        raise words.translated(error, args, kwargs) from None


def where_the_first_is(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function that makes its result from nothing where there is nothing to compute: of an empty matrix, of no terms."""
    first = args[0] if args else next(iter(kwargs.values()), None)
    card = marks.card_of(first) if isinstance(first, Tensor) else None
    if card is None:
        return original(*args, **kwargs)
    before, request.target = request.target, card
    try:
        return original(*args, **kwargs)
    finally:
        request.target = before


PLAIN = (Tensor, torch.nn.Parameter)
# The usual one, and that of a class whose calls are taken at __torch_dispatch__ alone.
BY_NOBODY = (written(Tensor.__torch_function__), torch._C._disabled_torch_function_impl)
# Integration.cpp, TensorShape.cpp, LinearAlgebra.cpp, BatchLinearAlgebra.cpp: `at::zeros(...)`, `at::empty(...)`.
FROM_NOTHING = (
    "combinations", "linalg_cond", "linalg_matrix_norm", "linalg_matrix_rank", "linalg_norm", "trapezoid", "trapz", "vander",
)  # fmt: skip
CALLS = {
    **dict.fromkeys(fourier.NAMES, with_halves),
    "scaled_dot_product_attention": by_the_cards_kernel,
    "_pack_padded_sequence": with_batch_sizes_on_cpu,
    "ctc_loss": with_moved_targets,
    **dict.fromkeys(FROM_NOTHING, where_the_first_is),
    **dict.fromkeys(("stft", "istft"), in_cudas_words),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent.by_cudnn),
    "quantile": unread,
    "nanquantile": unread,
}


def install(machine: Machine) -> None:
    """Put the stand-ins in the place of the functions."""
    replace(machine, {path: partial(stand_in, path) for path in CHECKS})


def replace(machine: Machine, stand_ins: dict[str, Callable[[Any], Any]]) -> None:
    """Put what a maker makes of each function in its place, under every name that a module has for it."""
    patches, originals = machine.patches, {}
    for path, make in stand_ins.items():
        if not patches.has(path):
            continue
        owner, attribute = owner_of(path), path.rpartition(".")[2]
        original = getattr(owner, attribute)
        originals[original] = function = make(original)
        # `everywhere` sees what a module's own dictionary holds: not Tensor's, nor what torch._VF passes on from C++.
        if owner is torch.Tensor:
            patches.replace(path, function)
        elif hasattr(torch._VF, attribute):
            patches.replace(f"torch._VF.{attribute}", function)
        builtin(machine, original, function)
    patches.all_of(originals)


def builtin(machine: Machine, original: Any, function: Any) -> None:
    """Let torch.jit know the stand-in by the original's operator."""
    from torch.jit import _builtins

    operator = _builtins._find_builtin(original)
    if operator is not None:
        machine.on_stop(lambda: _builtins._get_builtin_table().pop(id(function), None))
        _builtins._register_builtin(function, operator)
