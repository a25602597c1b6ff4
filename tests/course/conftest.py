"""What tests of exercises share."""

import pytest

from devicelab import simulate_gpu


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A simulated card, and progress that starts with nothing."""
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path))
    with simulate_gpu("Tesla T4"):
        yield
