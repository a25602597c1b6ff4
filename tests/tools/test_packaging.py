"""The package and its settings: one version, ranges in step, floors that hold, and an import that stays light."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import devicelab
from devicelab.versions import TRIED
from tools.notebooks import readme, warm
from tools.proof import checks
from tools.setup import requirements
from tools.setup.requirements import normalized
from tools.setup.say import ROOT, Stop

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WHERE_PINNED = {"sys_platform": "linux", "platform_machine": "x86_64"}


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def parsed(lines):
    return {normalized(need.name): need for need in map(Requirement, lines)}


# --- versions and ranges ---------------------------------------------------------------------------------------------


def test_the_version_has_one_place():
    assert importlib.metadata.version("devicelab") == devicelab.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == devicelab.__version__
    written = [
        path for path in ROOT.glob("utils/**/*.py") if f'"{devicelab.__version__}"' in path.read_text("utf-8")
    ]
    assert [path.name for path in written] == ["_version.py"]


def test_what_is_supported():
    assert PROJECT["requires-python"] == ">=3.11"
    assert str(parsed(PROJECT["dependencies"])["torch"].specifier) == ">=2.8"
    assert set(PROJECT["optional-dependencies"]) == {
        "lab", "test", "browser", "interop", "site", "frameworks",
    }  # fmt: skip


def pins():
    lines = requirements.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return {
        normalized(pin.name): pin for pin in map(Requirement, (line for line in lines if line[:1] != "#"))
    }


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_every_requirement_has_a_pin_within_its_range(extra):
    asked = parsed(PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"])
    assert asked
    for name, need in asked.items():
        if name == "setuptools":
            continue  # each package that is built asks for its own
        if need.marker and not need.marker.evaluate(WHERE_PINNED):
            continue  # of another kind of machine
        versions = [spec.version for spec in pins()[name].specifier]
        assert len(versions) == 1 and need.specifier.contains(versions[0]), name


def test_the_pin_of_torch_is_the_version_whatever_its_build():
    assert str(pins()["torch"].specifier) == "==2.13.0"


# --- the package -----------------------------------------------------------------------------------------------------


def test_utils_is_a_folder_and_no_package():
    assert not (ROOT / "utils" / "__init__.py").exists()


def test_tools_are_packages_so_that_another_tools_on_the_path_does_not_win(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").touch()
    code = "import tools.setup, tools.notebooks, tools.site, tools.proof; print(tools.__file__)"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    assert run(sys.executable, "-c", code, cwd=tmp_path.parent, env=variables).stdout.startswith(str(ROOT))


def test_each_command_has_its_module():
    for module in checks.TOOLS.values():
        assert (ROOT / "tools" / Path(*module.split("."))).with_suffix(".py").exists()


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(tmp_path):
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "utils", tmp_path / "utils", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    pip = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "dist",
        ".",
    )
    done = run(*pip, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = tmp_path / "utils"
    files = {
        path.relative_to(sources).as_posix() for path in (sources / "devicelab").rglob("*") if path.is_file()
    }
    assert packed == files and "devicelab/__init__.py" in files


def test_what_the_index_shows_is_of_the_package_and_not_of_the_course():
    page = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    assert "pytest --simulate-gpu" in page and len(page.splitlines()) < 60
    assert not re.findall(r"\]\((?!https://)", page), "a link that leads nowhere on another site"
    row = next(line for line in page.splitlines() if line.startswith("| PyTorch |"))
    tried = [".".join(version.split(".")[:2]) for version in TRIED]
    assert re.findall(r"2\.\d+", row) == tried
    assert all(f"Programming Language :: Python :: 3.{n}" in PROJECT["classifiers"] for n in (11, 12, 13))
    assert all(address.startswith("https://github.com/") for address in PROJECT["urls"].values())


USER = """
import torch

import devicelab as lab

model = torch.nn.Linear(2, 2)
with lab.simulate_gpu("Tesla T4", count=2) as card:
    print(card, lab.placement(model))
with lab.trace() as seen:
    model(torch.ones(1, 2))
median: float = lab.timeit(lambda: model(torch.ones(1, 2))).median
low: float = lab.estimate(lambda: model(torch.ones(1, 2)), gpu="NVIDIA L4").low
with lab.expect_error(RuntimeError, match="devices"):
    pass
print(seen.operators, lab.explain("text").fix, lab.clock() + 1.0, lab.gpus(), lab.recordings(), lab.doctor().ok)
"""


@pytest.mark.slow
def test_a_users_file_passes_strict_types_and_what_is_wrong_in_it_is_found(tmp_path):
    (tmp_path / "theirs.py").write_text(USER + "median = lab.clock().wrong", encoding="utf-8")
    shutil.copytree(ROOT / "utils" / "devicelab", tmp_path / "installed" / "devicelab")
    assert (tmp_path / "installed" / "devicelab" / "py.typed").is_file()  # else nothing would be looked at
    done = run(
        *(sys.executable, "-m", "mypy", "--strict", "theirs.py"),
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": "installed"},
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("theirs.py")]
    assert len(found) == 1 and '"float" has no attribute "wrong"' in found[0], done.stdout
    assert "checked 1 source file" in done.stdout


# --- lint and floors, and that they can fail --------------------------------------------------------------------------

FLOORS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
FORBIDDEN = {
    "upwards": ("devicelab/units.py", "import devicelab.session", "to the same floor or downwards BROKEN"),
    "circle": ("devicelab/results.py", "import devicelab.timing", "downwards BROKEN"),
    "rooms": (
        "devicelab/course/guard/modes.py",
        "import devicelab.course.question",
        "rooms of course: imports point downwards BROKEN",
    ),
    "widgets": ("devicelab/timing/timer.py", "import ipywidgets", "Only widgets imports ipywidgets BROKEN"),
    "pictures": (
        "devicelab/timing/timer.py",
        "import matplotlib.pyplot",
        "Only picture imports matplotlib BROKEN",
    ),
    "tools": ("../tools/setup/say.py", "import tools.proof.checks", "The tools have floors as well BROKEN"),
}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_an_import_that_is_forbidden_breaks_its_contract(rule, tmp_path):
    module, line, verdict = FORBIDDEN[rule]
    for folder in ("utils", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "utils" / module
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "utils")}
    done = run(sys.executable, "-c", FLOORS, cwd=tmp_path, env=variables)
    assert done.returncode == 1 and verdict in done.stdout, done.stdout


def test_every_module_has_its_floor():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    listed = set(re.findall(r"\((\w+)\)", " ".join(contract["layers"])))
    there = {
        path.stem
        for path in (ROOT / "utils" / "devicelab").iterdir()
        if path.suffix == ".py" or _package(path)
    }
    assert there - {"__init__"} <= listed


def _package(path):
    return (path / "__init__.py").exists()


@pytest.mark.parametrize(
    "line", ["import utils.devicelab", "from utils import devicelab", 'sys.path.append("utils")']
)
@pytest.mark.parametrize("name", ["script.py", "lesson.ipynb"])
def test_the_package_has_one_name_and_no_path_is_edited(line, name, tmp_path):
    source = f"import sys\n{line}\nprint(sys)"
    text = source if name.endswith("py") else _notebook(source)
    ruff = (
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--config",
        str(ROOT / "pyproject.toml"),
        "--stdin-filename",
        name,
        "-",
    )
    assert "TID251" in run(*ruff, input=text, cwd=tmp_path).stdout


def _notebook(source):
    from nbformat.v4 import new_code_cell, new_notebook, writes

    return writes(new_notebook(cells=[new_code_cell(source)]))


def test_make_and_course_py_have_the_same_commands():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    words = run(sys.executable, "course.py", "--help", cwd=ROOT).stdout
    assert targets == set(re.findall(r"^    ([a-z-]+)\b", words, re.MULTILINE))


def test_what_the_ci_runs_is_valid():
    assert run("bash", "-n", str(ROOT / ".ci" / "run")).returncode == 0
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    for job in workflow["jobs"].values():
        assert "not tried yet" in job["name"], "or has it been?"
        assert Path(ROOT / "course.py").exists() and job["steps"]


def test_a_release_is_built_in_one_job_and_uploaded_by_others_that_run_nothing_of_ours():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert workflow["permissions"] == {} and build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"] == "pypi"
    assert not [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]]
    attach = workflow["jobs"]["attach"]
    assert attach["permissions"] == {"contents": "write"} and attach["needs"] == "build"
    assert "dist/*" in attach["steps"][-1]["run"] and "checkout" not in str(attach["steps"])
    uses = [step["uses"] for job in (build, publish, attach) for step in job["steps"] if "uses" in step]
    assert [action for action in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


def test_the_readme_holds_the_output_of_compare():
    page = readme.README.read_text(encoding="utf-8")
    block = page.partition("<!-- compare:begin -->")[2].partition("<!-- compare:end -->")[0]
    printed = warm.run("-m", "devicelab", "compare", cwd=ROOT).stdout
    of_this_machine = r"[µm]s|At this size|busy|differ widely"
    same = [narrow(line) for line in printed.splitlines() if not re.search(of_this_machine, line)]
    assert len(same) >= 6 and [line for line in same if line not in narrow(block)] == []


def narrow(text):
    """Return a table's text whatever the width of its columns."""
    return re.sub(r"([ -])\1+", r"\1", text)


def test_a_readme_without_its_marks_is_refused():
    with pytest.raises(Stop, match="once each"):
        readme.with_output("no marks", "a table")
    page = "a<!-- compare:begin -->old<!-- compare:end -->b"
    assert readme.with_output(page, r"x\1").endswith("\nx\\1\n```\n<!-- compare:end -->b")
