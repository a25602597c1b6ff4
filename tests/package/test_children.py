"""What children are told: by every way to start a Python, at their first `import torch`, and nothing that stays behind.

The torch of most of these children is a module of one line: only when it is imported matters.
"""

import os
import subprocess
import sys

import pytest

from devicelab import children

SAYS = "import sys; print(*('devicelab' in sys.modules, *[__import__('torch').word]))"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a torch of its own, first on the children's path."""
    (tmp_path / "torch.py").write_text("print('torch'); word = 'imported'")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv(children.VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def told(folder):
    forget = children.tell("builtins:print", "begun", 1)
    yield
    forget()


def said(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


def python(code, *flags, **options):
    return said(sys.executable, *flags, "-c", code, **options)


def test_a_child_begins_behind_its_first_import_of_torch(told):
    assert python(SAYS) == ["torch", "begun", "1", "False", "imported"]
    assert python("import torch, torch; from torch import word") == ["torch", "begun", "1"]


@pytest.mark.skipif(os.name != "posix", reason="a shell of this kind")
def test_a_child_that_imports_devicelab_first_begins_before_its_modules_do(told):
    code = "import devicelab, sys; print('devicelab.devices' in sys.modules); import torch"
    assert python(code) == ["torch", "begun", "1", "False"]


def test_a_child_that_imports_devicelab_first_may_be_told_to_use_it(monkeypatch):
    forget = children.tell("devicelab.source:whose", "train.py")
    try:
        assert python("from devicelab.source import USER; print(USER)") == ["user"]
    finally:
        forget()


def test_a_child_of_a_shell_begins_as_well(told):
    assert said("sh", "-c", f'"{sys.executable}" -c "import torch"') == ["torch", "begun", "1"]


def test_a_grandchild_begins_as_well(told):
    middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SAYS!r}])"
    assert python(middle) == ["torch", "begun", "1", "False", "imported"]


def test_who_asks_for_torch_without_importing_it_does_not_begin(told):
    asking = "from importlib.util import find_spec; print(find_spec('torch').name); print(find_spec('tor'))"
    assert python(asking) == ["torch", "None"]
    assert python(f"{asking}\nimport torch") == ["torch", "None", "torch", "begun", "1"]


def test_a_torch_that_fails_to_load_is_waited_for_again(told, folder):
    (folder / "torch.py").write_text(
        "import os\nif os.environ.pop('BROKEN', ''): raise ImportError('broken')"
    )
    twice = "try: import torch\nexcept ImportError as error: print(error)\nimport torch"
    assert python(twice, env={**os.environ, "BROKEN": "1"}) == ["broken", "begun", "1"]


def test_a_child_without_torch_loads_nothing_and_sees_its_own_path(told):
    loaded = "import sys; print('devicelab' in sys.modules, any('children' in path for path in sys.path))"
    assert python(loaded) == ["False", "False"]


def test_torchs_loader_is_python_own_again(told):
    assert python("import torch; print('exec_module' in vars(torch.__loader__))")[-1] == "False"


def test_the_sitecustomize_that_was_there_runs(told, folder):
    (folder / "sitecustomize.py").write_text("print('theirs')")
    named = "import sitecustomize, torch; print(sitecustomize.__file__)"
    assert python(named) == ["theirs", "torch", "begun", "1", str(folder / "sitecustomize.py")]


def test_a_sitecustomize_that_fails_is_told_as_python_tells_it(told, folder):
    (folder / "sitecustomize.py").write_text("import absent_module")
    done = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, text=True)
    assert "No module named 'absent_module'" in done.stderr
    assert done.stdout.split() == ["torch", "begun", "1"]


def test_a_python_without_devicelab_says_so_and_goes_on(told, folder):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['devicelab'] = None; import torch; print(torch.word)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["torch", "imported"]
    assert done.stderr.startswith("devicelab: it is not installed for this Python")


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_a_python_that_heeds_no_variables_or_no_site_is_not_told(told, flag):
    assert python("print('ran')", flag) == ["ran"]


def test_an_environment_of_ones_own_is_extended(told, folder):
    own = {"PYTHONPATH": str(folder), "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
    assert python("import torch", env=own) == ["torch"]
    assert children.extended(own)["PYTHONPATH"] == os.pathsep.join([children.FOLDER, str(folder)])
    assert children.extended(children.extended(own)) == children.extended(own)


def test_what_was_told_is_taken_back_in_any_order(folder):
    before = dict(os.environ)
    one, other = children.tell("a:one", "first"), children.tell("b:other", 2, None)
    assert children.told() == {"a:one": ["first"], "b:other": [2, None]}
    one()
    assert children.told() == {"b:other": [2, None]}
    other(), other()
    assert dict(os.environ) == before
    assert children.extended({"A": "1"}) == {"A": "1"}


@pytest.mark.parametrize("path", [None, "", "somewhere"])
def test_the_path_is_left_as_it_was(monkeypatch, path):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    children.tell("a:one")()
    assert os.environ.get("PYTHONPATH") == (path or None)
