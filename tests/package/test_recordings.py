"""Recordings: what is read, what is refused, and that nothing is overwritten or half written."""

import copy
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import import_module

import jsonschema
import pytest

import devicelab as lab
from devicelab.errors import InputError
from tools.setup.say import ROOT

recordings = import_module("devicelab.recordings")  # `devicelab.recordings` is the function

MADE_UP = {
    "version": 1,
    "origin": "measured",
    "date": "2026-01-02",
    "quick": False,
    "card": {
        "name": "Made-up Card (test)",
        "capability": [7, 5],
        "memory": 2**34,
        "multiprocessors": 40,
        "power_limit": 70.0,
        "driver": "1.2.3",
    },
    "host": {"cpu": "A processor", "cores": 8, "system": "Linux"},
    "software": {"devicelab": "0", "python": "3.11", "torch": "2.13.0", "cuda": "12.8"},
    "times": [
        {"kind": "linear", "sizes": {"B": 1, "M": 32}, "device": "cuda:0", "calls": 10, "samples": [2.0, 4.0, 3.0], "threads": 1},
        {"kind": "example cpu", "sizes": {"rows": 100}, "device": "cpu", "calls": 1, "samples": [1.0], "threads": 2, "load": 0.1},
        {"kind": "launch", "sizes": {}, "device": "cuda:0", "calls": 1, "samples": [0.5], "threads": 1, "load": None},
    ],
    "context": {"seconds": [0.3], "memory": 2**28},
}  # fmt: skip


def changed(path, value):
    data = copy.deepcopy(MADE_UP)
    *parents, last = path
    place = data
    for part in parents:
        place = place[part]
    place[last] = value
    return data


def write(folder, data=MADE_UP, name="card.json"):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


# --- reading ------------------------------------------------------------------------------------------------------------


def test_a_recording_gives_its_times_by_name_and_calls_them_recorded(tmp_path):
    write(tmp_path)
    (found,) = lab.recordings(tmp_path)
    assert (found.card, found.date, found.torch, found.driver) == (
        "Made-up Card (test)",
        "2026-01-02",
        "2.13.0",
        "1.2.3",
    )
    timing = found["linear B=1 M=32"]
    assert (timing.median, timing.origin, timing.device) == (3.0, "recorded", "cuda:0")
    assert timing.label == "recorded, cuda:0 (Made-up Card (test))"
    assert found["example cpu rows=100"].label == "recorded, cpu"
    assert list(found.kind("linear")) == ["linear B=1 M=32"] and list(found.kind("launch")) == ["launch"]
    assert str(found) == "Made-up Card (test): 3 times [recorded, 2026-01-02, torch 2.13.0, driver 1.2.3]"


def test_a_time_that_is_not_there_lists_what_is(tmp_path):
    found = recordings.load(write(tmp_path))
    with pytest.raises(InputError, match=r"no 'bmm'. It has linear, example cpu or launch; see .times"):
        found["bmm"]


def test_where_there_are_none_it_says_how_to_make_one(tmp_path):
    none = lab.recordings(tmp_path)
    assert len(none) == 0 and str(none).startswith("There are no recordings yet.")
    assert "python -m devicelab record" in none._repr_html_()
    with pytest.raises(InputError, match=r"No recordings fit 'T4'. There are none yet"):
        none.find("T4")


def test_they_are_sorted_by_card_and_found_by_a_part_of_the_name(tmp_path):
    for name in ("NVIDIA L4", "Tesla T4", "NVIDIA L40"):
        write(tmp_path, changed(("card", "name"), name), recordings.file_name(name))
    found = lab.recordings(tmp_path)
    assert [recording.card for recording in found] == ["NVIDIA L4", "NVIDIA L40", "Tesla T4"]
    assert found.find("t4").card == "Tesla T4" and len(str(found).splitlines()) == 3
    with pytest.raises(InputError, match="2 recordings fit 'L4'"):
        found.find("L4")
    with pytest.raises(
        InputError, match=r"No recordings fit 'H100'. There are NVIDIA L4, NVIDIA L40 or Tesla T4"
    ):
        found.find("H100")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        lab.recordings(tmp_path / "nowhere")


def test_the_present_folders_own_are_found_and_each_file_once(tmp_path, monkeypatch):
    write(tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)
    assert "Made-up Card (test)" in [recording.card for recording in lab.recordings()]
    monkeypatch.setattr(recordings, "course_folder", lambda: tmp_path / "recordings")
    assert len(lab.recordings()) == 1


def test_every_recording_of_the_course_is_valid():
    for path in (ROOT / "recordings").glob("*.json"):
        recordings.load(path)
    assert recordings.course_folder() == ROOT / "recordings"


# --- refusing -----------------------------------------------------------------------------------------------------------

BAD = {
    "simulated": (("origin",), "simulated", r"at \['origin'\], 'measured' was expected"),
    "estimated": (("origin",), "estimated", r"at \['origin'\]"),
    "no time": (("times",), [], r"at \['times'\]"),
    "negative": (
        ("times", 0, "samples"),
        [-1.0],
        r"at \['times'\]\[0\]\['samples'\]\[0\], -1.0 is less than",
    ),
    "unknown kind": (("times", 0, "kind"), "guess", r"'guess' is not one of"),
    "operator on the CPU": (
        ("times", 0, "device"),
        "cpu",
        r"at \['times'\]\[0\]\['device'\], 'cpu' is not one of",
    ),
    "CPU's example on the card": (("times", 1, "device"), "cuda:0", r"'cpu' was expected"),
    "no name": (("card", "name"), "", r"at \['card'\]\['name'\]"),
    "unknown field": (("extra",), 1, r"'extra' was unexpected"),
    "date": (("date",), "yesterday", r"at \['date'\]"),
    "a day that no month has": (("date",), "2026-99-99", r"at \['date'\]"),
    "longer than a machine lives": (
        ("times", 0, "samples"),
        [1e300],
        r"at \['times'\]\[0\]\['samples'\]\[0\]",
    ),
    "more bytes than there are": (("card", "memory"), 10**400, r"at \['card'\]\['memory'\]"),
    "memory": (("context", "memory"), 0, r"at \['context'\]\['memory'\]"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_file_that_does_not_keep_to_the_schema_is_refused_with_the_place(fault, tmp_path):
    path, value, message = BAD[fault]
    with pytest.raises(InputError, match=message):
        recordings.load(write(tmp_path, changed(path, value)))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(version, tmp_path):
    with pytest.raises(InputError, match="no recording of version 1, the one that is known here"):
        recordings.load(write(tmp_path, changed(("version",), version)))


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", '"text"', '{"version": NaN}', "\ufeff{}", "[" * 100_000])
def test_a_file_that_is_no_recording_is_refused_by_its_name(text, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.json"):
        recordings.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        recordings.load(tmp_path / "none.json")


def test_without_jsonschema_the_command_to_install_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(InputError, match="python -m pip install jsonschema"):
        recordings.load(write(tmp_path))


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(recordings.schema())


# --- writing ------------------------------------------------------------------------------------------------------------


def test_what_is_written_can_be_read(tmp_path):
    path = recordings.save(MADE_UP, tmp_path / "new")
    assert path.name == "made-up-card-test.json" and recordings.load(path).card == "Made-up Card (test)"
    assert json.loads(path.read_text("utf-8")) == MADE_UP
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = recordings.save(MADE_UP, tmp_path)
    before = path.read_text("utf-8")
    newer = changed(("date",), "2026-03-04")
    with pytest.raises(
        InputError, match=r"exists. Add --replace to renew it, or choose another folder with --out"
    ):
        recordings.save(newer, tmp_path)
    assert path.read_text("utf-8") == before
    recordings.save(newer, tmp_path, replace=True)
    assert recordings.load(path).date == "2026-03-04"


def test_what_does_not_keep_to_the_schema_is_not_written(tmp_path):
    with pytest.raises(InputError, match="What was measured does not keep to the schema"):
        recordings.save(changed(("origin",), "simulated"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        recordings.save(MADE_UP, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("card", "name"), [("Tesla T4", "tesla-t4.json"), ("NVIDIA A100 80GB PCIe", "nvidia-a100-80gb-pcie.json")]
)
def test_a_file_is_named_after_its_card(card, name):
    assert recordings.file_name(card) == name


# --- installed without the course's folder ------------------------------------------------------------------------------


@pytest.mark.slow
def test_recordings_come_with_the_installed_package(tmp_path):
    """As `pip install --no-deps` of the repository does on Colab."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "utils", source / "utils", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    write(source / "recordings")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("*.whl"))
    assert any(name.endswith("/recordings/kept/card.json") for name in zipfile.ZipFile(wheel).namelist())
    venv = [sys.executable, "-m", "venv", "--without-pip", str(target)]
    subprocess.run(venv, check=True, timeout=300)
    python = next(path for path in (target / "bin/python", target / "Scripts/python.exe") if path.exists())
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--ignore-installed",
        str(wheel),
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    site = next(target.rglob("devicelab/__init__.py")).parents[1]
    (site / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")  # torch
    code = "import devicelab as lab; print(lab.__file__); print(lab.recordings())"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert str(target) in done.stdout and "Made-up Card (test): 3 times [recorded" in done.stdout, done.stderr
