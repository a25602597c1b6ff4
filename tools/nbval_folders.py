"""A pytest plugin for nbval: each notebook gets a progress folder of its own, the simulated GPU, and a forked kernel."""

import os
from contextlib import ExitStack

import pytest

from tools import warm
from tools.nbfiles import device_environment, private_environment


def pytest_configure(config: pytest.Config) -> None:
    """Fork kernels for as long as this runs."""
    forked = ExitStack()
    forked.enter_context(warm.kernels())
    config.add_cleanup(forked.close)


@pytest.hookimpl(tryfirst=True)  # before nbval starts the kernel, which inherits this environment
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the notebook that this cell belongs to private folders."""
    if item.path.suffix == ".ipynb":
        factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
        folder = factory.getbasetemp() / item.path.parent.name / item.path.stem
        os.environ.update(private_environment(folder) | device_environment())
