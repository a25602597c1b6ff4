"""What is said of a value, a device or a number, in a few words."""

import torch


def device_kind(device: object) -> str:
    """Return "cuda" of "cuda:0"."""
    return str(device).partition(":")[0]


def times(count: int) -> str:
    """Return "once", "twice" or "40 times"."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def short(value: object) -> str:
    """Return a value in at most 60 characters; of a tensor its shape and device only."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)} on {value.device}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
