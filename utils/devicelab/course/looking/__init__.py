"""What a judge looks with. Each raises NotYet with what was seen and the line; none gives the answer away.

    seen = watch(train, model, loader, "cuda")
    seen.ran_on("cuda", "The forward pass", phase="forward")
    seen.at_most(2, seen.copies("cuda", "cpu"), "Results were copied back", "Who needs them on the CPU?")
    same_values(seen.value, wanted, "The mean loss")

seen     the answer run under a trace          same     its values and their devices, compared
predict  predictions compared with a run       played   machines that one does not have
workers  a dataset read by a worker process    words    a value in a few words
room     bytes of the card
"""

from .played import without_gpu
from .same import is_on, same_values
from .seen import Seen, Tally, tally, watch
from .words import short, times

__all__ = ["Seen", "Tally", "is_on", "same_values", "short", "tally", "times", "watch", "without_gpu"]
