"""The command that prints every ratio: what it finds, what it calls over, and that a failing benchmark is not hidden."""

import pytest

from benchmarks import __main__ as bench

OK = "def ratios():\n    yield 'small, s', 1.0, 2.0\n    yield 'large', 3.0, 2\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of made-up benchmarks in the place of the real one."""
    place = tmp_path / "benchmarks"
    place.mkdir()
    monkeypatch.setattr(bench, "HERE", place)
    (place / "__main__.py").write_text(  # what the fresh process runs: the real one, looking here
        f"import importlib.util as util, pathlib, sys\nspec = util.spec_from_file_location('real', {bench.__file__!r})\n"
        "real = util.module_from_spec(spec)\nspec.loader.exec_module(real)\n"
        "real.HERE = pathlib.Path(__file__).parent\nsys.exit(real.main())\n"
    )

    def add(name: str, code: str) -> None:
        (place / f"bench_{name}.py").write_text(code)

    return add


def test_every_row_is_printed_with_its_bound_and_over_or_pass(folder, capsys):
    folder("one", OK)
    assert bench.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["small,", "s", "1.000", "2", "pass"]
    assert lines[2].split() == ["large", "3.000", "2", "OVER"]


def test_check_fails_when_a_row_is_over_its_bound(folder):
    folder("one", OK)
    assert bench.main(["--check"]) == 1
    folder("one", OK.replace("3.0", "2.0"))
    assert bench.main(["--check"]) == 0


def test_a_benchmark_that_fails_or_takes_too_long_is_said_and_counts(folder, capsys, monkeypatch):
    folder("bad", "def ratios():\n    raise ValueError('why')\n    yield\n")
    assert bench.main(["--check"]) == 1
    assert "bench_bad.py FAILED: ValueError: why" in capsys.readouterr().out
    folder("bad", "import time\ntime.sleep(60)\n")
    monkeypatch.setattr(bench, "LONGEST", 0.5)
    assert bench.main(["--check"]) == 1
    assert "not done after 0.5 s" in capsys.readouterr().out


def test_a_file_without_ratios_has_no_row_and_an_unknown_name_is_refused(folder, capsys):
    folder("other", "print('a table of its own')\n")
    folder("one", OK)
    assert bench.main(["other"]) == 0 and len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(SystemExit):
        bench.main(["nothing"])
    assert "there is no benchmark nothing; choose from one, other" in capsys.readouterr().err


def test_the_real_ones_are_found():
    assert {"import", "simgpu", "timing", "trace"} <= set(bench.names())
