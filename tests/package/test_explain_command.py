"""`python -m devicelab explain`: whatever is piped in, and whatever letters the terminal has."""

import io
import json
import os
import subprocess
import sys
from importlib import resources

import jsonschema
import pytest

from devicelab import __main__
from devicelab.explain.command import decoded

TEXT = """Traceback (most recent call last):
  File "/home/kim/p/train.py", line 2, in step
    y = model(größe)
  File "/opt/py/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 125, in forward
    return F.linear(input, self.weight, self.bias)
RuntimeError: Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 \
(when checking argument in method wrapper_CUDA_addmm)
"""
SCHEMA = json.loads(resources.files("devicelab").joinpath("schemas/explain.json").read_text("utf-8"))


@pytest.fixture
def ask(monkeypatch):
    """Return a function that runs the command with bytes piped in, and returns exit code, output and errors."""

    def command(data: bytes, *words: str, encoding: str = "utf-8") -> tuple[int, str]:
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding, errors="strict"))
        code = __main__.main(["explain", *words])
        sys.stdout.flush()
        return code, out.getvalue().decode(encoding)

    return command


def test_what_is_piped_in_is_explained(ask):
    code, said = ask(TEXT.encode(), "-")
    assert code == 0
    assert said.startswith("größe, the input of the layer, is on cpu, but cuda:0 is needed here.")
    assert "line 2 of train.py: y = model(größe)" in said and "kim" not in said


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (TEXT, 0),
        ("RuntimeError: expected scalar type Half but found Float", 0),
        ("KeyError: 'step'", 1),
        ("", 2),
        (" \n", 2),
        ("\x00\x01" * 500, 2),
    ],
)
def test_the_exit_code_says_whether_devicelab_knows_it(ask, text, code):
    assert ask(text.encode())[0] == code


def test_unusable_input_is_2(capsys, monkeypatch):
    assert __main__.main(["explain", "/no/such/file"]) == 2
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    assert __main__.main(["explain"]) == 2
    assert "explain needs a file" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="the words of a Unix shell")
def test_a_closed_input_and_a_full_disk_are_2():
    command = f"{sys.executable} -m devicelab explain"
    closed = subprocess.run(f"{command} - <&-", shell=True, capture_output=True, text=True)
    assert closed.returncode == 2 and closed.stderr.startswith("devicelab: explain needs a file")
    if os.path.exists("/dev/full"):
        full = subprocess.run(
            f"{command} - >/dev/full", shell=True, input=TEXT, stderr=subprocess.PIPE, text=True
        )
        assert (full.returncode, full.stderr.count("\n")) == (2, 1) and "cannot be written" in full.stderr


def test_the_help_says_what_the_exit_codes_mean(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["explain", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "2>&1 | python -m devicelab explain -" in said and "Exit codes: 0 it is about devices" in said


def test_a_file_is_read(ask, tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(TEXT, "utf-16")
    assert "größe" in ask(b"", str(path))[1]


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "gbk", "cp1252", "utf-8"])
def test_a_terminal_without_a_letter_gets_its_number(ask, encoding):
    code, said = ask(TEXT.encode(), "-", encoding=encoding)
    assert code == 0 and "is on cpu, but cuda:0 is needed here." in said
    assert ("größe" in said) is (encoding in ("cp1252", "utf-8", "gbk")) or "\\xf6" in said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_what_windows_writes_is_read(encoding):
    data = TEXT.encode(encoding)
    assert (
        "größe" in decoded(data) or encoding == "utf-16-le"
    )  # without its mark it cannot be told from other data


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "KeyError: 'x'",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "no error at all",
    ],
)
def test_the_json_keeps_its_schema(ask, text):
    said = ask(text.encode(), "--json")[1]
    data = json.loads(said)
    jsonschema.validate(data, SCHEMA)
    assert (data["schema"], data["version"]) == ("devicelab/explain", 1)
    assert set(data) == set(SCHEMA["properties"]) and said.isascii()


def test_what_is_printed_can_be_shown_to_anybody(ask, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "annabel")
    monkeypatch.setattr("platform.node", lambda: "annas-laptop")
    text = TEXT.replace("model(größe)", 'torch.load("/home/kim/m.pt", "annas-laptop", annabel)')
    for words in (("-",), ("--json",)):
        said = ask(text.encode(), *words)[1]
        assert not any(name in said for name in ("/home/kim", "annabel", "annas-laptop")) and "~/m.pt" in said


def test_the_pipe_that_the_help_shows():
    script = "import sys; sys.stderr.write(sys.argv[1])"
    line = f'"{sys.executable}" -c "{script}" "KeyError: 1" 2>&1 | "{sys.executable}" -m devicelab explain -'
    done = subprocess.run(
        line, shell=True, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "This KeyError is not an error about devices.\n",
        "",
    )


def test_a_script_is_no_text_of_an_error(tmp_path, capsys):
    (tmp_path / "train.py").write_text("import torch")
    assert __main__.main(["explain", str(tmp_path / "train.py")]) == 2
    assert "python -m devicelab run" in capsys.readouterr().err
