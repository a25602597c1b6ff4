"""What stands around a judge: a GPU to judge on, and everything of the learner's put back afterwards.

guards    a GPU for the check, and what the answer replaced in torch or switched off
modes     seeds, modes and defaults as in a fresh kernel, then as they were
snapshot  the learner's own objects as they were, and their way back
"""

from .guards import SwitchedOff, on_a_gpu, unchanged

__all__ = ["SwitchedOff", "on_a_gpu", "unchanged"]
