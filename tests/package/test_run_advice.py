"""`python -m devicelab run` on a training that stayed on the CPU: the proposed lines are typed in, and it runs on the card."""

import re

import pytest

HEAD = "import torch\nfrom torch import nn\n"
MADE = "model = nn.Linear(3, 2)\noptimizer = torch.optim.Adam(model.parameters())\n"
LOADER = "loader = torch.utils.data.DataLoader(list(zip(torch.rand(8, 3), torch.rand(8, 2))), batch_size=4)\n"


def body(*lines: str, indent: str = "    ") -> str:
    steps = (*lines, "loss.backward()", "optimizer.step()", "optimizer.zero_grad()")
    return "".join(f"{indent}{line}\n" for line in steps)


LOSS = "loss = nn.functional.mse_loss(model(x), y)"
SCRIPTS = {
    "a batch made before the loop": (
        f"{MADE}x, y = torch.rand(4, 3), torch.rand(4, 2)\nfor _ in range(3):\n{body(LOSS)}", ("model", "x and y")
    ),
    "a model that is sent to the CPU": (
        f"{MADE}model.to('cpu')\nx = torch.rand(4, 3); y = torch.rand(4, 2)\nfor _ in range(3):\n{body(LOSS)}", ("model",)
    ),
    "a loader": (f"{MADE}{LOADER}for x, y in loader:\n{body(LOSS)}", ("model", "x and y")),
    "a loader within epochs": (
        f"{MADE}{LOADER}for _ in range(2):\n    for x, y in loader:\n{body(LOSS, indent='        ')}", ("x and y",)
    ),
    "a batch that is taken apart": (
        f"{MADE}{LOADER}for batch in loader:\n{body('x, y = batch', LOSS)}", ("model",)
    ),
    "a batch in a dict": (
        f"{MADE}for _ in range(2):\n{body('batch = dict(input=torch.rand(4, 3))', 'loss = model(**batch).sum()')}", ("batch",)
    ),
    "a function": (
        f"def train(model, x, y):\n    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n    for _ in range(2):\n"
        f"{body(LOSS, indent='        ')}train(nn.Linear(3, 2), torch.rand(4, 3), torch.rand(4, 2))\n", ()
    ),
    "a step by step function": (
        f"{MADE}def step(model, x, y):\n{body(LOSS)}step(model, torch.rand(4, 3), torch.rand(4, 2))\n", ()
    ),
    "a trainer": (
        f"class Trainer:\n    def __init__(self): self.model = nn.Linear(3, 2)\n    def fit(self):\n"
        f"        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)\n        for _ in range(2):\n"
        f"{body('x = torch.rand(4, 3)', 'loss = self.model(x).sum()', indent='            ')}Trainer().fit()\n", ("x",)
    ),
    "a loss with weights": (
        f"{MADE}criterion = nn.CrossEntropyLoss(weight=torch.ones(2))\nx, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])\n"
        f"for _ in range(2):\n{body('loss = criterion(model(x), y)')}", ("model", "criterion")
    ),
    "a device that was chosen": (
        f"device = 'cpu'\n{MADE.replace('2)', '2).to(device)', 1)}{LOADER}for x, y in loader:\n"
        f"{body('x, y = x.to(device), y.to(device)', LOSS)}", ("model",)
    ),
    "a device that was chosen for a function": (
        f"device = torch.device('cpu')\n{MADE.replace('2)', '2).to(device)', 1)}def train():\n    for _ in range(2):\n"
        f"{body('loss = model(torch.rand(4, 3).to(device)).sum()', indent='        ')}train()\n", ()
    ),
}  # fmt: skip


def typed_in(code: str, notes: list[str]) -> str:
    """Return a script with the proposed lines in it."""
    lines = code.splitlines()
    for note in notes:
        if found := re.fullmatch(r"fix: in place of line (\d+): (.*)", note):
            lines[int(found[1]) - 1] = found[2]
    fixes = [found for note in notes if (found := re.fullmatch(r"fix: before line (\d+): (.*)", note))]
    for found in reversed(fixes):
        at = int(found[1]) - 1
        lines.insert(at, lines[at][: len(lines[at]) - len(lines[at].lstrip())] + found[2])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_proposed_makes_it_run_on_the_card(name, run_here):
    code, named = HEAD + SCRIPTS[name][0], SCRIPTS[name][1]
    _, data, err = run_here(code)
    assert data["verdict"] == "cpu" and "fix: " in err, err
    for word in named:
        assert re.search(rf"{word} (is|are) made at job|{word} comes? in at job", err), err
    ended, data, err = run_here(typed_in(code, data["notes"]), "--fail-on", "cpu,mixed,mismatch")
    assert (ended, data["verdict"]) == (0, "accelerator"), err


def test_a_device_from_elsewhere_gets_no_line_to_type(run_here):
    moved = body("loss = model(torch.rand(4, 3).to(given.device)).sum()")
    code = (
        f"{HEAD}{MADE}import types\ngiven = types.SimpleNamespace(device='cpu')\nfor _ in range(2):\n{moved}"
    )
    _, data, err = run_here(code)
    assert data["verdict"] == "cpu" and "model is made at job.py:3" in err and "fix:" not in err
