"""A pytest plugin for nbval: each notebook gets a progress folder of its own, and the simulated GPU."""

import os

import pytest

from tools.nbfiles import device_environment, private_environment


@pytest.hookimpl(tryfirst=True)  # before nbval starts the kernel, which inherits this environment
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the notebook that this cell belongs to private folders."""
    if item.path.suffix == ".ipynb":
        factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
        folder = factory.getbasetemp() / item.path.parent.name / item.path.stem
        os.environ.update(private_environment(folder) | device_environment())
