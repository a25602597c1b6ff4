"""Training code as people write it, run on the simulated card: the culprit, and a fix that mends."""

import sys

import pytest
from explain_scripts import cases, failing, mended

SCRIPTS = cases("explain_scripts.yaml")
if sys.version_info >= (3, 12):
    del SCRIPTS[
        "a comprehension"
    ]  # from 3.12 on Python forgets a comprehension's variables before the error can be asked


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_culprit_and_the_fix(name: str, tmp_path):
    case = SCRIPTS[name]
    _, found = failing(case, tmp_path)
    assert (found.culprit, found.fix, found.code) == (case.culprit, case.fix, case.at), found
    assert len(str(found).splitlines()) <= 7


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_fix_typed_in_mends_the_script(name: str, tmp_path):
    assert mended(SCRIPTS[name], tmp_path) is None
