"""The film: what it shows of a block, line by line, and that no block is harmed by it."""

import asyncio
import gc
import json
import runpy
import sys
import threading
import time

import pytest
import torch
from torch import nn

import devicelab as lab
from devicelab import simulate_gpu
from devicelab.errors import InputError
from devicelab.film import watch
from devicelab.film.rows import MOST_ROWS
from devicelab.film.scenes import Scenes
from devicelab.film.still import dots_at, names_at
from devicelab.film.watch import MOST_STEPS


@pytest.fixture
def there():
    with simulate_gpu("Tesla T4"):
        yield "cuda:0"


def line(film, text):
    """Return the number of the first step at this line."""
    code = dict(film.data()["code"])
    steps = film.data()["steps"]
    return next(n for n, step in enumerate(steps) if text in code.get(step.get("line"), ""))


def at(film, step):
    """Return {device: names and labels of what is there} at a step, of what has none its shape."""
    data = film.data()
    pins, found = names_at(data, step), {box["device"]: set() for box in data["boxes"]}
    for look, is_there in dots_at(data, step):
        box, row, shape, _, label, *_ = look
        if is_there:
            found[data["boxes"][box]["device"]] |= set(pins.get((box, row), [label or shape]))
    return found


# --- the article's mistakes ------------------------------------------------------------------------------------------


def test_a_copy_that_nobody_keeps(there):
    with lab.film() as film:
        x = torch.randn(100, 10)
        x.to("cuda")
        after = 1
    copied = line(film, "x.to")
    assert after and at(film, copied) == {"cpu": {"x"}, "cuda:0": set()}
    assert film.data()["steps"][copied]["arrows"] == [[0, 0, 1, 0, "4,000 bytes"]]
    ghosts = [look[0] for look, is_there in dots_at(film.data(), copied) if not is_there]
    assert ghosts == [1]
    assert "4,000 bytes are copied from cpu to cuda:0, and nobody keeps the copy" in film.said(copied)
    assert [look[0] for look, _ in dots_at(film.data(), copied + 1)] == [0]


def test_the_name_moves_and_the_old_tensor_is_given_back(there):
    with lab.film() as film:
        x = torch.randn(100, 10)
        x = x.to("cuda")
    assert at(film, 1) == {"cpu": {"x"}, "cuda:0": set()}
    assert at(film, 2) == {"cpu": set(), "cuda:0": {"x"}}
    assert film.said(2).endswith("The name x moves from cpu to cuda:0; what it held before is given back.")


def test_the_refused_operator_with_pytorchs_sentence_in_parts(there):
    model, x = nn.Linear(10, 2).to("cuda"), torch.randn(100, 10)
    with pytest.raises(RuntimeError), lab.film() as film:
        y = model(x)  # noqa: F841
    step = film.data()["steps"][film.telling]
    refused = step["refused"]
    assert step["say"] == (
        "addmm wants its tensors in one memory, and got x on cpu but model.bias and model.weight on cuda:0."
    )
    marked = {text: rows for text, rows, is_operator in refused["parts"] if rows or is_operator}
    names = {(box, row): look[4] or "x" for look, _ in dots_at(film.data(), 1) for box, row in [look[:2]]}
    assert {text: sorted(names[tuple(row)] for row in rows) for text, rows in marked.items()} == {
        "mat1 is on cpu": ["x"],
        "other tensors on cuda:0": ["bias", "weight"],
        "wrapper_CUDA_addmm": [],
    }
    assert [stayed for *_, stayed in sorted(refused["operands"])] == [True, False, False]
    assert film.refused.startswith("Expected all tensors to be on the same device, but got mat1 is on cpu")


def test_two_devices_that_a_message_names_lead_to_their_tensors(there):
    a, b = torch.ones(2), torch.ones(2, device="cuda")
    with pytest.raises(RuntimeError), lab.film() as film:
        a + b
    parts = film.data()["steps"][1]["refused"]["parts"]
    assert [(text, rows) for text, rows, _ in parts if rows] == [("cuda:0", [[1, 0]]), ("cpu", [[0, 0]])]


def test_an_error_that_the_block_catches_is_shown_and_the_film_goes_on(there):
    model, x = nn.Linear(10, 2).to("cuda"), torch.randn(100, 10)
    with lab.film() as film:
        try:
            y = model(x)
        except RuntimeError:
            x = x.to("cuda")
        y = model(x)
    steps = film.data()["steps"]
    assert [("refused" in step) for step in steps] == [False, True, False, False]
    assert at(film, 3)["cuda:0"] == {"weight", "bias", "x", "y"} and y.is_cuda


def test_a_module_is_a_fence_and_what_to_cannot_reach_lies_outside(there):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2, bias=False)
            self.register_buffer("mean", torch.zeros(2))
            self.scale = torch.ones(2)
            self.heads = [nn.Linear(2, 1, bias=False)]

    net = Net()
    with lab.film() as film:
        net.to("cuda")
    data = film.data()
    fences = {(box, name): kind for name, kind, box, *_ in data["fences"]}
    assert fences == {(0, "net"): "Net", (1, "net"): "Net"}
    inside = {(look[0], look[4]) for look, is_there in dots_at(data, 1) if look[5] >= 0 and is_there}
    assert inside == {(1, "fc.weight"), (1, "mean")}
    assert at(film, 1)["cpu"] == {"net.scale", "net.heads[0].weight"}
    assert "net holds 2 tensors on cuda:0 and 2 tensors on cpu" in film.said(1)


def test_a_name_keeps_the_old_buffer_outside_of_the_fence(there):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2, bias=False)
            self.register_buffer("mean", torch.zeros(2))

    with lab.film(depth=0) as film:
        net = Net()
        weight, mean = net.fc.weight, net.mean
        net.to("cuda")
    before, after = (
        {look[0]: look[5] for look, is_there in dots_at(film.data(), n) if is_there} for n in (2, 3)
    )
    assert "mean still names what net let go." in film.said(3)
    assert weight.is_cuda and mean.is_cpu and before == {0: 0} and after == {0: -1, 1: 1}
    assert at(film, 3) == {"cpu": {"mean"}, "cuda:0": {"weight", "mean"}}


def test_a_training_step(there):
    model = nn.Linear(2, 1, bias=False).to("cuda")
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.ones(4, 2, device="cuda")
    with lab.film() as film:
        loss = model(x).mean()
        loss.backward()
        optimizer.step()
        value = loss.item()
    assert value and "weight.grad" in at(film, 2)["cuda:0"]
    assert at(film, 3)["cpu"] == {"state[weight].step"}
    assert "stays on purpose" in [look[7] for look in film.data()["looks"]]
    assert film.said(4).endswith("The CPU waited for 1 number from cuda:0.")


def test_where_the_operators_ran_with_lines_from_their_operands(there):
    a, b = torch.ones(2, device="cuda"), torch.ones(2, device="cuda")
    with lab.film() as film:
        c = a * b
    [[box, text, rows]] = film.data()["steps"][1]["works"]
    assert c.is_cuda and (box, text, len(rows)) == (1, "mul", 2)


# --- names, memories, rows -------------------------------------------------------------------------------------------


def test_two_names_of_one_memory_stand_at_one_dot():
    with lab.film() as film:
        x = torch.ones(4)
        view = x[1:]
        same = x
    assert at(film, 3)["cpu"] == {"x", "view", "same"} and len(dots_at(film.data(), 3)) == 1
    assert "view is one more name for the memory of x" in film.said(2)
    assert view is not same


def test_a_deleted_name_and_an_emptied_list():
    some = [torch.ones(2)]
    x = torch.ones(3)
    with lab.film() as film:
        del x
        some.clear()
    assert film.said(1).endswith("x is given up.") and film.said(2).endswith("some is given up.")
    assert at(film, 2) == {"cpu": set()}


def test_no_dot_jumps_while_it_is_there(there):
    with lab.film() as film:
        a = torch.ones(1)
        b = torch.ones(2)
        del a
        c = torch.ones(3, device="cuda")
        d = b.to("cuda")
    rows = {}
    for number in range(len(film.data()["steps"])):
        for look, is_there in dots_at(film.data(), number):
            if is_there:
                assert rows.setdefault((look[0], look[2]), look[1]) == look[1]
    assert c.is_cuda and d.is_cuda


def test_a_copy_lies_beside_what_it_was_copied_from_where_there_is_room(there):
    a, b = torch.ones(1), torch.ones(2)
    with lab.film() as film:
        there_b = b.to("cuda")
    assert a.is_cpu and there_b.is_cuda
    [[_, from_row, _, to_row, _]] = film.data()["steps"][1]["arrows"]
    assert from_row == to_row


def test_arrows_of_a_module_do_not_cross(there):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("first", torch.zeros(1))
            self.fc = nn.Linear(1, 1)  # .to() moves parameters before buffers

    with lab.film(depth=0) as film:
        net = Net()
        net.to("cuda")
    arrows = film.data()["steps"][2]["arrows"]
    assert len(arrows) == 3 and all(arrow[1] == arrow[3] for arrow in arrows)


def test_a_thousand_tensors_are_gathered(there):
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(500)])
    with lab.film() as film:
        model.to("cuda")
    [(look, _)] = [found for found in dots_at(film.data(), 1) if found[1]]
    assert look[2:5] == ["1,000 tensors", "12,000 bytes", "parameter"] and look[6] == 1000
    assert film.data()["steps"][1]["arrows"] == [[0, 1, 1, 1, "12,000 bytes"]]
    assert len(json.dumps(film.data())) < 3000


def test_a_hundred_names_leave_a_picture_that_can_be_read(tmp_path):
    lines = [f"    t{number} = torch.ones({number})" for number in range(100)]
    script = tmp_path / "hundred.py"
    script.write_text("\n".join(["import torch, devicelab as lab", "with lab.film() as film:", *lines]))
    film = runpy.run_path(str(script))["film"]
    assert film.data()["boxes"][0]["rows"] == MOST_ROWS + 1
    last = {look[4]: look[2] for look, _ in dots_at(film.data(), film.steps)}
    assert last["and more"] == "91 tensors"
    assert max(map(len, names_at(film.data(), film.steps).values())) == 1


def test_every_tensor_without_a_storage_of_its_own_is_drawn():
    class Own(torch.Tensor):
        pass

    with lab.film() as film:
        sparse = torch.eye(3).to_sparse()
        meta = torch.ones(3, device="meta")
        own = torch.ones(2).as_subclass(Own)
        lazy = nn.LazyLinear(3)
    assert len(sparse) == len(meta) == len(own) + 1 and lazy.bias is not None
    assert at(film, 4) == {"cpu": {"sparse", "own", "weight", "bias"}, "meta": {"meta"}}
    assert film.data()["notes"] == []


def test_two_cards_have_a_box_each():
    with simulate_gpu("Tesla T4", count=2), lab.film() as film:
        x = torch.ones(2, device="cuda:1")
    assert len(x) == 2 and at(film, 1) == {"cpu": set(), "cuda:0": set(), "cuda:1": {"x"}}


def test_without_a_gpu_there_is_one_box_and_it_says_so():
    with lab.film() as film:
        x = torch.ones(2)
    assert x.is_cpu and film.data()["card"] == "no GPU here"
    assert [box["device"] for box in film.data()["boxes"]] == ["cpu"]


# --- lines -----------------------------------------------------------------------------------------------------------


def test_each_turn_of_a_loop_is_a_step_and_its_head_none():
    x = torch.ones(2)
    with lab.film() as film:
        for _ in range(3):
            x = x * 2
    assert [step.get("turn") for step in film.data()["steps"][1:]] == [1, 2, 3]


def test_a_statement_of_several_lines_is_one_step():
    with lab.film() as film:
        x = torch.cat(
            [
                torch.ones(2),
                torch.ones(3),
            ]
        )
    assert film.steps == 1 and len(x) == 5


def double(value):
    twice = value * 2
    return twice


def quadruple(value):
    return double(double(value))


def test_functions_of_the_same_file_are_followed_to_the_depth_that_is_asked_for():
    x = torch.ones(2)
    found = {}
    for depth in range(3):
        with lab.film(depth=depth) as film:
            y = quadruple(x)
        assert y[0] == 4
        found[depth] = [step["inner"] for step in film.data()["steps"] if "inner" in step]
    own = ["double: twice = value * 2", "double: return twice"]
    assert found == {0: [], 1: ["quadruple: return double(double(value))"], 2: own * 2 + found[1]}


def test_a_functions_own_names_are_told_from_the_blocks():
    value = torch.ones(1)
    with lab.film() as film:
        value = double(value)
    assert at(film, 1)["cpu"] == {"value", "value in double", "twice in double"}
    assert at(film, 3)["cpu"] == {"value"}


def test_the_film_ends_after_its_steps_and_the_block_does_not():
    with lab.film() as film:
        for number in range(10_000):
            last = number + 1
        x = torch.ones(last)
    assert last == 10_000
    assert len(film.data()["steps"]) == MOST_STEPS + 2
    assert at(film, film.steps)["cpu"] == {"x"} and len(x) == last
    assert film.data()["notes"] == [
        "The film has 200 steps; the lines after that ran unseen, and its last picture is of the end."
    ]
    assert len(json.dumps(film.data())) < 60_000


def test_a_coroutine_that_waits_goes_on_as_one_block():
    async def work():
        with lab.film() as film:
            a = torch.ones(2)
            await asyncio.sleep(0)
            b = a + 1
        return film, b

    film, _ = asyncio.run(work())
    assert [step["say"] for step in film.data()["steps"][1:]] == [
        "a is a new tensor on cpu: 2, 8 bytes. ones ran on cpu.",
        "No tensor is made, moved or given back.",
        "b is a new tensor on cpu: 2, 8 bytes. add ran on cpu.",
    ]


def test_a_film_in_a_film_shows_its_own_lines():
    with lab.film() as outer:
        x = torch.ones(2)
        with lab.film() as inner:
            y = x * 2
        z = y + 1
    assert [line for line, _ in outer.data()["code"]][1:3] == [
        inner.data()["code"][0][0] - 1,
        inner.data()["code"][0][0],
    ]
    assert inner.steps == 1 and at(outer, outer.steps)["cpu"] == {"x", "y", "z"} and len(z) == 2


def test_code_without_its_source_is_shown_by_number():
    found = {}
    exec("import devicelab as lab, torch\nwith lab.film() as film:\n    x = torch.ones(2)\n", found)
    film = found["film"]
    assert [step.get("line") for step in film.data()["steps"]] == [None, 3]
    assert "shown by number" in film.data()["notes"][0]


def test_generators_threads_and_lambdas_run_as_ever():
    def numbers():
        yield torch.ones(1)
        yield torch.ones(2)

    kept = []
    with lab.film() as film:
        total = sum(len(one) for one in numbers())
        thread = threading.Thread(target=lambda: (time.sleep(0.05), kept.append(torch.ones(1))))
        thread.start()
        thread.join()
    assert total == 3 and at(film, film.steps)["cpu"] == {"[0]"}
    assert film.data()["notes"] == [
        "Other threads ran beside these lines; what they did is seen when a line here ends."
    ]


# --- nothing is harmed -----------------------------------------------------------------------------------------------


def test_errors_go_on_as_ever_also_those_that_are_no_operators():
    with pytest.raises(ZeroDivisionError, match="division"), lab.film() as film:
        x = 1
        x / 0
    assert film.said(2).endswith(
        "This line stops with ZeroDivisionError. ZeroDivisionError: division by zero"
    )


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


def test_an_error_that_cannot_say_itself():
    with pytest.raises(Unspeakable), lab.film() as film:
        raise Unspeakable
    assert film.telling == 1 and film.refused == ""


def test_no_tensor_is_kept_alive(there):
    gc.collect()
    gc.disable()
    try:
        before = torch.cuda.memory_allocated()
        with lab.film() as film:
            model = nn.Linear(10, 2).to("cuda")
            x = torch.ones(4, 10)
            try:
                model(x)
            except RuntimeError:
                x = x.to("cuda")
        assert film.steps == 4
        del model, x
        assert torch.cuda.memory_allocated() == before
    finally:
        gc.enable()


def test_a_tracer_that_was_there_is_put_back():
    before = sys.gettrace()
    sys.settrace(mine := (lambda *_: None))
    try:
        with lab.film():
            pass
        assert sys.gettrace() is mine
    finally:
        sys.settrace(before)


def test_what_the_film_cannot_look_at_ends_it_and_never_the_block(monkeypatch):
    def broken(*_):
        raise OSError("not today")

    monkeypatch.setattr(watch, "Look", broken)
    with lab.film() as film:
        x = torch.ones(2)
    assert len(x) == 2 and "The film could not look on (OSError: not today)" in film.data()["notes"][0]


def test_what_cannot_be_drawn_is_said(monkeypatch):
    monkeypatch.setattr(Scenes, "data", lambda self: 1 / 0)
    with lab.film() as film:
        pass
    assert "The film could not be drawn (ZeroDivisionError: division by zero)." in str(film)


def test_a_film_is_made_once_and_asked_when_it_is_over():
    maker = lab.film()
    with maker as film, pytest.raises(InputError, match="still running"):
        str(film)
    with pytest.raises(InputError, match="made already"), maker:
        pass
    with pytest.raises(InputError, match="0 to 10"):
        lab.film(depth=11)


# --- shown -----------------------------------------------------------------------------------------------------------


def test_the_still_shows_the_telling_step_and_says_it(there):
    x = torch.ones(2)
    with lab.film() as film:
        try:
            x + torch.ones(2, device="cuda")
        except RuntimeError:
            after = 1
    picture = film.still()
    assert after and picture.png.startswith(b"\x89PNG") and len(picture.png) < 40_000
    assert (
        "Where is each tensor? (simulated Tesla T4) Line" in picture.alt
        and "at least two devices" in picture.alt
    )
    assert "Before the first line: 1 tensor on cpu." in film.still(0).alt


def test_code_and_names_that_are_html_are_escaped():
    with lab.film() as film:
        some = {"<b>x</b>": torch.ones(2)}
    html = film._repr_html_()
    assert some and "<b>" not in html and "&lt;b&gt;" in html


def test_as_text_it_is_a_line_a_step(there):
    with lab.film() as film:
        x = torch.ones(2, 3)
    assert x.is_cpu and str(film).splitlines() == [
        "Where is each tensor? (simulated Tesla T4)",
        "  Before the first line: no tensor yet.",
        f"  Line {film.data()['steps'][1]['line']}: `x = torch.ones(2, 3)` - "
        "x is a new tensor on cpu: 2 × 3, 24 bytes. ones ran on cpu.",
    ]
