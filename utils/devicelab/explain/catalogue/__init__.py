"""What goes wrong on the way to a GPU, as data: the YAML files beside this module, one for each area.

An entry has these keys; `tests/explain/test_catalogue.py` holds them, and gives each entry a text of somebody else's:

- `words`: texts as torch, drivers and libraries say them, each with the versions that do; "..." stands for a few words or numbers
- `means`: what happened, in a sentence; `why`: where it comes from
- `tell`: how to tell the causes apart, where the words have several
- `do`: what to type, or a mapping from the kind of machine (`MACHINES`); "any" is for all others
- `sure`: one of `SURE`
- `source`: addresses of documentation or of threads in which this was found out
- `special`: true where the words count before those of entries without it, however short they are
- `general`: true where the words count only if those of no other entry stand there, however long they are
- `kind`: what `explain` calls it, where another module answers these words; `id` otherwise
"""

from .entry import MACHINES, SURE, Entry
from .find import entries, entry, find

__all__ = ["MACHINES", "SURE", "Entry", "entries", "entry", "find"]
