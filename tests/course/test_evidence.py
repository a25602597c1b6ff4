"""What a judge sees of an answer, in words: counts, lines, devices and values."""

import pytest
import torch
from torch import nn

from devicelab import simulate_gpu
from devicelab.course.looking import Seen, is_on, same_values, short, times, watch, without_gpu
from devicelab.course.looking.predict import device_prediction, prediction
from devicelab.course.question import NotAttempted, NotYet
from devicelab.simgpu.session import current


@pytest.fixture(autouse=True, scope="module")
def a_gpu():
    if torch.cuda.is_available():
        yield
        return
    with simulate_gpu("Tesla T4"):
        yield


def loop(x):
    for _ in range(40):
        y = x.to("cuda")
        (y * 2).sum().item()
    return y.cpu()


@pytest.fixture(scope="module")
def seen(a_gpu) -> Seen:
    return watch(loop, torch.ones(3))


def test_copies_and_waits_are_counted_with_their_lines(seen):
    assert str(seen.copies("cpu", "cuda")).startswith("40 times (test_evidence.py:")
    assert "`y = x.to(" in str(seen.copies("cpu", "cuda"))
    assert seen.copies("cpu", "cuda").nbytes == 40 * 12 and seen.copies("cuda", "cpu").count == 1
    assert seen.waits.count == 40 and ".item()" in str(seen.waits)
    assert str(seen.copies("meta", "cuda")) == "0 times"


def test_too_many_are_told(seen):
    seen.at_most(40, seen.copies("cpu", "cuda"), "It was copied")
    with pytest.raises(NotYet, match=r"^It was copied 40 times \(test_evidence.py:\d+ `.*`\)\. Why\?$"):
        seen.at_most(39, seen.copies("cpu", "cuda"), "It was copied", "Why?")
    seen.at_most_bytes(480, seen.copies("cpu", "cuda"), "All was sent")
    with pytest.raises(NotYet, match=r"^All was sent 40 times over \(.*\)\.$"):
        seen.at_most_bytes(12, seen.copies("cpu", "cuda"), "All was sent")


def test_where_it_ran_is_told(seen):
    seen.ran_on("cuda", "The sum")
    with pytest.raises(NotYet, match=r"The sum ran on cuda, not on cpu \(test_evidence.py:"):
        seen.ran_on("cpu", "The sum")
    with pytest.raises(NotYet, match="The backward pass did not run at all: no operator was seen on cuda"):
        seen.ran_on("cuda", "The backward pass", "backward")


def test_a_stub_and_what_is_no_function():
    with pytest.raises(NotAttempted):
        watch(lambda: ...)
    with pytest.raises(NotYet, match="A function was asked for, but the answer is 3"):
        watch(3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.ones(3, 2), "cuda"), "a tensor of shape [3, 2] on cpu, 'cuda'"),
        ((nn.Linear(2, 2), nn.ReLU(), [1], 0.5, None), "Linear on cpu, ReLU, a list, 0.5, None"),
    ],
)
def test_an_error_of_the_function_says_how_the_check_called_it(arguments, words):
    def train(*given):
        raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        watch(train, *arguments)
    assert raised.value.__notes__ == [f"The check called train({words})."]


def test_named_arguments_are_told_too_but_no_helper_of_a_judge():
    def train(device):
        raise KeyError("mine")

    def _inside(device):
        return train(device)

    with pytest.raises(KeyError) as raised:
        watch(train, device="cpu")
    assert raised.value.__notes__ == ["The check called train(device='cpu')."]
    with pytest.raises(KeyError) as raised:
        watch(_inside, "cpu")
    assert not hasattr(raised.value, "__notes__")


@pytest.mark.parametrize(("count", "words"), [(0, "0 times"), (1, "once"), (2, "twice"), (3, "3 times")])
def test_times(count, words):
    assert times(count) == words


def test_values_are_shown_shortly():
    assert short("a" * 100) == "'" + "a" * 58 + "…"
    assert short(torch.ones(2, device="cuda")) == "a tensor of shape [2] on cuda:0"


def test_placement_in_all_parts():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to("cuda")
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 2, device="cuda")).sum().backward()
    optimizer.step()
    is_on(model, "cuda", "The model")
    is_on(optimizer, "cuda", "The optimizer")  # its step counter stays on the CPU, as torch wants it
    is_on(torch.ones(1), "cpu", "x")
    model[1].register_buffer("extra", torch.ones(2))
    with pytest.raises(NotYet, match=r"^The model: 1.extra \(.*\) is on cpu; cuda was asked for\.$"):
        is_on(model, "cuda", "The model")
    with pytest.raises(NotYet, match=r"^The batch: \['x'\] \(.*\) is on cpu; cuda was asked for\.$"):
        is_on({"x": torch.ones(1)}, "cuda", "The batch")
    with pytest.raises(NotYet, match=r"^x is on cuda:0; cpu was asked for\.$"):
        is_on(torch.ones(1, device="cuda"), "cpu", "x")


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (1.00001, 1.0),
        (1, 1.0),
        ([1.0, 2.0], (1.0, 2.0)),
        ({"a": 1.0}, {"a": 1.0}),
        ("x", "x"),
        (float("nan"), "never"),
    ],
)
def test_values_that_agree(got, wanted):
    if wanted == "never":
        with pytest.raises(NotYet):
            same_values(got, wanted, "v")
    else:
        same_values(got, wanted, "v")


@pytest.mark.parametrize(
    ("got", "wanted", "words"),
    [
        (2.0, 1.0, r"v should be about 1, but it is 2\.0"),
        (torch.ones(()), 1.0, r"v: a Python number was asked for, but it is a tensor"),
        (3, torch.ones(1), r"v: a tensor was asked for, but it is 3"),
        (torch.ones(2), torch.ones(1), r"v should have shape \[1\] of torch.float32, but it has \[2\]"),
        (torch.zeros(1), torch.ones(1), r"v lies on cpu and has the right shape, but not the right values"),
        ([1.0], [1.0, 2.0], r"v: 2 values were asked for, but it is \[1\.0\]"),
        ([1.0, 3.0], [1.0, 2.0], r"v\[1\] should be about 2"),
        ({"a": 1.0}, {"b": 1.0}, r"v: a dict with the keys \['b'\] was asked for"),
        (True, 1, r"v should be 1, but it is True"),
        ("y", "x", r"v should be 'x', but it is 'y'"),
    ],
)
def test_values_that_differ(got, wanted, words):
    with pytest.raises(NotYet, match=words):
        same_values(got, wanted, "v")


def test_the_same_values_on_two_devices_agree():
    same_values(torch.ones(2, device="cuda"), torch.ones(2), "v")


def test_without_gpu_nothing_can_be_put_on_one_and_afterwards_it_can():
    simulation = current()
    with without_gpu():
        assert not torch.cuda.is_available() and torch.cuda.device_count() == 0
        for ask in (
            lambda: torch.empty(0, device="cuda"),
            lambda: torch.ones(1).to("cuda:0"),
            lambda: torch.ones(1).cuda(),
            lambda: nn.Linear(1, 1).to(torch.device("cuda")),
        ):
            with pytest.raises(RuntimeError, match="No CUDA GPUs are available"):
                ask()
        assert torch.ones(1, device="cpu").to("cpu").device.type == "cpu"
    assert current() is simulation and torch.ones(1).cuda().is_cuda


@pytest.mark.parametrize("said", [1, "True", None, [True]])
def test_a_prediction_takes_the_words_that_were_asked_for(said):
    judge = prediction(
        lambda: {"a": True, "b.c": False}, lambda name, *_: f"Not {name}.", words=(True, False)
    )
    judge({"a": True, "b.c": False})
    with pytest.raises(NotYet, match=r"^For 'b\.c' you wrote .*; True or False was asked for\.$"):
        judge({"a": True, "b.c": said})
    with pytest.raises(NotYet, match=r"^Not a\.$"):
        judge({"a": False, "b.c": said})
    with pytest.raises(NotAttempted):
        judge({"a": ..., "b.c": ...})
    with pytest.raises(NotYet, match=r"^The answer is a dict with the 2 keys of the cell: a, 'b\.c'\.$"):
        judge({"a": True})


def test_a_predicted_device_may_be_a_device():
    judge = device_prediction(lambda: {"x": torch.ones(1, device="cuda")}, {"x": "Who moved it?"})
    for said in ("cuda", "cuda:0", torch.device("cuda"), torch.device("cuda", 0)):
        judge({"x": said})
    with pytest.raises(NotYet, match="x was not on cpu: Who moved it"):
        judge({"x": torch.device("cpu")})
