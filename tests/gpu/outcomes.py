"""Run small programs and print as JSON what came of each: `python outcomes.py real` or `python outcomes.py simulated`.

A process of its own for each side, so that neither sees the other's CUDA. `tests` and `tests/simgpu` must be on PYTHONPATH.
"""

import json
import sys

import torch

LINES = {
    # what a learner meets outside of operators
    "numpy": "C(2).numpy()",
    "array": "__import__('numpy').asarray(C(2))",
    "pin": "C(2).pin_memory()",
    "gradient of another device": "setattr(c(2), 'grad', C(2))",
    "generator": "torch.randn(2, device='cuda', generator=torch.Generator())",
    "no such card": "torch.zeros(1, device='cuda:7')",
    "no such device": "torch.zeros(1, device='gpu')",
    "to returns a copy": "(x := c(2), x.to('cuda'), x)[2]",
    "to itself": "(x := C(2)).to('cuda') is x",
    "module moves in place": "(m := nn.Linear(2, 2), w := m.weight, m.cuda().weight is w)[2]",
    "buffers are new tensors": "(m := nn.BatchNorm1d(2), b := m.running_mean, m.cuda().running_mean is b)[2]",
    "cuda is not cuda:0": "torch.device('cuda') == torch.device('cuda:0')",
    "a tensor on cuda is on cuda:0": "str(C(2).device)",
    "like": "torch.zeros_like(C(2))",
    "new": "C(2).new_ones(3)",
    "as_tensor in a context": "under(torch.device('cuda'), lambda: torch.as_tensor([1.0]))",
    "blocks of memory": "(a := torch.cuda.memory_allocated(), x := C(22), torch.cuda.memory_allocated() - a)[2]",
    "foreach by default": "torch.optim.Adam([C(2).requires_grad_()]).defaults['foreach']",
    "sum": "torch.arange(10., device='cuda').sum()",
    "matrix product": "torch.arange(6., device='cuda').view(2, 3) @ torch.arange(3., device='cuda')",
    "integers": "torch.arange(4, device='cuda').view(2, 2) @ torch.arange(4, device='cuda').view(2, 2)",
    "autocast": "under(torch.autocast('cuda'), lambda: nn.Linear(2, 2).cuda()(C(1, 2)).dtype)",
    "training": "stepped(torch.optim.SGD, 'cuda', 'cuda', lr=0.1).shape",
}


def under(context, function):
    """Call a function inside of a context."""
    with context:
        return function()


def programs() -> dict[str, str]:
    """Return all programs by name: the lines above, and the error and permission cases of the simulated card's own tests."""
    import test_simgpu_errors as cases

    found = dict(LINES)
    found |= {f"genuine: {name}": case["code"] for name, case in cases.GENUINE.items()}
    found |= {f"derived: {code}": code for code in cases.DERIVED}
    found |= {f"allowed: {code}": code for code in cases.ALLOWED}
    two_cards = torch.cuda.device_count() > 1
    return {name: code for name, code in found.items() if two_cards or not ("D(" in code or "cuda:1" in code)}


def outcome(code: str) -> list:
    """Return what a program does: ["raises", type, message] or ["gives", description]."""
    from test_simgpu_errors import NAMES

    try:
        value = eval(code, dict(NAMES, under=under))
    except Exception as error:
        return ["raises", type(error).__name__, str(error).split("\nCUDA kernel errors")[0]]
    if isinstance(value, torch.Tensor):
        shape, numbers = list(value.shape), value.detach().to_dense().double().flatten()[:16].tolist()
        return ["gives", str(value.device), str(value.dtype), shape, [round(number, 3) for number in numbers]]
    return ["gives", repr(value)]


def main(side: str) -> None:
    """Print {program: outcome}, and on which card."""
    if side == "simulated":
        from devicelab import simulate_gpu

        simulate_gpu("Tesla T4", count=int(sys.argv[2]))
    torch.manual_seed(0)
    results = {name: outcome(code) for name, code in programs().items()}
    print(json.dumps({"card": torch.cuda.get_device_name(0), "outcomes": results}))


if __name__ == "__main__":
    main(sys.argv[1])
