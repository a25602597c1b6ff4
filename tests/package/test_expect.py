import pytest
import torch
from torch import nn

from devicelab import expect_error, simulate_gpu
from devicelab.expect import ExpectedErrorMissing


def test_the_error_is_shown_with_the_learners_lines_and_torchs_last_one(capsys):
    model = nn.Linear(3, 2)
    with expect_error(RuntimeError, match="shapes cannot be multiplied") as seen:
        model(torch.ones(4, 5))
    out = capsys.readouterr().out
    assert "model(torch.ones(4, 5))" in out
    assert "torch/nn/modules/linear.py, in forward" in out
    assert out.rstrip().endswith("mat1 and mat2 shapes cannot be multiplied (4x5 and 3x2)")
    assert isinstance(seen.error, RuntimeError)


def test_under_a_simulation_the_traceback_ends_in_torchs_own_line(capsys):
    with simulate_gpu("Tesla T4"):
        model = nn.Linear(3, 2).cuda()
        with expect_error(RuntimeError, match="same device"):
            model(torch.ones(4, 3))
    lines = capsys.readouterr().out.splitlines()
    assert "torch/nn/modules/linear.py, in forward" in lines[-3]
    assert lines[-2].strip() == "return F.linear(input, self.weight, self.bias)"
    assert not any("devicelab" in line for line in lines)


def test_no_error_is_a_failure():
    with pytest.raises(ExpectedErrorMissing, match="no error came"), expect_error(RuntimeError):
        pass


@pytest.mark.parametrize(("kind", "match"), [(RuntimeError, ""), (KeyError, "other words"), (Exception, "")])
def test_another_error_another_message_or_a_base_class_is_a_failure(kind, match):
    with pytest.raises(ExpectedErrorMissing, match="KeyError came"), expect_error(kind, match=match):
        raise KeyError("mine")


def test_an_interrupt_is_never_expected():
    with pytest.raises(KeyboardInterrupt), expect_error(RuntimeError):
        raise KeyboardInterrupt


def test_something_that_is_no_exception_class_is_refused():
    with pytest.raises(TypeError, match="exception class"):
        expect_error("RuntimeError")
