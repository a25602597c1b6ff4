"""What asks a tensor for its values, while there are none."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import data

from devicelab import devices
from devicelab.errors import InputError
from devicelab.simgpu.machine.patches import Patches
from devicelab.simgpu.marks import marks

from .dispatch import Idle
from .unknown import Unknown, asked_by_torch, asking_frame, decides, refusal

_Iterator = data.dataloader._BaseDataLoaderIter
AS_SIZE = "uses the value of a tensor as a size"


class Values:
    """Stand-ins for the methods that hand values to Python, for one estimate."""

    def __init__(self, idle: Idle):
        self.idle = idle
        self.patches = Patches()
        self.loaders: set[int] = set()  # data loaders' iterators that were made during the run

    def install(self) -> None:
        """Replace the methods."""
        patches = self.patches
        for name in ("item", "__float__", "__int__"):
            patches.replace(f"torch.Tensor.{name}", self.reading(name))
        patches.wrap("torch.Tensor.__bool__", self.deciding)
        patches.wrap("torch.Tensor.__index__", lambda original: self.refusing(original, AS_SIZE))
        to_python, to_numpy = "hands the values of a tensor to Python", "hands a tensor to NumPy"
        patches.replace("torch.Tensor.tolist", self.refusing(Tensor.tolist, to_python))
        for name in ("numpy", "__array__"):
            patches.replace(
                f"torch.Tensor.{name}", self.refusing(self.array(getattr(Tensor, name)), to_numpy)
            )
        patches.wrap("torch.Tensor.__repr__", self.printing)
        patches.wrap("torch.nn.functional.scaled_dot_product_attention", attending)
        if self.idle.everything_moved:
            patches.wrap("torch.autocast.__init__", on_card)
        patches.wrap("torch.utils.data.DataLoader.__iter__", self.loading)
        patches.wrap("torch.utils.data.dataloader._BaseDataLoaderIter.__next__", self.fetching)

    def hidden(self, tensor: Any) -> bool:
        """Say whether a tensor's values were not computed."""
        try:
            return not self.idle.is_known(tensor)
        except (RuntimeError, NotImplementedError):
            return False

    def reading(self, name: str) -> Callable[..., Any]:
        """Return a stand-in for `.item()`, float() and int(): the host waits, and gets a number in place of the value."""
        original = getattr(Tensor, name)

        def read(tensor: Tensor) -> Any:
            if not self.hidden(tensor):
                return original(tensor)
            self.idle.reading = True
            try:
                value = original(tensor)
            finally:
                self.idle.reading = False
            if "_maybe_opt_step" in asking_frame().f_code.co_qualname:
                return 0.0  # a gradient scaler asks whether it found infinities: the usual answer is no
            return Unknown() if name == "item" else type(value)(1)

        return read

    def deciding(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a stand-in for bool(): nobody knows."""

        def decide(tensor: Tensor) -> bool:
            if not self.hidden(tensor):
                return original(tensor)
            if asked_by_torch():
                return False
            raise decides()

        return decide

    def refusing(self, original: Callable[..., Any], words: str) -> Callable[..., Any]:
        """Return a stand-in that refuses to hand out values that were not computed."""

        def refuse(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.hidden(tensor):
                raise refusal(words, "Leave this part out of the function that you estimate.")
            if words is not AS_SIZE:  # which asks for one element, and that is heard of
                self.idle.chance.read(tensor)
            return original(tensor, *args, **kwargs)

        return refuse

    def array(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a stand-in for .numpy() that hands out a known tensor which counts as moved, as the host's would be."""

        def array(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            moved = self.idle.everything_moved and marks.tag_of(tensor) is self.idle.card
            return (as_array if moved else original)(tensor, *args, **kwargs)

        return array

    def printing(self, original: Callable[..., str]) -> Callable[..., str]:
        """Return a stand-in for repr() that shows no values."""

        def show(tensor: Tensor, **kwargs: Any) -> str:
            if self.hidden(tensor):
                return f"tensor(?, size={tuple(tensor.shape)}, dtype={tensor.dtype})"
            return original(tensor, **kwargs)

        return show

    def loading(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a stand-in for starting a data loader, which really loads."""

        def start(loader: Any) -> Any:
            with devices.present().undisturbed():  # data is loaded by the CPU, neither costed nor counted
                iterator = original(loader)
            self.loaders.add(id(iterator))
            return iterator

        return start

    def fetching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a stand-in for taking a batch; a batch taken from a loader of the user's could not be given back."""

        def fetch(iterator: Any) -> Any:
            if id(iterator) not in self.loaders:
                raise InputError(
                    "The function takes a batch from an iterator that was made outside of it, and an estimate could not give "
                    "the batch back. Take the batch first, and give estimate a function that uses it."
                )
            with devices.present().undisturbed():  # data is loaded by the CPU, neither costed nor counted
                return original(iterator)

        return fetch


def as_array(tensor: Tensor, *args: Any, **_: Any) -> Any:
    """Return the values of a tensor as NumPy's, in the dtype that __array__ is asked for."""
    array = torch._C.TensorBase.numpy(tensor.detach())
    return array.astype(args[0]) if args and args[0] is not None and args[0].__class__ is not bool else array


def attending(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a stand-in for attention that stays one kernel where torch would take it apart here, but not on a card.

    That is on meta, and where several heads of the query share one of the key and the value.
    """
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def attend(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
        scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        shared = enable_gqa and query.shape[1] % key.shape[1] == 0
        fused = (query.is_meta or shared) and query.dim() == 4 and not dropout_p and attn_mask is None
        fused = fused and (shared or not enable_gqa)
        if fused:
            return flash(query, key, value, dropout_p, is_causal, scale=scale)[0]
        return original(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )

    return attend


def on_card(original: Callable[..., None]) -> Callable[..., None]:
    """Return a stand-in for making an autocast region: one of the CPU counts as one of the card, in the same precision."""

    def init(
        self: Any, device_type: str, dtype: torch.dtype | None = None, *args: Any, **kwargs: Any
    ) -> None:
        if device_type == "cpu":
            device_type, dtype = "cuda", dtype or torch.get_autocast_dtype("cpu")
        original(self, device_type, dtype, *args, **kwargs)

    return init
