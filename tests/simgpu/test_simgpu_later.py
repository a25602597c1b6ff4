"""Modules of torch that are loaded while a simulation runs, each in a process that has not loaded them: pytest has."""

import json
import subprocess
import sys
from textwrap import dedent

import pytest

START = """
import sys, threading, torch
from devicelab.simgpu import simulate_gpu
card = simulate_gpu()
loaded = "torch._dynamo" in sys.modules
"""
CASES = {
    "not needed": "assert not loaded; torch.ones(2, device='cuda') + 1; assert 'torch._dynamo' not in sys.modules",
    "an optimizer": """
        made = torch.ones(2, device="cuda", requires_grad=True)
        optimizer = torch.optim.Adam([made])
        assert "torch._dynamo" in sys.modules
        made.sum().backward(); optimizer.step()
        assert optimizer.state[made]["exp_avg"].device.type == "cuda"
    """,
    "a default device": """
        torch.set_default_device("cuda")
        torch.optim.SGD([torch.ones(2, requires_grad=True)])
        assert torch.ones(2).is_cuda and torch.zeros(1).device.index == 0
    """,
    "under a trace": """
        from devicelab import trace
        with trace() as seen:
            model = torch.nn.Linear(2, 2).cuda()
            optimizer = torch.optim.SGD(model.parameters())
            model(torch.ones(1, 2, device="cuda")).sum().backward(); optimizer.step()
        assert seen.training == ("cuda:0",), seen.training
    """,
    "a compiled function": """
        seen = torch.compile(lambda x: x + 1)(torch.ones(2, device="cuda"))
        assert seen.is_cuda
    """,
    "dynamo first": """
        import torch._dynamo
        try:
            torch._dynamo.explain(lambda x: x)(torch.ones(2))
        except Exception as error:
            assert "is not simulated" in str(error), error
        else:
            raise AssertionError("nothing was refused")
        assert torch._dynamo.optimize("eager")(lambda x: x + 1)(torch.ones(2, device="cuda")).is_cuda
    """,
    "an extension": """
        from torch.utils.cpp_extension import CUDAExtension
        try:
            CUDAExtension("one", ["one.cu"])
        except Exception as error:
            assert "is not simulated" in str(error), error
        else:
            raise AssertionError("nothing was refused")
    """,
    "an export": """
        from torch.export import export
        try:
            export(torch.nn.Linear(2, 2), (torch.ones(1, 2),), strict=True)
        except Exception as error:
            assert "is not simulated" in str(error), error
        else:
            raise AssertionError("nothing was refused")
    """,
    "torch's tests": """
        from torch.testing._internal.common_cuda import TEST_CUDA
        from torch.testing._internal.common_device_type import get_device_type_test_bases
        assert TEST_CUDA and "cuda" in [base.device_type for base in get_device_type_test_bases()]
        torch.optim.SGD([torch.ones(2, requires_grad=True)])
    """,
    "another thread": """
        def work():
            seen.append("torch._dynamo" in sys.modules)
            while not done.is_set():
                torch.zeros(1, device="cuda")
        seen, done = [], threading.Event()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        import torch.distributed.fsdp, torch.distributed.checkpoint
        done.set(); thread.join()
        assert seen == [True]
    """,
    "a thread without a name": """
        import _thread
        seen, done = [], _thread.allocate_lock(); done.acquire()
        _thread.start_new_thread(lambda: (seen.append("torch._dynamo" in sys.modules), done.release()), ())
        done.acquire()
        assert seen == [True]
    """,
    "afterwards": """
        before = list(sys.meta_path)
        torch.optim.SGD([torch.ones(2, requires_grad=True)])
        card.stop()
        assert len(sys.meta_path) == len(before) - 1
        assert torch._dynamo.eval_frame._callback_from_stance.__module__ == "torch._dynamo.eval_frame"
        assert torch._dynamo.explain.__module__ == "torch._dynamo.eval_frame"
        graphs = []
        def backend(graph, inputs):
            graphs.append(graph)
            return graph.forward
        torch.compile(lambda x: torch.zeros_like(x) + x, backend=backend, fullgraph=True)(torch.ones(2))
        assert len(graphs) == 1
    """,
    "a module that fails": """
        import torch._dynamo, types
        torch.__path__.append(str(sys.argv[1]))
        open(sys.argv[1] + "/broken.py", "w").write("raise ValueError('broken')")
        try:
            import torch.broken
        except ValueError:
            pass
        assert torch.cuda.is_available() and torch.ones(2, device="cuda").is_cuda
    """,
    "a module that computes": """
        from devicelab import trace
        torch.__path__.append(str(sys.argv[1]))
        open(sys.argv[1] + "/computes.py", "w").write("import torch; torch.ones(2) + 1")
        with trace() as seen:
            import torch.computes
            torch.ones(2) * 2
        assert {operator.name for operator in seen.operators} == {"aten::ones", "aten::mul"}, seen
        assert sum(operator.count for operator in seen.operators) == 2
    """,
}


# A Python that has loaded torch alone, which is most of a short run, and forks for each case where it can.
FORKING = """
import json, os, subprocess, sys, torch
import devicelab.simgpu
for script in json.load(sys.stdin):
    command = [sys.executable, script, os.path.dirname(script)]
    if not hasattr(os, "fork"):
        print(json.dumps(subprocess.run(command, stderr=subprocess.STDOUT, text=True, stdout=-1).stdout), flush=True)
        continue
    out, into = os.pipe()
    if os.fork() == 0:
        os.dup2(into, 1), os.dup2(into, 2), os.close(out)
        sys.argv = command[1:]
        exec(compile(open(script).read(), script, "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    os.close(into)
    print(json.dumps(open(out).read()), flush=True)
    os.wait()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Run all cases, one after the other, and return what each printed."""
    folder = tmp_path_factory.mktemp("later")
    scripts = [folder / str(number) / "script.py" for number in range(len(CASES))]
    for script, case in zip(scripts, CASES.values(), strict=True):
        script.parent.mkdir()
        script.write_text(START + dedent(case) + "\nprint('WHOLE')\n")
    command = [sys.executable, "-c", FORKING]
    done = subprocess.run(
        command, input=json.dumps([*map(str, scripts)]), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_what_is_loaded_while_a_card_is_simulated(name, said):
    assert "WHOLE" in said[name].splitlines(), said[name]
