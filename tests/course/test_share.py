"""Sharing: shown before it is written, nothing of whose it is, and a room's files read with care."""

import copy
import json
import os

import pytest

from devicelab import datafiles
from devicelab.course import kept
from devicelab.course.guess.bet import Settled
from devicelab.course.guess.settling import _keep
from devicelab.course.share import classroom, command, own
from devicelab.errors import InputError
from devicelab.simgpu import simulate_gpu


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(own, "WIDTHS", (8, 16))
    monkeypatch.setattr(own, "ROWS", 32)
    monkeypatch.setattr(own, "BUDGET", 0.5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, simulate_gpu("T4"):
        patch.setenv("DEVICELAB_HOME", str(tmp_path_factory.mktemp("home")))
        for name, value in {"WIDTHS": (8, 16), "ROWS": 32, "BUDGET": 0.5}.items():
            patch.setattr(own, name, value)
        _keep(Settled("Which one used the GPU?", "the first", "the second", float("inf")))
        _keep(Settled("How many bytes?", "400 bytes", "404 bytes", 1.01, "within a factor of 2"))
        kept.change(lambda now: now.passed.add("01.q1"))
        return own.own("Ann  Lee")


def test_what_is_shared_keeps_to_its_schema_and_says_how_each_time_is_known(share):
    assert datafiles.fault(share, own.schema()) == ""
    assert share["name"] == "Ann Lee" and share["machine"]["origin"] == "simulated"
    assert [one["name"] for one in share["examples"]] == ["cpu", "gpu", "mismatched"]
    assert share["examples"][0]["time"]["origin"] == "measured"
    assert share["examples"][1]["time"]["origin"] == "simulated"
    assert "Expected all tensors to be on the same device" in share["examples"][2]["error"]
    assert [(at["rows"], at["width"]) for at in share["points"]] == [(32, 8), (32, 16)]
    assert share["bets"][1] == {
        "question": "How many bytes?",
        "bet": "400 bytes",
        "outcome": "404 bytes",
        "how": "within a factor of 2",
    }
    assert {"exercise": "Exercise 01", "passed": 1, "questions": 4} in share["progress"]


def test_nothing_says_whose_machine_it_is(share):
    text = json.dumps({**share, "name": None})
    assert os.path.expanduser("~") not in text and os.uname().nodename not in text.replace(
        share["machine"]["processor"], ""
    )


@pytest.mark.parametrize("name", ["", " \n", "x" * 61])
def test_a_name_that_cannot_be_shown_is_refused(name):
    with pytest.raises(InputError, match="between 1 and 60 letters"):
        own._checked(name)


@pytest.fixture
def ready(share, monkeypatch):
    monkeypatch.setattr(command, "own", lambda name: share)
    monkeypatch.setattr(command.session, "prepare", lambda card, use_mps: "a sentence")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("Yes", 0), ("", 1), ("n", 1), (None, 1)])
def test_it_is_shown_and_written_after_a_yes_only(ready, share, home, monkeypatch, capsys, answer, code):
    def asked(question):
        assert "Ann Lee" in capsys.readouterr().out and not (home / "share.json").exists()
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr(command.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    assert command.main(None, None, None, yes=False) == code
    assert (home / "share.json").exists() == (code == 0)
    if code == 0:
        assert json.loads((home / "share.json").read_text("utf-8")) == share


def test_where_nobody_can_be_asked_it_says_how_to_agree(ready, home, monkeypatch, capsys):
    monkeypatch.setattr(command.sys, "stdin", None)
    assert command.main(None, None, None, yes=False) == 1
    assert "add --yes" in capsys.readouterr().out and not (home / "share.json").exists()
    assert command.main(str(home), None, None, yes=True) == 0 and (home / "share.json").exists()


def test_nothing_is_overwritten_and_that_is_said_before_anything_is_timed(home):
    (home / "share.json").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        command.main(None, None, None, yes=True)
    with pytest.raises(InputError, match="no folder"):
        command.main("nowhere/share.json", None, None, yes=True)
    assert (home / "share.json").read_text() == "mine"


def test_progress_that_cannot_be_read_is_said(home):
    kept.path().parent.mkdir(parents=True)
    kept.path().write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        own._kept()


def test_a_bet_is_kept_once_and_the_last_one_counts():
    for bet in ("first", "second"):
        _keep(Settled("?", bet, "second", 1.0))
    assert kept.read().bets == {"?": {"bet": "second", "outcome": "second", "how": ""}}


def files(folder, *shares):
    folder.mkdir()
    for number, one in enumerate(shares):
        (folder / f"{number}.json").write_text(one if isinstance(one, str) else json.dumps(one), "utf-8")
    return folder


def changed(share, **parts):
    return copy.deepcopy(share) | parts


def test_a_room_is_put_together(share, home):
    other = changed(share, name=None)
    other["machine"] |= {"gpu": None, "origin": None}
    other["bets"][0]["bet"] = "the second"
    ours = classroom(files(home / "room", share, other))
    assert str(ours) == "2 machines: 1 with a simulated GPU, 1 without a GPU."
    assert ours.names == ["Ann Lee", "learner 2"]
    machines = ours.machines()
    assert machines.rows[0][4] == "Tesla T4 (simulated)" and machines.rows[1][4] == "none"
    assert machines.rows[0][5].endswith("(measured)") and machines.rows[0][6].endswith("(simulated)")
    bets = ours.bets()
    assert bets.rows[0] == [
        "Which one used the GPU?",
        "the first (1), the second (1)",
        "the second (2)",
        "1 of 2",
    ]
    assert bets.rows[1][3] == "2 of 2"  # within a factor of 2 counts
    assert ["Exercise 01", "1 of 4", "0 of 2"] in ours.progress().rows
    drawn = ours.plot()
    assert drawn.png[:4] == b"\x89PNG" and "takes over" in drawn.alt


def test_measured_and_simulated_crossovers_are_told_apart(share, home):
    turn = {"rows": 32, "leader": "GPU", "low": 90, "width": 100, "high": 110, "words": "the GPU takes over"}
    simulated = changed(share, crossovers=[turn])
    measured = changed(share, crossovers=[turn | {"width": 300}])
    measured["machine"] |= {"origin": "measured"}
    ours = classroom(files(home / "room", simulated, measured, changed(share, crossovers=[])))
    assert [row[-1] for row in ours.machines().rows] == ["100 (simulated)", "300 (measured)", "-"]
    assert ours.plot().alt.endswith(
        "A measured GPU takes over on 1 of 1 machines, at a width of about 300. "
        "A simulated GPU takes over on 1 of 2 machines, at a width of about 100."
    )


HOSTILE = {
    "no JSON": ("{", "Expecting"),
    "a list": ("[]", "is not of type 'object'"),
    "very deep": ("[" * 100_000, "nested too deeply"),
    "not a number": ('{"version": NaN}', "NaN is no number"),
    "another version": (lambda share: changed(share, version=2), "1 was expected"),
    "a number that is a text": (lambda share: changed(share, date=5), "5 is not of type 'string'"),
    "a date that is none": (lambda share: changed(share, date="2026-99-99"), "is not a 'date'"),
    "more than we know": (lambda share: changed(share, extra=1), "Additional properties"),
    "a long name": (lambda share: changed(share, name="x" * 500), "at ['name']"),
    "huge": ('"' + "x" * 300_000 + '"', "bytes, and such a file has"),
    "an infinite time": (
        lambda share: json.dumps(share).replace(str(share["points"][0]["cpu"]["seconds"]), "1e999"),
        "greater than the maximum",
    ),
    "a giant number": (
        lambda share: json.dumps(share).replace('"cores": ', '"cores": 1' + "0" * 5000),
        "digits",
    ),
}


@pytest.mark.parametrize(("made", "why"), HOSTILE.values(), ids=HOSTILE)
def test_a_broken_or_hostile_file_is_skipped_with_its_reason(share, home, made, why):
    made = made if isinstance(made, str) else made(share)
    ours = classroom(files(home / "room", made, share))
    assert len(ours.shares) == 1
    [(name, said)] = ours.skipped
    assert name == "0.json" and why in said and len(said) <= 160


def test_what_is_no_plain_file_is_skipped(share, home):
    folder = files(home / "room", share, share, share)
    os.mkfifo(folder / "00.json")
    (folder / "a.json").mkdir()
    ours = classroom(folder)
    assert len(ours.shares) == 3
    assert [why for _, why in ours.skipped] == ["it is no plain file", "it is no plain file"]


def test_html_in_a_name_is_shown_as_text(share, home):
    ours = classroom(files(home / "room", changed(share, name="<script>alert(1)</script>")))
    page = ours._repr_html_() + ours.machines()._repr_html_() + ours.bets()._repr_html_()
    assert "<script" not in page and "&lt;script" in page


def test_a_folder_that_is_not_there_is_said(home):
    with pytest.raises(InputError, match="no folder"):
        classroom(home / "nowhere")
    assert str(classroom(home)) == "0 machines: nothing to show."


def test_the_page_of_a_room_runs(share, home):
    papermill = pytest.importorskip("papermill")
    from tools.setup.say import ROOT

    folder = files(home / "room", share, changed(share, name=None), "{")
    done = papermill.execute_notebook(
        ROOT / "workshop/class_report.ipynb",
        home / "out.ipynb",
        parameters={"folder": str(folder)},
        progress_bar=False,
    )
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "\n".join(
        output["data"]["text/plain"] for output in outputs if output.output_type == "execute_result"
    )
    assert "2 machines: 2 with a simulated GPU." in text and "Skipped 2.json" in text
    assert not [output for output in outputs if output.output_type == "error"]
