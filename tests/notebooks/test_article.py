"""The article's three examples stand in the lessons as they are, and do under a simulated GPU what the article says."""

import json
from pathlib import Path

import pytest

from devicelab import simulate_gpu

ROOT = Path(__file__).parents[2]
LESSONS = {1: "01_where_does_training_run", 2: "02_what_does_it_take", 3: "03_what_if_only_half_moved"}
MISMATCH = (
    "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
    "(when checking argument in method wrapper_CUDA_addmm)"
)


def example(number: int) -> str:
    return (ROOT / f"tests/data/article/example_{number}.txt").read_text("utf-8")


def lines(code: str) -> list[str]:
    return [line.strip() for line in code.splitlines() if line.strip()]


def code_of(lesson: str) -> list[str]:
    cells = json.loads((ROOT / f"notebooks/{lesson}.ipynb").read_text("utf-8"))["cells"]
    return lines("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_holds_its_example_line_by_line_in_order(number):
    rest = iter(code_of(LESSONS[number]))
    missing = [
        line for line in lines(example(number)) if line not in rest
    ]  # `in` consumes up to the line it finds
    assert not missing


@pytest.mark.parametrize("number", [1, 2])
def test_examples_1_and_2_run_unmodified(number, capsys):
    with simulate_gpu("Tesla T4"):
        variables: dict = {}
        exec(compile(example(number), f"example {number}", "exec"), variables)
        device = str(next(variables["model"].parameters()).device)
    assert device == ("cpu" if number == 1 else "cuda:0")
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_example_3_stops_with_cudas_own_words():
    with simulate_gpu("Tesla T4"), pytest.raises(RuntimeError) as caught:
        exec(compile(example(3), "example 3", "exec"), {})
    assert str(caught.value) == MISMATCH


def test_after_the_simulation_example_2_falls_back_as_before(capsys):
    with simulate_gpu("Tesla T4"):
        pass
    variables: dict = {}
    exec(compile(example(2), "example 2", "exec"), variables)
    import torch

    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(variables["model"].parameters()).device.type == expected
