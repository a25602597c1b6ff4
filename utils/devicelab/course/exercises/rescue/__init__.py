"""The capstone: a training script with eight device faults, and how a copy of it is run."""

from .before_after import before_after
from .running import copy_script

__all__ = ["before_after", "copy_script"]
