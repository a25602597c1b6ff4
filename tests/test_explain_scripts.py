"""Training code as people write it, run on the simulated card: the culprit, and a fix that mends."""

import pytest
from explain_scripts import cases, failing, mended

SCRIPTS = cases("explain_scripts.yaml")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_culprit_and_the_fix(name: str, tmp_path):
    case = SCRIPTS[name]
    _, found = failing(case, tmp_path)
    assert (found.culprit, found.fix, found.code) == (case.culprit, case.fix, case.at), found
    assert len(str(found).splitlines()) <= 7


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_fix_typed_in_mends_the_script(name: str, tmp_path):
    assert mended(SCRIPTS[name], tmp_path) is None
