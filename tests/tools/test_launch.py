"""Elsewhere than at home: Binder's image, Colab's versions and first cell, the dev container."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import devicelab
from benchmarks import bench_launch
from tools import cli
from tools.notebooks import colab_kernel, links
from tools.notebooks.nbfiles import EXERCISES, LESSONS, find, is_code, read
from tools.setup import lab, requirements, venv
from tools.setup.requirements import name
from tools.setup.say import ROOT

CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
PIP = next(line["pip"] for line in CONDA if isinstance(line, dict))
NEEDED = {name(line) for line in requirements.requirements(["lab"])}  # by a lesson
TESTS_ONLY = {name(line) for line in requirements.optional("test")} - NEEDED
IMPORTED = {"pytest-xdist": "xdist", "types-pyyaml": "yaml-stubs", "import-linter": "importlinter"}


# --- Binder and conda -----------------------------------------------------------------------------------------------


def test_the_image_holds_what_a_lesson_needs_and_nothing_that_only_tests_need():
    assert [line for line in CONDA if isinstance(line, str)] == ["python=3.12", "pip"]
    assert [line for line in PIP if not line.startswith("--")] == []
    assert PIP[-1] == "--editable .[lab]"
    assert {"nbval", "papermill", "ruff"} <= TESTS_ONLY


def test_its_versions_are_those_that_were_tested_together():
    assert "--constraint constraints.txt" in PIP and requirements.CONSTRAINTS == ROOT / "constraints.txt"
    pinned = re.findall(r"(?m)^([\w.-]+)==", requirements.CONSTRAINTS.read_text(encoding="utf-8"))
    assert {requirements.normalized(pin) for pin in pinned} >= NEEDED


def test_its_torch_is_the_one_without_cuda():
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in PIP


def uses(source: str, package: str) -> bool:
    """Whether a cell imports a package, or starts it as a command."""
    module = IMPORTED.get(package, package).replace("-", "_")
    return bool(re.search(rf"(?m)^\s*(import|from) {module}\b|(-m |[!%]){module}\b", source))


def test_no_cell_uses_what_is_not_in_the_image():
    cells = [cell.source for path in find(LESSONS, EXERCISES) for cell in read(path).cells if is_code(cell)]
    assert [package for package in sorted(TESTS_ONLY) if any(uses(cell, package) for cell in cells)] == []
    assert any(uses(cell, "torch") for cell in cells), "the rule finds nothing"
    assert uses("!papermill a.ipynb", "papermill") and uses("import xdist", "pytest-xdist")


@pytest.fixture
def image(tmp_path):
    """A copy of what postBuild reads, and a folder in the place of the image's environment."""
    for part in ("tools", "notebooks", "exercises", "docs"):
        shutil.copytree(ROOT / part, tmp_path / "home" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "postBuild", tmp_path / "home")
    return tmp_path


def build(image: Path) -> int:
    """Run postBuild as the image's last step does, and return its exit code."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MY_COURSE")}
    own |= {"NB_PYTHON_PREFIX": str(image / "environment"), "PATH": path}
    done = subprocess.run(["bash", "postBuild"], cwd=image / "home", env=own, capture_output=True, timeout=60)
    return done.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="Binder's image is Linux")
def test_the_last_step_of_the_image_makes_the_copies_and_brings_the_settings(image):
    assert build(image) == 0
    assert (image / "environment/etc/jupyter/labconfig/page_config.json").exists()
    assert len(list((image / "home/my_course/lessons").glob("L*.ipynb"))) == len(find(LESSONS))


@pytest.mark.skipif(sys.platform == "win32", reason="Binder's image is Linux")
def test_the_image_is_not_built_when_one_line_of_its_last_step_fails(image):
    assert "\nset -e\n" in (image / "home/postBuild").read_text(encoding="utf-8")
    shutil.rmtree(image / "home/tools/setup/jupyter")
    assert build(image) != 0 and not (image / "home/my_course").exists()


def test_the_badge_names_the_release():
    place = links.read_place()
    assert place.ref == f"v{devicelab.__version__}", (
        "course.py links REF=... writes it; a branch's image is built after every commit"
    )
    assert f"/{place.ref}?urlpath=" in place.binder("notebooks/00.ipynb")


def test_the_benchmark_finds_the_first_cell_and_counts_the_memory_of_a_process():
    assert any(bench_launch.FIRST in cell.source for cell in read(find(LESSONS)[0]).cells if is_code(cell))
    if sys.platform == "linux":
        import psutil

        assert 1e6 < bench_launch.pss(psutil.Process()) < psutil.virtual_memory().total


def test_what_was_measured_and_kept_is_within_what_is_promised():
    kept = bench_launch.PAGE.read_text("utf-8").partition("<!-- launch:begin -->")[2]
    kept = kept.partition("<!-- launch:end -->")[0]
    seconds = [float(number) for number in re.findall(r"\| ([\d.]+) s \|", kept)]
    [megabytes] = re.findall(r"\| (\d+) MB \|", kept)
    assert len(seconds) == 3 and seconds == sorted(seconds) and seconds[1] < bench_launch.SECONDS
    assert float(megabytes) < bench_launch.BYTES / 1e6
    made = bench_launch.table(bench_launch.Launch(1.0, 2.0, 3.0, 600_000_000)).splitlines()
    assert [line.partition("|")[2].partition("|")[0] for line in made[2:]] == [
        line.partition("|")[2].partition("|")[0]
        for line in kept.splitlines()
        if line.endswith((" s |", "MB |"))
    ]


# --- Colab ----------------------------------------------------------------------------------------------------------


def test_colabs_versions_stand_in_one_dated_file():
    present, *past = colab_kernel.runtimes()
    assert (present.python, present.torch, past[0].python) == ("3.13", "2.11.0", "3.12")
    for runtime in (present, *past):
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", runtime.date)
        pins = [Requirement(pin) for pin in runtime.packages]
        assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") for pin in pins)
        assert {"ipython==7.34.0", "ipywidgets==7.7.1", "anywidget==0.9.21"} <= set(runtime.packages)
    read_again = tomllib.loads(colab_kernel.VERSIONS.read_text(encoding="utf-8"))["runtime"]
    assert all(
        re.search(r"backend-info/blob/[0-9a-f]{40}/pip-freeze.txt$", one["source"]) for one in read_again
    )


def test_what_the_wheel_needs_is_on_colab_in_a_version_that_will_do():
    project = requirements.requirements(())
    for runtime in colab_kernel.runtimes():
        there = dict(pin.split("==") for pin in (*runtime.packages, f"torch=={runtime.torch}"))
        there = {requirements.normalized(package): version for package, version in there.items()}
        for need in map(Requirement, project):
            assert need.specifier.contains(there[requirements.normalized(need.name)]), need


def test_without_an_environment_like_colabs_this_pythons_is_taken_and_the_difference_is_said(monkeypatch):
    monkeypatch.setattr(colab_kernel.torches, "FOLDER", Path("nowhere"))
    [base] = colab_kernel.bases()
    assert base.interpreter == Path(sys.executable) and base.runtime.name == "present"
    if (base.python[:5], base.torch[:6]) != ("3.13.", "2.11.0"):
        assert "; Colab has Python 3.13, torch 2.11.0 (" in base.line and "torches 2.11.0@3.13" in base.line


def test_the_environments_that_come_nearest_are_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(colab_kernel.torches, "FOLDER", tmp_path)
    monkeypatch.setattr(colab_kernel.torches, "versions", lambda python: ("2.11.0", "3.12.1"))
    for target in ("2.11.0-py3.12", "2.8.0-py3.12"):
        venv.python_in(tmp_path / target).parent.mkdir(parents=True)
        venv.python_in(tmp_path / target).touch()
    [base] = colab_kernel.bases()
    assert (base.runtime.name, base.interpreter) == ("2026.07", venv.python_in(tmp_path / "2.11.0-py3.12"))
    assert "Colab has" not in base.line


# --- the dev container ----------------------------------------------------------------------------------------------


def test_the_dev_container_names_what_is_there():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    python, script, *arguments = container["onCreateCommand"].split()
    assert python == "python3" and (ROOT / script).exists()
    assert cli.parser().parse_args(arguments).torch == "cpu"
    image, _, tag = container["image"].partition(":")
    assert image == "mcr.microsoft.com/devcontainers/python" and tag in ("3.11", "3.12", "3.13")
    assert container["forwardPorts"] == [lab.PORTS[0]] == [int(port) for port in container["portsAttributes"]]
    interpreter = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    folder = interpreter.removeprefix("${containerWorkspaceFolder}/").removesuffix("/bin/python")
    assert ROOT / folder == venv.VENV
