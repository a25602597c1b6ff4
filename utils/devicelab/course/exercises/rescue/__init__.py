"""The capstone: a training script with eight device faults, and how a copy of it is run."""

from .running import copy_script

__all__ = ["copy_script"]
