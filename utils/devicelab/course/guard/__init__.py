"""What stands around a judge: a GPU to judge on, and everything of the learner's put back afterwards.

guards    a GPU for the check, modes as in a fresh kernel, and what the answer replaced in torch
snapshot  the learner's own objects as they were, and their way back
"""

from .guards import SwitchedOff, on_a_gpu, unchanged

__all__ = ["SwitchedOff", "on_a_gpu", "unchanged"]
