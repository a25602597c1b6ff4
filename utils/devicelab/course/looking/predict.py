"""A prediction: the keys of a dict, each filled by the learner with what will be so, compared with what is so."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from devicelab.course.question.outcome import NotAttempted, NotYet

from .words import short

Truth = Callable[[], Mapping[str, Any]]


def prediction(
    truth: Truth, tell: Callable[[str, Any, Any], str], words: Sequence[Any] = ()
) -> Callable[[Any], None]:
    """Return the judge of a dict with the keys of `truth()`, which finds out what is so; only `words` may be written there.

    `tell(name, said, right)` is what a learner is told who wrote something else than `right`; nothing, where that will do.
    """

    def judge(answer: Any) -> None:
        found = truth()
        if not isinstance(answer, dict) or set(answer) != set(found):
            names = ", ".join(map(_name, found))
            raise NotYet(f"The answer is a dict with the {len(found)} keys of the cell: {names}.")
        empty = [_name(name) for name in found if answer[name] is ...]
        if len(empty) == len(found):
            raise NotAttempted
        if empty:
            raise NotYet(f"Nothing stands yet for {', '.join(empty)}. A guess will do: the check tells more.")
        for name, right in found.items():
            said = _plain(answer[name])
            if words and not (isinstance(said, type(words[0])) and said in words):
                asked = f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(map(repr, words))
                raise NotYet(f"For {_name(name)} you wrote {short(answer[name])}; {asked} was asked for.")
            told = "" if isinstance(said, type(right)) and said == right else tell(name, said, right)
            if told:
                raise NotYet(told)

    return judge


def device_prediction(
    tensors: Callable[[], Mapping[str, torch.Tensor]], why: Mapping[str, str]
) -> Callable[[Any], None]:
    """Return the judge of a prediction of the kind of device that each tensor is on; `why` asks about a wrong one."""
    return prediction(
        lambda: {name: tensor.device.type for name, tensor in tensors().items()},
        lambda name, said, _: f"The lines were run, and {name} was not on {said}: {why[name]}",
        ("cpu", "cuda"),
    )


def _name(key: str) -> str:
    return key if key.isidentifier() else repr(key)


def _plain(value: Any) -> Any:
    """Return a device as the word for its kind: cuda:0 is "cuda"."""
    return str(value).removesuffix(":0") if isinstance(value, (str, torch.device)) else value
