"""What all libraries here need: settings that other tests' imports have locked."""

import pytest
import torch


@pytest.fixture(autouse=True)
def backend_flags_can_be_set(monkeypatch):
    """Undo what torch.testing._internal does on import: it forbids torch.backends' flags for the whole process."""
    monkeypatch.setitem(torch.backends.flags_frozen.__globals__, "__allow_nonbracketed_mutation_flag", True)
