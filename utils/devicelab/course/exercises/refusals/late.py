"""Errors that come late: which line is blamed, and labels that the loss does not know. Only simulated cards are lost."""

import copy
import io
import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from devicelab.course.looking import is_on, same_values, watch
from devicelab.course.looking.played import a_card_to_lose
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotYet
from devicelab.explain import explain

# --- 5: which line is blamed ----------------------------------------------------------------------------------------

_PROGRAM = """\
def pick(words, device):
    table = nn.Embedding(1000, 8).to(device)  # a
    vectors = table(words.to(device))         # b
    print(vectors.shape, vectors.device)      # c
    scores = vectors.mean(dim=1)              # d
    if scores.isnan().any():                  # e
        print("something is missing")
    return scores.tolist()                    # f
"""
_WRONG, _RIGHT = [[4, 1000]], [[4, 999]]
_BLAMED_WHY = {
    "cuda": "The lookup was only ordered. Where does the CPU first need a value from the card?",
    "blocking": "Each line now waits for its kernel. Which kernel meets the wrong word?",
    "cpu": "Nothing is ordered here: each line has done its work when the next one begins. Which one meets the wrong word?",
    "afterwards": "The card is lost to this process, whatever the words are. Which line is the first to need it?",
}


def _blamed() -> dict[str, str]:
    """Run the program of the question in each way and return the letters of the lines that are blamed."""
    namespace: dict[str, Any] = {"nn": nn}
    exec(compile(_PROGRAM, "<the program of question 5>", "exec"), namespace)
    pick = namespace["pick"]
    found = {}
    for name, variables in (("cuda", {}), ("blocking", {"CUDA_LAUNCH_BLOCKING": "1"})):
        plain = {key: value for key, value in os.environ.items() if key != "CUDA_LAUNCH_BLOCKING"}
        with patch.dict(os.environ, plain | variables, clear=True), a_card_to_lose():
            found[name] = _line(pick, _WRONG, "cuda")
            afterwards = _line(pick, _RIGHT, "cuda")
    return found | {"cpu": _line(pick, _WRONG, "cpu"), "afterwards": afterwards}


def _line(pick: Callable[..., Any], words: list[list[int]], device: str) -> str:
    try:
        with redirect_stdout(io.StringIO()):
            pick(torch.tensor(words), device)
    except (RuntimeError, IndexError) as error:
        code, at, tb = pick.__code__, 0, error.__traceback__
        while tb is not None:
            at = tb.tb_lineno if tb.tb_frame.f_code is code else at
            tb = tb.tb_next
        return _PROGRAM.split("\n")[at - 1].rpartition("# ")[2]
    return "none"


_BY_THEN = "A real card may have told by then; the simulated one tells as late as a card can. "


def _not_blamed(name: str, said: str, _right: str) -> str:
    by_then = _BY_THEN if (name, said) == ("cuda", "d") else ""  # d is the one launch on the way to the wait
    return f"For {name} you wrote {said!r}. The program was run so, and another line was blamed. {by_then}{_BLAMED_WHY[name]}"


judge_blamed = prediction(_blamed, _not_blamed, words=tuple("abcdef"))

# --- 6: labels that the loss does not know --------------------------------------------------------------------------

_CLASSES = 5


def _wanted_loss(model: nn.Module, rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    known = labels > 0
    return nn.functional.cross_entropy(model(rows)[known], labels[known] - 1)


def _labelled() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield rows and labels as the file has them: 1 to 5, and 0 where nobody knows; once without such a row."""
    for unknown in (3, 0, 7):
        labels = torch.arange(20) % _CLASSES + 1
        labels[:unknown] = 0
        yield torch.randn(20, 10), labels


def judge_loss(loss_of) -> None:
    for device in ("cuda", "cpu"):
        with a_card_to_lose():
            for rows, labels in _labelled():
                twin = nn.Linear(10, _CLASSES)
                model = copy.deepcopy(twin).to(device)
                seen = _without_losing_the_card(loss_of, model, rows, labels, device)
                loss = _wanted_loss(twin, rows, labels)
                same_values(seen.value, loss, f"With device={device!r} the loss")
                is_on(seen.value, device, f"With device={device!r} the loss")
                seen.at_most(
                    0,
                    seen.copies("cuda", "cpu"),
                    "Results were copied back to the CPU",
                    "Who needs them there?",
                )
                loss.backward()
                if not seen.value.requires_grad:
                    raise NotYet(
                        "The value is right, but the loss leads back to no weight. Where was its graph lost?"
                    )
                seen.value.backward()
                same_values(model.weight.grad, twin.weight.grad, "The gradient of the weights")


def _without_losing_the_card(loss_of: Callable[..., Any], model: nn.Module, *given: Any) -> Any:
    try:
        seen = watch(loss_of, model, *given)
        torch.cuda.synchronize()
        return seen
    except RuntimeError as error:
        if "device-side assert" not in str(error):
            raise
        raise NotYet(
            f"The card was lost to a device-side assert. {explain(error).what} Which labels does the file hold, and which of "
            "them does the loss know now?"
        ) from None
