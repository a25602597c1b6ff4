"""Training that runs out of memory, on the simulated card: who is to blame, and the line that lets it run."""

import pytest
from explain_scripts import PRELUDE, cases, failing, run, typed_in

SCRIPTS = cases("memory_scripts.yaml")


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_line_to_type_lets_the_script_run(name: str, tmp_path):
    case = SCRIPTS[name]
    _, found = failing(case, tmp_path)
    assert (found.kind, found.culprit, found.fix) == ("memory", case.culprit, case.fix), found
    code = "\n".join(typed_in((PRELUDE + case.code).splitlines(), found)).removeprefix(PRELUDE)
    assert run(code, tmp_path, case.cards, case.mib)[0] is None, code
