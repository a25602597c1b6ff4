"""Out of memory: the sums that messages of all versions tell, and what is looked at where the tensors are at hand."""

import pytest
import torch
import yaml
from explain_scripts import DATA, run
from torch.utils.checkpoint import checkpoint

from devicelab import simulate_gpu
from devicelab.explain import explain
from devicelab.explain.memory import graph
from devicelab.explain.memory.figures import figures_in
from devicelab.explain.memory.graph import Graphs

MIB = 2**20
TEXTS = yaml.safe_load((DATA / "memory_texts.yaml").read_text("utf-8"))
MEMORY, COUNTS = "memory", "print(torch.cuda.memory_allocated())"
FIXES = {
    MEMORY: COUNTS,
    "the cache": "export PYTORCH_CUDA_ALLOC_CONF=",
    "another program": "nvidia-smi",
    "the size of one tensor": "print(x.shape)",
    "what took it meanwhile": "nvidia-smi -l 1",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_posted_message_is_judged_by_its_sums(name):
    case = TEXTS[name]
    sums = figures_in(case["text"])
    known = [sums.wanted, sums.total, sums.allocated, sums.idle]
    assert [size and round(size / MIB) for size in known] == case["sums"]
    found = explain(case["text"])
    assert (found.kind, found.culprit, found.seen) == ("memory", case["culprit"], False)
    assert (
        found.fix.startswith(case.get("fix", FIXES[case["culprit"]])) and "[from the message]" in found.sums
    )
    assert case["thread"].startswith("https://github.com/")


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        ("has 577.00 MiB", "has 7.00 GiB", "another program"),
        ("410.41 MiB", "14.00 GiB", "the cache"),
        ("8.44 MiB is free", "9.00 GiB is free", "what took it meanwhile"),
        ("allocate 138.00 MiB", "allocate 138.00 GiB", "the size of one tensor"),
        ("8.44 MiB is free.", "9.00 GiB is free. 64.00 MiB allowed;", "the size of one tensor"),
    ],
)
def test_other_sums_have_another_cause(old, new, culprit):
    text = TEXTS["PyTorch 2.1, with another process"]["text"]
    assert old in text and explain(text.replace(old, new)).culprit == culprit


TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 9, in {function}
    {code}
  File "/usr/lib/python3.11/site-packages/torch/nn/modules/module.py", line 900, in {inner}
    return fn(t)
torch.OutOfMemoryError: """ + TEXTS["PyTorch 1.0"]["text"]


@pytest.mark.parametrize(
    ("function", "code", "inner", "fix"),
    [
        ("main", "net.to(device)", "_apply", "net.bfloat16().to(device)"),
        ("validate_epoch", "out = net(x)", "_call_impl", "with torch.no_grad():"),
        ("main", "out = net(x)", "_call_impl", COUNTS),
        ("main", "out = net(x.to(device))", "forward", COUNTS),
    ],
)
def test_a_text_is_judged_by_its_lines(function, code, inner, fix):
    found = explain(TRACEBACK.format(function=function, code=code, inner=inner))
    assert (found.fix, found.line) == (fix, 9)


def test_who_holds_what_is_counted(tmp_path):
    code = """model = nn.Linear(1024, 1024, bias=False).to(device)
opt = torch.optim.Adam(model.parameters())
model(torch.rand(1, 1024, device=device)).sum().backward()
opt.step()
data = torch.empty(8 * 2**20, dtype=torch.uint8, device=device)
torch.empty(2**40, dtype=torch.uint8, device=device)
"""
    _, found = run(code, tmp_path)
    held = {(one.kind, one.name): one.nbytes for one in found.held}
    assert held == {
        ("weights", "model"): 4 * MIB,
        ("gradients", "model"): 4 * MIB,
        ("optimizer state", "opt"): 8 * MIB,
        ("tensors", "data"): 8 * MIB,
    }
    assert "8.00 MiB opt (optimizer state)" in str(found) and "[simulated, Tesla T4]" in found.sums


def test_a_graph_is_walked_without_running_anybodys_hook():
    ran = []
    x = torch.rand(4, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: ran.append(t) or t):
        hooked = (x * x).exp().sum()
    again = checkpoint(lambda t: ran.append(t) or t.exp().exp(), x, use_reentrant=False).sum()
    plain = (x * x).exp().sum()
    ran.clear()
    packed = 3 if hasattr(torch._C._autograd.SavedTensor, "data") else 0  # of PyTorch 2.8 not to be seen
    found = [len(list(Graphs().kept([one]))) for one in (plain, hooked, again)]
    assert found == [3, packed, 0] and not ran


def test_where_pytorch_does_not_tell_what_is_saved_it_is_unpacked_unless_a_hook_would_run(monkeypatch):
    monkeypatch.setattr(graph, "_TELLS", False)
    ran, x = [], torch.rand(4, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: ran.append(t) or t):
        hooked = (x * x).exp().sum()
    found = [len(list(Graphs().kept([one]))) for one in ((x * x).exp().sum(), hooked)]
    assert found == [3, 0] and not ran


def test_after_backward_a_graph_keeps_nothing():
    x = torch.rand(4, 4, requires_grad=True)
    loss = x.exp().exp().sum()
    assert len(list(Graphs().kept([loss]))) == 2
    loss.backward()
    assert not list(Graphs().kept([loss]))


LEARNS = """net = nn.Sequential(nn.Linear(512, 512), nn.Sigmoid(), nn.Linear(512, 512), nn.Sigmoid()).to(device)
x = torch.rand(4096, 512, device=device)
{code}
"""


@pytest.mark.parametrize(
    "code",
    [
        "def loss_of(x):\n    return net(x).mean()\nloss = loss_of(x)\nloss.backward()",
        "for _ in range(2):\n    loss = net(x).mean()\n    (loss / 2).backward()",
        "out = net(x)\nloss = out.mean()\nscaler = torch.amp.GradScaler('cuda')\nscaler.scale(loss).backward()",
        "net(x).mean().backward()",
        "class Step(nn.Module):\n    def forward(self, x):\n        return net(x).mean()\nstep = Step()\nstep(x).backward()",
    ],
)
def test_what_is_learned_from_keeps_its_graph(code, tmp_path):
    _, found = run(LEARNS.format(code=code), tmp_path, mib=24)
    assert found.culprit == "the size of the step" and "no_grad" not in str(found)


def test_layers_one_after_the_other_are_no_growth(tmp_path):
    code = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(512, 512) for _ in range(9))
    def forward(self, x):
        seen = []
        for layer in self.layers:
            x = layer(x).sigmoid()
            seen.append(x)
        return sum(seen)
net = Net().to(device)
net(torch.rand(2048, 512, device=device)).mean().backward()
"""
    _, found = run(code, tmp_path, mib=48)
    assert found.culprit == "the size of the step"


def test_small_things_that_grow_are_not_blamed(tmp_path):
    code = """net = nn.Linear(512, 512).to(device)
losses = []
for step in range(3):
    loss = net(torch.rand(16, 512, device=device)).mean()
    loss.backward()
    losses.append(loss)
torch.rand(2**24, device=device)
"""
    _, found = run(code, tmp_path, mib=32)
    assert found.culprit != "losses"


def test_of_very_many_graphs_a_part_is_counted_and_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "MOST_NODES", 30)
    code = """net = nn.Linear(512, 512).to(device)
losses = []
for step in range(60):
    losses.append(net(torch.rand(512, 512, device=device)).exp().mean())
"""
    _, found = run(code, tmp_path, mib=32)
    assert found.culprit == "losses" and ", more than " in found.what


def test_another_simulation_is_not_needed_to_know_where_the_sums_are_from():
    with simulate_gpu("Tesla T4"), pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**40, dtype=torch.uint8, device="cuda")
    assert "[simulated, Tesla T4]" in explain(caught.value).sums


ASCEND = (
    "RuntimeError: NPU out of memory. Tried to allocate 268.00 MiB (NPU 0; 60.97 GiB total capacity; 59.69 GiB already "
    "allocated; 92.38 MiB free; 60.02 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting "
    "max_split_size_mb to avoid fragmentation."
)


def test_an_ascend_card_has_a_variable_of_its_own():
    said = str(explain(ASCEND))
    assert "PYTORCH_NPU_ALLOC_CONF" in said and "PYTORCH_CUDA_ALLOC_CONF" not in said
