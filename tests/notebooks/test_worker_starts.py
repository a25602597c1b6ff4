"""Exercise 06 ends its cell on workers, however this system starts them."""

import json
import multiprocessing

import torch
from torch.utils.data import DataLoader, TensorDataset

from devicelab import simulate_gpu
from tools.notebooks.nbfiles import SOLUTIONS


def test_the_cell_on_workers_ends_where_they_are_fresh_processes(capsys):
    """As on Windows, on a Mac, and from Python 3.14 on; where they are copies, the solution itself is run by nbval."""
    (path,) = SOLUTIONS.glob("06_*.ipynb")
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"]}
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with simulate_gpu("Tesla T4"):
            exec(
                cells["confusion-15"],
                {"torch": torch, "DataLoader": DataLoader, "TensorDataset": TensorDataset},
            )
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert "cannot share a CUDA tensor with another process" in capsys.readouterr().out
