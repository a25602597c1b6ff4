"""Blocks that nobody had in mind when the film was made: drawn or said, in little time, and never a traceback of ours."""

import json
import linecache
import time

import pytest
import torch

import devicelab as lab
from devicelab import simulate_gpu
from devicelab.film.rows import MOST_ROWS
from devicelab.film.scenes import MOST_LINES


def filmed(source, **names):
    """Return the film of a source, as a cell of its own."""
    name = f"<cell {abs(hash(source))}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = {"lab": lab, "torch": torch, **names}
    exec(compile(source, name, "exec"), space)
    return space["film"]


def said(film):
    """Return each step's sentence with the line that it stands at."""
    code = dict(film.data()["code"])
    return [(code.get(step.get("line"), "").strip(), step["say"]) for step in film.data()["steps"]]


@pytest.mark.parametrize("count", [2000, 10_000])
def test_a_block_of_very_many_lines_takes_seconds_and_shows_what_it_followed(count):
    lines = "".join(f"    x{number} = torch.ones(2)\n" for number in range(count))
    begin = time.process_time()
    film = filmed("with lab.film() as film:\n" + lines)
    assert time.process_time() - begin < 20  # once each row was tried against every other: minutes for 2,000
    assert len(json.dumps(film.data())) < 60_000 and film.data()["boxes"][0]["rows"] == MOST_ROWS + 1
    assert len(film.data()["code"]) <= MOST_LINES
    assert any("the lines after that ran unseen" in note for note in film.data()["notes"])


def test_more_names_than_a_film_looks_at_are_said():
    film = filmed("with lab.film() as film:\n    kept = " + ", ".join(f"x{n}" for n in range(1200)),
                  **{f"x{n}": torch.ones(1) for n in range(1200)})  # fmt: skip
    assert "More is held here than a film looks at; the rest is not drawn." in film.data()["notes"]


def test_what_a_loop_does_between_two_values_of_a_generator_is_the_loops():
    source = """def numbers():
    for number in range(2):
        yield torch.ones(number + 1)

with lab.film() as film:
    twice = [one * 2 for one in numbers()]
"""
    film = filmed(source)
    inner = [step for step in film.data()["steps"] if "inner" in step]
    assert inner and not any("mul" in step["say"] for step in inner)
    assert said(film)[-1][1] == "twice holds 2 tensors on cpu. 2 operators ran on cpu."


def test_a_generator_that_nobody_asks_any_more_ends_without_an_error():
    source = """def values():
    with lab.film() as film:
        x = torch.ones(2)
        yield film
        y = torch.ones(3)

asked = values()
film = next(asked)
asked.close()
"""
    assert said(filmed(source))[1:] == [
        ("x = torch.ones(2)", "x is a new tensor on cpu: 2, 8 bytes. ones ran on cpu."),
        ("yield film", "No tensor is made, moved or given back."),
    ]


def test_a_sparse_tensor_is_copied_with_its_places():
    with simulate_gpu("Tesla T4"):
        film = filmed("x = torch.eye(3).to_sparse()\nwith lab.film() as film:\n    y = x.cuda()\n")
    assert said(film)[1][1].startswith(
        "60 bytes are copied from cpu to cuda:0."
    )  # 3 values, 3 pairs of int64


def test_names_and_keys_that_are_html_stay_text():
    film = filmed('with lab.film() as film:\n    d = {"<img src=x onerror=y>": torch.ones(2)}\n')
    assert "<img src=x" not in film._repr_html_()
