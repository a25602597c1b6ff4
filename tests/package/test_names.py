"""The surface of the package, and its lightness."""

import subprocess
import sys

import pytest

import devicelab
from tools.notebooks import warm

HEAVY = ("torch", "matplotlib", "ipywidgets", "IPython")


def loaded_after(statement: str) -> set[str]:
    """Return which heavy packages a fresh Python has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(' '.join(name for name in {HEAVY} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_every_exported_name_exists_and_the_list_is_sorted():
    assert devicelab.__all__ == sorted(devicelab.__all__)
    for name in devicelab.__all__:
        assert getattr(devicelab, name) is not None


@pytest.mark.parametrize("first", ["import devicelab.gpus", "import devicelab.simgpu", "pass"])
def test_a_function_is_not_hidden_by_the_module_of_its_name(first):
    code = f"{first}\nimport devicelab as lab\nassert callable(lab.gpus)\nimport devicelab.gpus\nassert callable(lab.gpus)"
    done = warm.run("-c", code)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(AttributeError, match=r"no 'timit'.*timeit"):
        _ = devicelab.timit


def test_importing_devicelab_loads_nothing_heavy():
    assert loaded_after("import devicelab") == set()


def test_all_its_names_load_torch_but_neither_pictures_nor_widgets_and_start_no_cuda():
    use = "import devicelab; [getattr(devicelab, name) for name in devicelab.__all__]"
    assert loaded_after(f"{use}\nimport torch; assert not torch.cuda.is_initialized()") == {"torch"}


def test_the_proof_of_lightness_can_fail():
    assert "ipywidgets" in loaded_after("import devicelab.widgets")
