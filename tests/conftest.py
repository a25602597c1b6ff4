"""What all tests share: a simulated time that depends on no machine. tests/package/test_host.py measures this one."""

import gc
import os

import tools.notebooks  # noqa: F401  # before any test imports jsonschema: see there

os.environ.setdefault("DEVICELAB_HOST", "nominal")


def pytest_collection_finish() -> None:
    """Let no collection of garbage walk PyTorch and all tests again: most of a second each time."""
    gc.collect()
    gc.freeze()
