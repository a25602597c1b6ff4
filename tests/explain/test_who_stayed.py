"""Texts: who stayed behind, by the argument that the message blames, by the line, and by what the message says of one side."""

import pytest
import torch
from explain_scripts import Case, cases, failing, mended

from devicelab import devices, simulate_gpu
from devicelab.explain import explain
from devicelab.explain.sources import suffixed

TWO = (
    "Expected all tensors to be on the same device, but found at least two devices, {}! "
    "(when checking argument for argument {} in method {})"
)


def told(code: str, message: str, file: str = "train.py"):
    return explain(
        f'Traceback (most recent call last):\n  File "{file}", line 3, in step\n    {code}\nRuntimeError: {message}\n'
    )


@pytest.mark.parametrize(
    ("code", "devices", "argument", "method", "culprit"),
    [
        ("y = net(x)", "cpu and cuda:0", "mat2", "wrapper_CUDA_mm", "x"),
        ("y = net(x)", "cuda:0 and cpu", "mat2", "wrapper_CUDA_mm", "net"),
        ("y = net(x)", "cuda:0 and cpu", "mat1", "wrapper_CUDA_addmm", "x"),
        ("y = net(x)", "cpu and cuda:0", "mat1", "wrapper_CUDA_addmm", "net"),
        ("y = emb(ids)", "cuda:0 and cpu", "index", "wrapper_CUDA__index_select", "ids"),
        ("y = emb(ids)", "cpu and cuda:0", "index", "wrapper_CUDA__index_select", "emb"),
        ("loss = crit(out, labels)", "cuda:0 and cpu", "target", "wrapper_CUDA_nll_loss_forward", "labels"),
        ("loss = crit(out, labels)", "cpu and cuda:0", "target", "wrapper_CUDA_nll_loss_forward", "out"),
        ("loss = crit(out, labels)", "cuda:0 and cpu", "weight", "wrapper_CUDA_nll_loss_forward", "crit"),
        ("y = self.bn(x)", "cuda:0 and cpu", "weight", "wrapper_CUDA__cudnn_batch_norm", "self.bn"),
        ("y = self.bn(x)", "cpu and cuda:0", "weight", "wrapper_CUDA__cudnn_batch_norm", "x"),
    ],
)
def test_the_others_depend_on_the_argument_that_is_blamed(code, devices, argument, method, culprit):
    found = told(code, TWO.format(devices, argument, method))
    assert found.culprit == culprit and found.fix == f'{culprit} = {culprit}.to("cuda")'
    assert found.what.startswith(culprit), "a name is written as the learner wrote it"


def test_labels_and_indices_are_several():
    assert (
        "labels, the labels, are on cpu"
        in told("loss = crit(out, labels)", TWO.format("cuda:0 and cpu", "target", "nll_loss")).what
    )
    assert (
        "X, the input of the layer, is on cpu"
        in told("y = net(X)", TWO.format("cuda:0 and cpu", "mat1", "addmm")).what
    )


BLAMED = "Expected object of device type cuda but got device type cpu for argument #1 '{}' in call to {}"


@pytest.mark.parametrize(
    ("code", "message", "culprit", "fix"),
    [
        ("", BLAMED.format("self", "_th_mm"), "the left operand of the product", '.to("cuda")'),
        ("", BLAMED.format("mat2", "_th_mm_out"), "the right operand of the product", '.to("cuda")'),
        ("", BLAMED.format("tensor", "_th_dot"), "the right operand of the product", '.to("cuda")'),
        ("", TWO.format("cuda:0 and cpu", "mat2", "wrapper_CUDA_mm"), "the right operand of the product", '.to("cuda")'),
        ("c = a @ b", BLAMED.format("self", "_th_mm"), "a", 'a = a.to("cuda")'),
        ("c = a.mv(v)", BLAMED.format("vec", "_th_mv"), "v", 'v = v.to("cuda")'),
        ("c = torch.dot(u, v + w)", BLAMED.format("tensor", "_th_dot"), "v + w", '(v + w).to("cuda")'),
        ("y = net(x)", BLAMED.format("mat2", "_th_mm"), "net", 'net = net.to("cuda")'),
        ("y = net(x)", BLAMED.format("self", "_th_mm"), "x", 'x = x.to("cuda")'),
        ("y = net(x / 255)", BLAMED.format("mat1", "_th_addmm"), "x / 255", '(x / 255).to("cuda")'),
        ("y = net(x if a else b)", BLAMED.format("mat1", "_th_addmm"), "x if a else b", '(x if a else b).to("cuda")'),
        ("y = net(x[:3])", BLAMED.format("mat1", "_th_addmm"), "x[:3]", 'x[:3].to("cuda")'),
        ("y = net(b['x'])", BLAMED.format("mat1", "_th_addmm"), "b['x']", "b['x'] = b['x'].to(\"cuda\")"),
        ("z = x + y", BLAMED.format("other", "_th_equal"), "the argument other",
         "import devicelab as lab; print(lab.placement(x, y))"),
    ],
)  # fmt: skip
def test_the_sides_of_a_product_and_what_moves_them(code, message, culprit, fix):
    found = told(code, message) if code else explain(f"RuntimeError: {message}")
    assert (found.culprit, found.fix) == (culprit, fix), found


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x", "x.cpu()"), ("x.y", "x.y.cpu()"), ("x[1:]", "x[1:].cpu()"), ("f(x)", "f(x).cpu()"), ("[x]", "[x].cpu()"),
        ("x / 255", "(x / 255).cpu()"), ("-x", "(-x).cpu()"), ("not x", "(not x).cpu()"), ("x < y", "(x < y).cpu()"),
        ("x if a else b", "(x if a else b).cpu()"), ("lambda: x", "(lambda: x).cpu()"), ("255", "(255).cpu()"),
        ("await x", "(await x).cpu()"), ("(t for t in x)", "(t for t in x).cpu()"), ("x and y", "(x and y).cpu()"),
        ("", ".cpu()"),
    ],
)  # fmt: skip
def test_a_call_is_typed_behind_the_whole_expression(text, written):
    assert suffixed(text, ".cpu()") == written


@pytest.mark.parametrize(
    ("code", "message", "fix"),
    [
        ("h = pack_padded_sequence(x, n)", "'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor",
         ".cpu()"),
        ("h = pack(x, lengths)", "'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor",
         "lengths.cpu()"),
        ("plt.plot(x * 2)", "can't convert cuda:0 device type tensor to numpy.", ".detach().cpu()"),
        ("c = a + b", "expected scalar type Half but found Float", ".half()"),
        ("c = net(a * 2)", "mat1 and mat2 must have the same dtype, but got Half and Float", "(a * 2).float()"),
    ],
)  # fmt: skip
def test_a_fix_names_nothing_that_the_line_does_not(code, message, fix):
    assert told(code, message).fix == fix


INDEX = "indices should be either on cpu or on the same device as the indexed tensor ({})"


@pytest.mark.parametrize(
    ("code", "where", "what", "fix"),
    [
        ("y = table[i]", "cpu", "table is on cpu, and i, by which it is indexed, on an accelerator.",
         "table = table.to(i.device)"),
        ("a, t = at[j], t.repeat(na, 1, 1)[j]", "cpu",
         "at or t.repeat(na, 1, 1) is on cpu, and j, by which it is indexed, on an accelerator.",
         "j = j.cpu()"),
        ("y = x[mask]", "cuda:0", "x is on cuda:0, and mask, by which it is indexed, on another card.", "x = x.to(mask.device)"),
    ],
)  # fmt: skip
def test_which_side_an_index_is_on(code, where, what, fix):
    found = told(code, INDEX.format(where))
    assert (found.what, found.fix) == (what, fix)


def test_which_side_data_parallel_and_mps_speak_of():
    words = "module must have its parameters and buffers on device cuda:0 (device_ids[0]) but found one of them on device: cpu"
    found = told("out = net(x)", words)
    assert (
        found.what.startswith("DataParallel needs the whole model on cuda:0")
        and found.fix == 'model = model.to("cuda:0")'
    )
    assert (
        "is on cpu, but mps is needed here."
        in told("y = net(x)", "Placeholder storage has not been allocated on MPS device!").what
    )


def test_the_indices_of_an_embedding_that_names_no_device():
    found = told("out = net(ids)", "Input, output and indices must be on the current device")
    assert (found.culprit, found.fix) == ("ids", "ids = ids.to(next(net.parameters()).device)")


def test_what_stayed_on_the_first_card_in_a_replica():
    text = """RuntimeError: Caught RuntimeError in replica 1 on device 1.
Original Traceback (most recent call last):
  File "/usr/lib/python3.6/dist-packages/torch/nn/parallel/parallel_apply.py", line 61, in _worker
    output = module(*input, **kwargs)
  File "/mnt/models/net.py", line 17, in forward
    out = F.relu(self.conv1(x))
RuntimeError: Expected tensor for argument #1 'input' to have the same device as tensor for argument #2 'weight'; but device 1 \
does not equal 0 (while checking arguments for cudnn_convolution)
"""
    found = explain(text)
    assert found.what == "In DataParallel's replica on cuda:1 something stayed on cuda:0."
    assert (found.line, found.file) == (17, "net.py") and "register_buffer" in found.fix


def test_the_arrow_of_a_notebook_without_the_line_above_it():
    found = explain(
        f"    190 L = loss(x)\n--> 191 y = net(x)\n\nRuntimeError: {TWO.format('cuda:0 and cpu', 'mat1', 'addmm')}"
    )
    assert (found.line, found.file, found.culprit) == (191, "your code", "x")


@pytest.mark.parametrize(
    ("code", "wanted", "fix"),
    [
        ("a, b = random_split(data, [8, 2])", "the generator of random_split",
         'a, b = random_split(data, [8, 2], generator=torch.Generator(device="cuda"))'),
        ("i = torch.randperm(n)", "the generator of torch.randperm",
         'i = torch.randperm(n, generator=torch.Generator(device="cuda"))'),
        ("for batch in loader:", "the generator of DataLoader", 'DataLoader(..., generator=torch.Generator(device="cuda"))'),
        ("x = self.noise()", "the generator", 'generator=torch.Generator(device="cuda")'),
    ],
)  # fmt: skip
def test_whose_generator_it_is(code, wanted, fix):
    found = told(code, "Expected a 'cuda' device type for generator but found 'cpu'")
    assert (found.culprit, found.fix) == (wanted, fix)


def test_a_step_that_stops_in_torchs_optimizer_is_about_its_state():
    text = """Traceback (most recent call last):
  File "/home/kim/p/train.py", line 68, in epoch
    opt.step()
  File "/usr/local/lib/python3.8/site-packages/torch/optim/adam.py", line 106, in step
    exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1)
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:2 and cpu!
"""
    found = explain(text)
    assert (found.culprit, found.fix, found.line) == (
        "the state of opt",
        "opt.load_state_dict(opt.state_dict())",
        68,
    )


SCRIPT = """Traceback (most recent call last):
  File "/home/kim/p/infer.py", line 25, in <module>
    out = model(inputs)
RuntimeError: The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__/net.py", line 15, in forward
    _4 = torch.zeros([2], dtype=6, layout=None, device=torch.device("cpu"), pin_memory=False)
    y = torch.add(x, _4)
        ~~~~~~~~~ <--- HERE
    return y

Traceback of TorchScript, original code (most recent call last):
  File "/home/kim/p/net.py", line 9, in forward
        z = torch.zeros(2)
        y = x + z
            ~~~~~ <--- HERE
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!
"""


def test_torchscripts_own_code_is_nobodys_file():
    found = explain(SCRIPT)
    assert (found.line, found.file, found.code) == (9, "net.py", "y = x + z")
    assert "torch.zeros" in found.what and found.fix == "torch.zeros(..., device=x.device)"
    without = explain(
        SCRIPT[: SCRIPT.index("Traceback of TorchScript, original")] + SCRIPT[SCRIPT.rindex("RuntimeError") :]
    )
    assert (without.line, without.file) == (25, "infer.py")


def test_an_index_that_reached_pandas():
    found = told("row = self.frame.iloc[idx]", "x").kind
    assert found == "unknown"
    words = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
    text = f'  File "d.py", line 3, in __getitem__\n    row = self.frame.iloc[idx]\nTypeError: {words}'
    found = explain(text)
    assert (found.culprit, found.fix) == ("idx", "idx = idx.cpu()") and "set_default_device" in found.why


LIVE = cases("mending_scripts.yaml")


@pytest.mark.parametrize("name", LIVE)
def test_the_printed_line_mends(name, tmp_path):
    case = LIVE[name]
    _, found = failing(case, tmp_path)
    assert found.fix == case.fix, found
    assert ("the rest of" in found.why) == (name == "a parameter whose values came back")
    assert mended(case, tmp_path) is None


def test_several_that_stayed_are_several(tmp_path):
    code = "def join(a, b):\n    return torch.cat([a, b, torch.ones(1, 2, device=device)])\n"
    _, found = failing(Case(f"{code}join(torch.ones(1, 2), torch.zeros(1, 2))\n", "", ""), tmp_path)
    assert found.what.startswith("a and b stayed on cpu") and found.why.startswith("they are on cpu, and ")


def test_what_is_detached_is_not_detached_twice(tmp_path):
    _, found = failing(Case("x = torch.ones(3, device=device)\ny = x.detach().numpy()\n", "", ""), tmp_path)
    assert found.fix == "x.detach().cpu().numpy()"


DEFAULT = {
    "random_split": "from torch.utils.data import random_split\na, b = random_split(list(range(10)), [8, 2])",
    "loader": "from torch.utils.data import DataLoader\nloader = DataLoader(list(range(10)), shuffle=True)\n"
    "for batch in loader:\n    pass",
}


@pytest.mark.parametrize("name", DEFAULT)
def test_the_printed_generator_mends_under_a_default_device(name, tmp_path):
    case = Case(f'torch.set_default_device("cuda")\n{DEFAULT[name]}\n', "", "")
    try:
        _, found = failing(case, tmp_path)
        assert 'generator=torch.Generator(device="cuda"))' in found.fix and found.fix_at.startswith(
            "in place of line"
        )
        assert mended(case, tmp_path) is None
    finally:
        torch.set_default_device(None)


def test_a_default_device_that_was_taken_back_is_the_cpu(tmp_path):
    torch.set_default_device("cpu")
    torch.set_default_device(None)  # before 2.10, torch.get_default_device() fails from here on
    assert devices.default() == torch.device("cpu")
    _, found = failing(Case("torch.ones(2, device=device) + torch.ones(2, 2)\n", "", ""), tmp_path)
    assert found.what.startswith("torch.ones(2, 2) stayed on cpu")


def test_a_convolution_in_three_dimensions_names_the_input():
    found = explain(
        "NotImplementedError: Could not run 'aten::slow_conv3d_forward' with arguments from the 'CUDA' backend."
    )
    assert found.kind == "mismatch" and found.fix == "x = x.to(next(model.parameters()).device)"


def test_a_line_without_a_source_is_told_no_word_of_a_librarys():
    with simulate_gpu(), pytest.raises(RuntimeError) as error:
        model = torch.nn.Linear(4, 2).cuda()
        exec("model(torch.rand(2, 4))", {"model": model, "torch": torch})
    found = explain(error.value)
    assert (found.culprit, found.fix) == ("What this line hands on", '.to("cuda")')
    assert found.fix_at == "behind what line 1 hands on"
