"""What explain promises whatever it is given: no new error, no values, no device touched, nothing kept."""

import gc
import weakref
from dataclasses import FrozenInstanceError
from unittest.mock import Mock

import pytest
import torch
from explain_scripts import run
from torch import nn

import devicelab as lab
from devicelab.explain import Explanation, explain

CPU_BUILD = not torch.backends.cuda.is_built()


def caught(function, *arguments) -> BaseException:
    """Return the error that a call raises."""
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("no error came")


VALUE = 1 / 8.1  # 0.1234...


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.offset = VALUE * torch.ones(3)

    def forward(self, x):
        return self.fc(x) + self.offset


def mixed_error() -> BaseException:
    model = Mixed().to("cuda")
    images = torch.rand(2, 3, device="cuda")
    return caught(lambda: model(images))


def test_it_can_be_read_and_not_changed():
    with lab.simulate_gpu("Tesla T4"):
        found = explain(mixed_error())
    assert isinstance(found, Explanation) and found.known and found.seen
    assert "offset" in found.culprit and found.line and found.file == "test_explain.py"
    assert found.code == "return self.fc(x) + self.offset"
    with pytest.raises(FrozenInstanceError):
        found.culprit = "x"


def test_the_text_is_short_and_names_devices_line_name_and_fix():
    with lab.simulate_gpu("Tesla T4"):
        text = str(explain(mixed_error()))
    for words in (
        "cpu",
        "cuda:0",
        "model.offset",
        "line ",
        "self.fc(x) + self.offset",
        "register_buffer",
        "fix:",
    ):
        assert words in text
    assert len(text.splitlines()) <= 7


def test_no_value_is_shown():
    with lab.simulate_gpu("Tesla T4"):
        found = explain(mixed_error())
        assert "0.1234" not in str(found) + found._repr_html_()

    def stray():
        secret = VALUE * torch.ones(3)
        raise KeyError(secret.shape)

    found = explain(caught(stray))
    assert "secret" in str(found) and "0.12" not in str(found) + found._repr_html_()


def test_no_tensor_is_kept():
    def fail():
        here = torch.zeros(3)
        there = torch.zeros(3, device="meta")
        kept.extend([weakref.ref(here), weakref.ref(there)])
        return here + there

    kept: list[weakref.ref] = []
    found = explain(caught(fail))
    assert found.culprit == "there"
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_the_html_is_plain_enough_for_an_untrusted_notebook_and_escapes():
    def fail():
        batch = {"<b>": torch.zeros(3, device="meta")}
        return torch.zeros(3) + batch["<b>"]

    html = explain(caught(fail))._repr_html_()
    assert "&lt;b&gt;" in html and "<b>'" not in html
    for word in ("<style", "<script", "<svg", "class=", "aria-"):
        assert word not in html


def test_no_device_is_touched(monkeypatch):
    with lab.simulate_gpu("Tesla T4"):
        error = mixed_error()
        with monkeypatch.context() as patch:  # the simulation puts back its own after that
            for name in ("item", "cpu", "to", "tolist", "numpy", "clone", "__repr__", "__bool__"):
                patch.setattr(torch.Tensor, name, None)
            patch.setattr(torch.cuda, "synchronize", None)
            found = explain(error)
    assert found.culprit == "model.offset"


def test_after_the_simulation_stopped_it_still_knows_where_things_were():
    with lab.simulate_gpu("Tesla T4"):
        model = Mixed().to("cuda")
        images = torch.rand(2, 3)
        error = caught(lambda: model(images))
    assert explain(error).culprit == "images"


@pytest.mark.parametrize("kept", ["images", "model"])
def test_what_was_kept_from_a_simulation_that_ended_is_to_blame_in_the_next(kept):
    def made():
        return {"images": torch.rand(2, 3, device="cuda"), "model": nn.Linear(3, 2).to("cuda")}

    with lab.simulate_gpu("Tesla T4"):
        old = made()
    with lab.simulate_gpu("NVIDIA L4"):
        images, model = (made() | {kept: old[kept]}).values()
        found = explain(caught(lambda: model(images)))
    assert found.culprit == kept and "belongs to a simulation that has ended" in found.why
    assert found.fix == f'{kept}.to("cuda")'


def test_the_error_inside_a_group_is_explained():
    with lab.simulate_gpu("Tesla T4"):
        error = mixed_error()
        group = ExceptionGroup("several", [ValueError("no"), ExceptionGroup("within", [error])])
        error.__context__ = group  # raised again while the group was handled
        found = explain(group)
    assert found.culprit == "model.offset"
    assert explain(ExceptionGroup("several", [ValueError("no")])).kind == "unknown"


def test_objects_that_only_say_that_they_are_tensors_modules_or_lists_are_passed_over():
    x = torch.rand(2, 2)
    tensor, module, optimizer, several = [
        Mock(spec=kind) for kind in (torch.Tensor, nn.Module, torch.optim.SGD, list)
    ]
    with lab.simulate_gpu("Tesla T4"):
        w = torch.rand(2, 2, device="cuda")
        found = explain(caught(lambda: (x @ w, tensor, module, optimizer, several)))
    assert found.culprit == "x"


def test_when_the_name_was_mended_before_it_was_asked():
    images = None

    def fail():
        model(images)

    with lab.simulate_gpu("Tesla T4"):
        model = nn.Linear(3, 2).to("cuda")
        images = torch.rand(2, 3)
        error = caught(fail)
        images = images.to("cuda")
        found = explain(error)
        model.to("cpu")
        later = explain(error)
    assert found.culprit == "images" and "another tensor now" in found.why
    assert later.kind == "mismatch"


MODEL = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.scale = torch.ones(3)

    def forward(self, x):
        return self.fc(x) * self.scale
"""
TRAIN = """device = torch.device("cuda")
net = Net().to(device)
images = torch.rand(2, 4) + 1
images = images.to(device) if moved else images
out = net(images)
"""


@pytest.mark.parametrize(
    ("moved", "culprit", "fix_at"),
    [(False, "images", "before line 5 of train.py"), (True, "net.scale", "in place of line 8")],
)
def test_code_in_several_files(moved, culprit, fix_at, tmp_path):
    variables: dict = {"moved": moved}
    for name, text in (("model.py", MODEL), ("train.py", TRAIN)):
        (tmp_path / name).write_text(text)

    def train():
        for name, text in (("model.py", MODEL), ("train.py", TRAIN)):
            exec(compile(text, str(tmp_path / name), "exec"), variables)

    with lab.simulate_gpu("Tesla T4"):
        found = explain(caught(train))
    assert (found.culprit, found.file, found.line, found.fix_at) == (culprit, "model.py", 11, fix_at), found
    assert found.via == "line 5 of train.py: out = net(images)"


def test_a_parameter_replaced_after_the_move_is_moved_after_the_line_that_made_it():
    def train(device):
        half_moved = nn.Linear(3, 2).to(device)
        half_moved.bias = nn.Parameter(torch.zeros(2))
        half_moved(torch.ones(1, 3, device=device))

    with lab.simulate_gpu("Tesla T4"):
        found = explain(caught(train, "cuda"))
    assert (found.fix, found.fix_at) == ("half_moved.to(device)", f"after line {found.line - 1}")


def test_two_cards_in_a_text_are_not_judged():
    found = explain(
        "Expected all tensors to be on the same device, but found at least two devices, cuda:1 and cuda:0!"
    )
    assert found.culprit is None and "cuda:0 and cuda:1 met" in found.what


@pytest.mark.parametrize(
    "given",
    [
        3,
        [],
        object(),
        b"bytes",
        Explanation,
        float("nan"),
        KeyboardInterrupt(),
        SystemExit(3),
        "",
        "\x00\ud800",
        "(" * 5000,
    ],
)
def test_whatever_it_is_given_it_answers(given):
    found = explain(given)
    assert not found.known and str(found) and found._repr_html_()


def test_an_error_that_cannot_even_be_printed():
    class Unprintable(RuntimeError):
        def __str__(self):
            raise ValueError("no text")

    assert "could not" in explain(Unprintable()).what


def test_names_and_properties_of_the_learner_are_not_run():
    class Trap:
        def __getattr__(self, name):
            raise AssertionError("was run")

        @property
        def tensor(self):
            raise AssertionError("was run")

    def fail():
        trap = Trap()
        here = torch.zeros(3)
        return here + torch.zeros(3, device="meta"), trap

    assert explain(caught(fail)).kind == "mismatch"


def test_a_deep_recursion_and_a_cycle():
    def deeper(level):
        if level == 0:
            return torch.zeros(3) + torch.zeros(3, device="meta")
        return deeper(level - 1)

    ring: list = [torch.zeros(3)]
    ring.append(ring)
    assert explain(caught(deeper, 300)).kind == "mismatch"
    assert explain(caught(deeper, 100_000)).kind == "unknown"  # the recursion's own error


def test_a_lazy_module_and_an_uninitialized_parameter():
    def fail():
        model = nn.Sequential(nn.LazyLinear(3))
        x = torch.zeros(2, 3)
        return x + torch.zeros(2, 3, device="meta"), model

    assert explain(caught(fail)).culprit == "torch.zeros(2, 3, device='meta')"


def test_code_without_source():
    variables: dict = {}
    error = caught(
        exec, "import torch\na = torch.zeros(3)\nb = torch.zeros(3, device='meta')\na + b", variables
    )
    found = explain(error)
    assert found.culprit == "b" and found.line == 4 and found.code == ""


def test_the_context_manager_of_the_lessons_and_its_error():
    with lab.expect_error(RuntimeError) as seen:
        _ = torch.zeros(3) + torch.zeros(3, device="meta")
    assert explain(seen).kind == explain(seen.error).kind == "mismatch"


def test_without_an_argument_the_error_that_is_being_handled():
    try:
        torch.device("gpu")
    except RuntimeError:
        found = explain()
    assert found.kind == "device string" and found.culprit == "gpu"


WORKER = """Caught RuntimeError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/usr/lib/python3/site-packages/torch/utils/data/_utils/worker.py", line 358, in _worker_loop
    data = fetcher.fetch(index)
  File "/home/ann/train.py", line 9, in __getitem__
    return self.images[i] * self.scale
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"""
BACKWARD = (
    "Function AddBackward0 returned an invalid gradient at index 1 - expected device cuda:0 but got cpu"
)


def _fail_with(text: str) -> None:
    loss = torch.zeros(3)
    raise RuntimeError(text + str(loss.shape)[:0])


def test_an_error_of_a_worker_process():
    found = explain(caught(_fail_with, WORKER))
    assert (found.line, found.file, found.code) == (9, "train.py", "return self.images[i] * self.scale")
    assert not found.seen and "out of reach" in str(found)


def test_an_error_whose_tensors_are_out_of_reach_shows_what_is_there():
    found = explain(caught(_fail_with, BACKWARD))
    assert found.kind == "mismatch" and "out of reach" in str(found)
    assert found.placement is not None and "loss" in [place.name for place in found.placement.places]


def test_an_unknown_error_says_so_and_shows_where_things_are():
    def fail():
        model = nn.Linear(3, 2, device="meta")
        scores = torch.zeros(4)
        return {}["missing"], model, scores

    found = explain(caught(fail))
    assert found.kind == "unknown" and "not an error about devices" in found.what
    assert found.placement is not None and {place.name for place in found.placement.places} == {
        "model.weight", "model.bias", "scores",
    }  # fmt: skip
    assert "meta" in str(found) and "scores" in str(found)


NUMPY = """
import numpy as np
model = nn.Linear(3, 2).to(device)
x = torch.rand(4, 3, device=device)
with torch.no_grad():
    out = model(x)
"""
OTHERS = {
    "numpy of a result": (NUMPY + "np_out = out.numpy()", "out", "out.detach().cpu().numpy()"),
    "numpy of a tensor": (NUMPY + "table = np.array(out)", "out", "out.detach().cpu()"),
    "numpy of an expression": (NUMPY + "table = out.argmax(1).numpy()", "out.argmax(1)", "out.argmax(1).detach().cpu().numpy()"),
    "lengths": (
        "words = torch.rand(2, 3, 4, device=device)\nsizes = torch.tensor([3, 2], device=device)\n"
        "packed = nn.utils.rnn.pack_padded_sequence(words, sizes, batch_first=True)",
        "sizes",
        "sizes.cpu()",
    ),
    "generator": (
        "g = torch.Generator()\nnoise = torch.randn(3, device=device, generator=g)",
        "g",
        'g = torch.Generator(device="cuda")',
    ),
    "device string": ('device = torch.device("gpu")', "gpu", 'device = torch.device("cuda")'),
    "device string with a number": ('x = torch.zeros(3, device="cuda0")', "cuda0", 'x = torch.zeros(3, device="cuda:0")'),
    "ordinal": ('x = torch.zeros(3).to("cuda:7")', "cuda:7", 'x = torch.zeros(3).to("cuda:0")'),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_errors_in_a_learners_code(name, tmp_path):
    code, culprit, fix = OTHERS[name]
    error, found = run(code, tmp_path)
    assert error is not None and found is not None
    assert (found.culprit, found.fix) == (culprit, fix), (error, found)
    assert found.code == code.splitlines()[-1] and found.file == "train.py"


@pytest.mark.skipif(not CPU_BUILD, reason="this torch was built with CUDA")
def test_a_cpu_only_wheel(monkeypatch):
    monkeypatch.setattr("devicelab.machine.nvidia_driver", lambda: None)
    found = explain(caught(lambda: torch.zeros(3).cuda()))
    assert found.kind == "cpu build" and "torch.cuda.is_available()" in found.fix
    monkeypatch.setattr("devicelab.machine.nvidia_driver", lambda: "/proc/driver/nvidia/version")
    found = explain(caught(lambda: torch.zeros(3).cuda()))
    assert "/proc/driver/nvidia/version" in found.why and "pip install --force-reinstall torch" in found.fix


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_checkpoint_from_a_gpu(tmp_path):
    checkpoint = tmp_path / "model.pt"
    with lab.simulate_gpu("Tesla T4"):
        torch.save(torch.zeros(3, device="cuda"), checkpoint)
    found = explain(caught(lambda: torch.load(checkpoint)))
    assert (found.kind, found.culprit) == ("no gpu at load", "checkpoint")
    assert 'torch.load(checkpoint, map_location="cpu")' in found.fix


FORK = "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method"


def test_a_forked_process_and_a_worker_of_a_data_loader():
    class Pictures:
        def __getitem__(self, index):
            raise RuntimeError(FORK)

    def work():
        raise RuntimeError(FORK)

    assert 'set_start_method("spawn")' in explain(caught(work)).fix
    assert "num_workers=0" in explain(caught(lambda: Pictures()[0])).fix
