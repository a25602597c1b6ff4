"""The genuine messages of PyTorch's CUDA build, met in learners' code on the simulated card: who stayed behind?"""

import pytest
from explain_scripts import Case, cases, failing, mended, shared_messages

SHARED = cases("explain_shared.yaml")


def test_every_shared_message_has_a_case():
    assert set(SHARED) == set(shared_messages())


@pytest.mark.parametrize("name", SHARED)
def test_the_culprit_the_line_and_the_fix(name: str, tmp_path):
    case: Case = SHARED[name]
    error, found = failing(case, tmp_path)
    if not case.similar:
        assert str(error) == shared_messages()[name]["message"]
    assert found.culprit == case.culprit, found
    assert found.fix == case.fix, found
    assert found.code == case.at, found
    assert found.known and found.line and found.file == "train.py"


@pytest.mark.parametrize("name", SHARED)
def test_the_fix_typed_in_mends_the_code(name: str, tmp_path):
    assert mended(SHARED[name], tmp_path) is None


BLAMES_THE_WRONG_ONE = (
    "linear x cuda w cpu",
    "linear x cuda w cuda b cpu",
    "matmul mv",
    "embedding w cpu",
    "bn x cpu w cuda train",
)
BLAMES_NOBODY = ("conv2d w cpu", "lstm module x cpu", "mse", "sdpa", "grad assign")
BLAMES_THE_RIGHT_ONE = ("linear w cuda x cpu", "mm", "nll target cpu", "gather")


@pytest.mark.parametrize("name", BLAMES_THE_WRONG_ONE)
def test_it_says_so_where_the_message_blames_the_wrong_argument(name: str, tmp_path):
    _, found = failing(SHARED[name], tmp_path)
    assert "is where it should be" in found.blames and found.blames in str(found)


@pytest.mark.parametrize("name", BLAMES_NOBODY + BLAMES_THE_RIGHT_ONE)
def test_and_nothing_of_the_kind_where_it_does_not(name: str, tmp_path):
    _, found = failing(SHARED[name], tmp_path)
    assert found.blames == ""
