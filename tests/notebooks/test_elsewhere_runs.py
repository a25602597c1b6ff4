"""The stored runs of other frameworks: one for each script of the notebooks and judges, of the versions that are pinned."""

import re

import pytest
from nbformat.v4 import new_code_cell

from devicelab.course.elsewhere.running import ON_PYTORCH, PACKAGES
from tools.notebooks import elsewhere
from tools.notebooks.nbfiles import ROOT

SCRIPTS = elsewhere.scripts()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.place)
def test_each_script_has_a_stored_run_that_came_to_its_end(script):
    kept = elsewhere.kept().get(script.key)
    assert kept, "run python -m tools.notebooks.elsewhere"
    assert kept["name"] == script.name and kept["printed"]
    failed = re.compile(r"\w+Error: ")
    assert not failed.match(str(kept["printed"][-1])) or script.changed  # type: ignore[index]


def test_no_run_is_left_without_its_script():
    assert set(elsewhere.kept()) == {script.key for script in SCRIPTS}


def test_the_runs_are_of_the_pinned_versions():
    pins = dict(
        re.findall(r"(?m)^([\w-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    )
    for run in elsewhere.kept().values():
        names = PACKAGES[str(run["name"])]
        assert str(run["version"]) in [pins[name] for name in names if name in pins]


def test_every_package_is_used():
    assert {script.name for script in SCRIPTS} == set(PACKAGES) and set(ON_PYTORCH) < set(PACKAGES)


def test_what_ran_on_a_simulated_card_says_so():
    for run in elsewhere.kept().values():
        if run["name"] in ON_PYTORCH:
            assert "simulated" in str(run["printed"][0])  # type: ignore[index]


def test_a_change_that_changes_nothing_is_refused():
    cell = new_code_cell("%%elsewhere jax\nx = 1", metadata={"variants": [["y", "z"]]}, id="here")
    with pytest.raises(ValueError, match=r"here: 'y' stands there 0 times"):
        list(elsewhere.of_cell(cell, "a lesson"))


def test_a_check_finds_a_run_that_came_otherwise(monkeypatch, capsys):
    [first, *_] = SCRIPTS
    monkeypatch.setattr(elsewhere, "scripts", lambda: [first])
    monkeypatch.setattr(elsewhere, "ran", lambda script: elsewhere.kept()[script.key])
    assert elsewhere.main(["--check"]) == 0
    monkeypatch.setattr(elsewhere, "ran", lambda script: {"printed": ["another text"]})
    assert elsewhere.main(["--check"]) == 1
    assert capsys.readouterr().out.endswith("ANOTHER TEXT\n")
