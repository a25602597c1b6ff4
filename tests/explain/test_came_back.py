"""A model that was moved and brought back by a line of the script's own."""

import pytest
from explain_scripts import cases, failing, mended, run

SCRIPTS = cases("came_back_scripts.yaml")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_line_that_brought_it_back_is_named(name: str, tmp_path):
    _, found = failing(SCRIPTS[name], tmp_path)
    assert (found.culprit, found.fix) == (SCRIPTS[name].culprit, SCRIPTS[name].fix), found
    assert found.why.startswith(SCRIPTS[name].at), found


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_fix_typed_in_mends_the_script(name: str, tmp_path):
    assert mended(SCRIPTS[name], tmp_path) is None


@pytest.mark.parametrize(
    "below",
    [
        "net.cpu()",
        "def save():\n    net.cpu()",
        "other = nn.Linear(3, 2)\nother.cpu()",
        "import copy\ncopy.deepcopy(net).cpu()",
        "net(torch.rand(4, 3)).cpu()",
    ],
)
def test_what_did_not_move_it_is_not_named(below, tmp_path):
    above, below = ("", below) if below == "net.cpu()" else (below, "")
    code = f"net = nn.Linear(3, 2)\n{above}\nnet(torch.rand(4, 3, device=device))\n{below}\n"
    _, found = run(code, tmp_path)
    assert found.culprit == "net" and "moves it to the CPU" not in found.why
