"""One error in every form in which it is shown and pasted: name, message, line and code are found in each."""

import html
import json
import time
from pathlib import Path

import pytest
import yaml

from devicelab.explain import explain
from devicelab.explain.lines import MOST
from devicelab.explain.tracebacks import judged, told_in

pytestmark = pytest.mark.text

SHOWN = yaml.safe_load((Path(__file__).parents[1] / "data" / "pasted_forms.yaml").read_text("utf-8"))
MESSAGE = (
    "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
    "(when checking argument in method wrapper_CUDA_addmm)"
)
PLAIN = f"""Traceback (most recent call last):
  File "/home/kim/p/train.py", line 9, in <module>
    step(x)
  File "/home/kim/p/train.py", line 2, in step
    y = model(x)
        ^^^^^^^^
  File "/opt/py/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 125, in forward
    return F.linear(input, self.weight, self.bias)
RuntimeError: {MESSAGE}
"""
SECONDS = 1.0  # for a megabyte
LINES = PLAIN.splitlines(keepends=True)


def prefixed(*prefixes: str) -> str:
    return "".join(prefix + line for line in LINES for prefix in prefixes)


def clocked(form: str) -> str:
    return "".join(form.format(number, number * number * 7) + line for number, line in enumerate(LINES))


BESIDE = (
    "/home/kim/p/train.py:3: UserWarning: CUDA capability sm_120 is not compatible with the current PyTorch installation.\n"
    "  warnings.warn(\n"
)
IGNORED = """Exception ignored in: <function Loader.__del__ at 0x7f>
Traceback (most recent call last):
  File "/opt/py/lib/python3.11/site-packages/torch/utils/data/dataloader.py", line 1477, in __del__
    self._shutdown_workers()
AssertionError: can only test a child process
"""
TORCHRUN = """W0102 10:00:00.1 140 torch/elastic/api.py:900] Sending process 141 SIGTERM
Traceback (most recent call last):
  File "/opt/py/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
=====
train.py FAILED
"""
OTHER = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    x\nNameError: x\n\n'
MADE = {
    "plain": PLAIN,
    "rank": prefixed("[rank0]: "),
    "two ranks at once": prefixed("[rank0]: ", "[rank1]: "),
    "docker compose": prefixed("trainer-1  | "),
    "a container beside another": "".join(f"redis-1    | Ready\ntrainer-1  | {line}" for line in LINES),
    "ray": prefixed("\x1b[36m(train pid=123)\x1b[0m "),
    "ray on another node": prefixed("(RayTrainWorker pid=123, ip=10.0.0.7) "),
    "quoted": prefixed("> "),
    "clock": clocked("2025-01-02T10:00:0{}.{}Z "),
    "clock of a log": clocked("2025-01-02 10:00:0{},{:03d} ERROR trainer: "),
    "kubernetes": clocked("2025-01-02T10:00:0{}.{}Z stderr F "),
    "journal": clocked("Jan 02 10:00:0{} host python[{}]: "),
    "indented": prefixed("    "),
    "without indentation": "".join(line.lstrip() for line in LINES),
    "windows' line ends": PLAIN.replace("\n", "\r\n"),
    "windows' folders": PLAIN.replace("/home/kim/p/", "D:\\jobs\\").replace("/opt/py/lib", "C:\\py\\Lib"),
    "json": json.dumps({"level": "error", "exc": PLAIN}),
    "html": f'<pre><code class="x">{html.escape(PLAIN)}</code></pre>',
    "german": f"Hallo, ich bekomme diesen Fehler:\n\n{PLAIN}\nWas mache ich falsch? Vielen Dank!\n",
    "chinese": f"大家好，我的代码报错了：\n```\n{PLAIN}```\n请问怎么解决？\n",
    "arabic": f"\u202bمرحبا، عندي خطأ:\n{PLAIN}\u202bكيف أحله؟\n",
    "warnings around it": f"{BESIDE}{PLAIN}/opt/x.py:1: FutureWarning: CUDA out of memory soon\n",
    "an ignored error after it": PLAIN + IGNORED,
    "torchrun's report after it": prefixed("[rank0]: ") + TORCHRUN,
    "another traceback before it": OTHER + PLAIN,
    "a long log before it": "epoch 1: loss 0.1 in 3 s\n" * 20_000 + PLAIN,
    "a long log after it": PLAIN + "epoch 1: loss 0.1 in 3 s\n" * 20_000,
}  # fmt: skip
MADE |= {
    "slurm": prefixed("0: "),
    "mpirun": prefixed("[1,0]<stderr>:"),
    "kubectl": prefixed("[pod/worker-0/trainer] "),
    "a rank of a node": prefixed("node-0: [rank3]: "),
    "airflow": clocked("[2025-01-02, 10:00:0{} UTC] {{subprocess.py:{}}} INFO - "),
    "vllm": prefixed("(EngineCore_0 pid=77) ERROR 04-07 00:57:46 [core.py:390] "),
    "powershell": "python : Traceback (most recent call last):\n+ CategoryInfo : NotSpecified: (Traceback "
    "(most recent call last)::String) [], RemoteException\n" + "".join(LINES[1:]),
    "comfyui": f"!!! Exception during processing !!! {MESSAGE}\n{PLAIN}\nPrompt executed in 3.2 seconds\n",
    "comfyui's report": f"- **Exception Type:** RuntimeError\n- **Exception Message:** {MESSAGE}\n## Stack Trace\n"
    + "".join(LINES[1:-1]),
    "comfyui's report of 2023": f"Error occurred when executing KSampler:\n\n{MESSAGE}\n\n"
    + "".join(LINES[1:-1]),
    "the web interface": f"*** Error completing request\n*** Arguments: ('task', 1) {{}}\n{prefixed('    ')}\n---\n",
    "hydra": f"Error executing job with overrides: ['a=b']\n{PLAIN}\nSet the environment variable HYDRA_FULL_ERROR=1\n",
    "russian": f"Здравствуйте, при запуске выдаёт ошибку:\n{PLAIN}Что делать?\n",
    "japanese": f"エラーが出ます。\n{PLAIN}どうすればいいですか？\n",
    "a progress bar before it": f"Epoch 1:   0%|          | 0/10 [00:00<?, ?it/s]{PLAIN}",
}
FORMS = MADE | SHOWN
RUNNING_ON = (
    "json",
    "arabic",
    "russian",
    "japanese",
    "a long log after it",
)  # nothing shows where the message ends


@pytest.mark.parametrize("name", FORMS)
def test_the_error_its_message_and_its_line_are_found(name):
    found = judged(told_in(FORMS[name]))
    said = " ".join(found.message.split())
    if name.startswith("comfyui's report"):  # the name stands above, where the parser sees no exception
        assert not found.name
    elif name == "compiled":
        assert found.name.endswith("TorchRuntimeError") and "found two different devices" in said
    else:
        assert found.name.endswith("RuntimeError")
        assert said == MESSAGE or (name in RUNNING_ON and said.startswith(MESSAGE))
    assert found.own.file in ("train.py", "cell [5]") and found.own.code.startswith(
        ("y = model(x)", "raise RuntimeError")
    )
    assert found.own.line == {"y": 2, "r": 6}[found.own.code[0]] or "cell" in found.own.file


@pytest.mark.parametrize("name", FORMS)
def test_it_is_explained_as_what_it_is(name):
    found = explain(FORMS[name])
    assert found.kind == "mismatch" and found.line
    if found.code == "y = model(x)" and name != "compiled":
        assert (found.culprit, found.fix) == ("x", 'x = x.to("cuda")')
    assert "/home/kim" not in str(found)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (f'It said "RuntimeError: {MESSAGE}", and now I get KeyError: 1', "KeyError", "1"),
        (f"Warum kommt RuntimeError: {MESSAGE}", "RuntimeError", MESSAGE),
        (f"2025-01-02 10:00:00,123 ERROR root RuntimeError: {MESSAGE}", "RuntimeError", MESSAGE),
        (f"[rank0]: RuntimeError: {MESSAGE}", "RuntimeError", MESSAGE),
        (f"{PLAIN}\nI also saw KeyError: 1", "RuntimeError", MESSAGE),
    ],
)
def test_the_last_error_that_a_sentence_names_is_judged_where_there_is_no_traceback(text, name, message):
    found = judged(told_in(text))
    assert (found.name, found.message) == (name, message)


def test_an_arrow_of_letters_that_every_terminal_has():
    lines = (
        "╭── Traceback (most recent call last) ──╮",
        "│ D:\\sd\\f.py:34 in f │",
        "│   33 │ try: │",
        "│ > 34 │   y = net(x) │",
    )
    box = "\n".join((*lines, "╰───────────╯\n"))
    found = explain(f"{box}RuntimeError: {MESSAGE}")
    assert (found.culprit, found.line, found.file) == ("x", 34, "f.py")


def test_a_cell_as_ipython_8_and_vs_code_call_it():
    arrow = "\n      2 import torch\n----> 4 y = model(x)\n\n"
    for cell in ("Input In [10], in <cell line: 4>()", "a.ipynb Cell 10' in <cell line: 4>()"):
        found = explain(f"{cell}{arrow}RuntimeError: {MESSAGE}")
        assert (found.line, found.file, found.culprit) == (4, "cell [10]", "x")


def test_a_line_that_only_asks_for_a_card_is_known_by_its_code():
    text = PLAIN.replace("y = model(x)", "assert(torch.cuda.is_available())").partition('  File "/opt')[0]
    assert explain(f"{text}AssertionError\n").kind == "program finds no gpu"


@pytest.mark.parametrize("prefix", ["#0 16.34 ", "1.181 "])
def test_what_a_dockerfile_prints_below_an_error_is_no_error(prefix):
    steps = (
        "------\nDockerfile:27\n--------------------\n  26 |     COPY . .\n  27 | >>> RUN python train.py\n"
    )
    built = prefixed(prefix) if prefix[0] == "#" else "".join(prefix + line for line in LINES[1:])
    found = explain(built + steps)
    assert (found.kind, found.culprit, found.line) == ("mismatch", "x", 2)


def test_a_build_that_fails_is_explained_by_what_the_compiler_said():
    text = PLAIN.replace(f"RuntimeError: {MESSAGE}", "RuntimeError: Error compiling objects for extension")
    said = "nvcc fatal   : Unsupported gpu architecture 'compute_89'\n"
    found = explain(said + text)
    assert (found.kind, found.earlier) == (
        "nvcc older than the card",
        "the RuntimeError that ended it reports this",
    )
    assert (
        explain(text).kind == "unknown"
        and explain(said + text.replace("compiling", "drawing")).kind == "unknown"
    )


@pytest.mark.parametrize("at", [9, 60, 130])
def test_a_message_that_a_terminal_broke_within_words(at):
    broken = f"{MESSAGE[:at]}\n{MESSAGE[at:]}"
    assert explain(PLAIN.replace(MESSAGE, broken)).culprit == "x"


def test_of_a_traceback_without_an_end_no_name_is_blamed():
    cut = "".join(LINES[:-1]).partition('  File "/opt')[0]
    found = explain(f"!!! Exception during processing !!! {MESSAGE}\n{cut}")
    assert (found.culprit, found.line) == ("the input of the layer", 2) and "breaks off" in str(found)


CHAINED = f"""{PLAIN}
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/kim/p/main.py", line 7, in <module>
    log(errors["step"])
KeyError: 'step'
"""


def test_the_last_of_two_chained_errors_is_judged_and_the_earlier_one_named_as_earlier():
    first, last = told_in(CHAINED)
    assert (first.name, last.name, last.link) == ("RuntimeError", "KeyError", "context")
    found = explain(CHAINED)
    assert (found.kind, found.fix, found.line, found.file) == ("unknown", None, 7, "main.py")
    assert found.what == "This KeyError is not an error about devices."
    assert found.earlier == (
        "the RuntimeError before it at line 2 of train.py was: x, the input of the layer, is on cpu, but cuda:0 is needed here."
    )


def test_what_an_error_was_raised_from_on_purpose_is_judged():
    text = CHAINED.replace(
        "During handling of the above exception, another exception occurred",
        "The above exception was the direct cause of the following exception",
    )
    found = explain(text)
    assert (found.kind, found.line, found.culprit) == ("mismatch", 2, "x")
    assert found.earlier == "the KeyError that ended it was raised from this"


def test_all_lines_of_a_message_are_kept_and_the_log_below_is_not():
    text = PLAIN.replace(
        MESSAGE,
        "CUDA error: unknown words\nCompile with `TORCH_USE_CUDA_DSA`.\n  indented\n\nWhat now?\n2025-01-02 10:00:00 INFO done",
    )
    assert (
        told_in(text)[0].message == "CUDA error: unknown words\nCompile with `TORCH_USE_CUDA_DSA`.\nindented"
    )


def test_torchs_printed_source_is_no_message():
    text = PLAIN.replace(
        "return F.linear(input, self.weight, self.bias)",
        'if str(e) == "Cannot copy out of meta tensor; no data!":',
    )
    assert explain(text.replace(f"RuntimeError: {MESSAGE}", "KeyError: 'lr'")).kind == "unknown"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the text is empty"),
        ("   \n\t\n", "the text is empty"),
        ("\x00\x01\x02\xff" * 1000, "This is no text"),
        ("\ufffd" * 1000, "This is no text"),
        ("hello there", "neither a traceback nor"),
        ("<script>alert(1)</script>" * 100, "neither a traceback nor"),
        (PLAIN.rpartition("RuntimeError")[0], "the traceback breaks off"),
    ],
)
def test_what_holds_no_error_is_answered_with_a_sentence(text, words):
    found = explain(text)
    assert not found.known and found.fix is None and words in str(found)
    assert "<script" not in found._repr_html_()


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "\x1b[31m",
        "<a ",
        "[a](http:",
        "│ a │\n",
        "Traceback (most recent call last):\n",
        "  + ",
        "\n",
        "> ",
    ],
)
def test_no_text_takes_more_than_its_length_says_and_ten_megabytes_are_cut(unit):
    """The second that a megabyte may take is measured by benchmarks/bench_explain.py; here only what would not end counts."""
    for size in (1_000_000, 10 * MOST // 2):
        text = (unit * (size // len(unit) + 1))[:size]
        began = time.process_time()
        explain(f"{text}\n{PLAIN}")
        assert time.process_time() - began < 20 * SECONDS


def test_a_traceback_before_ten_megabytes_of_log_is_found():
    found = explain(PLAIN + "epoch 1: loss 0.1 in 3 s\n" * 400_000)
    assert (found.kind, found.line) == ("mismatch", 2)


def test_a_device_that_was_typed_in_capitals_from_memory_is_read():
    found = explain(
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and CPU!"
    )
    assert found.kind == "mismatch"
    assert "on cpu, but cuda:0 is needed" in found.what


SPAWNED = """Traceback (most recent call last):
  File "/home/kim/p/train.py", line 9, in <module>
    mp.spawn(work, args=(2,), nprocs=2)
  File "/opt/py/lib/python3.11/site-packages/torch/multiprocessing/spawn.py", line 215, in join
    raise ProcessRaisedException(msg, error_index, failed_process.pid)
torch.multiprocessing.spawn.ProcessRaisedException:

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "/opt/py/lib/python3.11/site-packages/torch/multiprocessing/spawn.py", line 90, in _wrap
    fn(i, *args)
  File "/home/kim/p/train.py", line 5, in work
    x = torch.zeros(3, device=torch.device("cuda", rank))
RuntimeError: CUDA error: invalid device ordinal

"""
OTHER_RANK = """Process SpawnProcess-1:
Traceback (most recent call last):
  File "/home/kim/p/train.py", line 7, in work
    y = model(x)
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!
"""


@pytest.mark.parametrize("text", [SPAWNED, SPAWNED + OTHER_RANK], ids=["alone", "before another rank's"])
def test_the_process_that_spawn_names_is_explained(text):
    found = explain(text)
    assert (found.kind, found.line, found.fix) == ("ordinal", 5, "nprocs=torch.cuda.device_count()")


def test_an_error_that_came_of_a_spawned_processs_is_the_last_one():
    after = SPAWNED + "During handling of the above exception, another exception occurred:\n\n" + OTHER_RANK
    assert explain(after).kind == "mismatch"


WORKER = """RuntimeError: Caught RuntimeError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/home/kim/p/data.py", line 11, in __getitem__
    {}
RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, use 'spawn'
"""


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("return self.x[i].to(device), self.y[i].cuda()", "return self.x[i], self.y[i]"),
        ('return torch.tensor(self.x[i], device="cuda")', "return torch.tensor(self.x[i])"),
        ("return read(self.names[i])", "DataLoader(..., num_workers=0)"),
    ],
)
def test_a_worker_is_mended_in_the_data_set_so_that_batches_are_moved_as_a_whole(code, fix):
    found = explain(WORKER.format(code))
    assert (found.kind, found.fix) == ("fork", fix)
    assert ("move each batch" in found.fix_at) is ("num_workers" not in fix)


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("ck = torch.load('ck.pt')", "ck = torch.load('ck.pt', map_location=\"cpu\")"),
        ("net.load_state_dict(torch.load(f'é_{n}.pt', weights_only=True)['net'])",
         "net.load_state_dict(torch.load(f'é_{n}.pt', weights_only=True, map_location=\"cpu\")['net'])"),
        ("ck = torch.load(path, map_location='cuda:1')", 'torch.load(path, map_location="cpu")'),
    ],
)  # fmt: skip
def test_the_line_that_loads_a_checkpoint_is_kept_as_it_is_written(code, fix):
    words = "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False."
    found = explain(
        f'Traceback (most recent call last):\n  File "t.py", line 4, in <module>\n    {code}\nRuntimeError: {words}'
    )
    assert found.fix == fix


@pytest.mark.parametrize("unit", ["x", "RuntimeError: ", "a b: "])
def test_one_line_of_twenty_megabytes_is_cut(unit):
    start = time.perf_counter()
    assert explain(unit * (20_000_000 // len(unit))).kind == "unknown"
    assert time.perf_counter() - start < 5  # it takes a third of a second; uncut it took 24


REPORTED = """Exception in thread Thread-1 (_pin_memory_loop):
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/torch/multiprocessing/reductions.py", line 514, in rebuild_storage_filename
    storage = torch.UntypedStorage._new_shared_filename_cpu(manager, handle, size)
RuntimeError: unable to open shared memory object </torch_310_3681426278_102> in read-write mode: Too many open files (24)
Traceback (most recent call last):
  File "train.py", line 30, in <module>
    for x, y in loader:
  File "/env/lib/python3.11/site-packages/torch/utils/data/dataloader.py", line 1133, in _try_get_data
    raise RuntimeError("Pin memory thread exited unexpectedly")
RuntimeError: Pin memory thread exited unexpectedly
"""


def test_what_only_reports_another_threads_end_gives_way_to_its_error():
    assert explain(REPORTED).kind == "too many open files"
    assert (
        explain(REPORTED[REPORTED.index('Traceback (most recent call last):\n  File "train') :]).kind
        == "pin memory thread ended"
    )


CHECKOUT = """Traceback (most recent call last):
  File "/home/ann/project/{own}", line 12, in <module>
    main(x)
  File "/workspace/{library}", line 586, in run
    return self.op(x)
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!
"""


@pytest.mark.parametrize(
    "library",
    [
        "vllm-0.8.4/vllm/engine/llm.py",
        "transformers/src/transformers/trainer.py",
        "DeepSpeed/deepspeed/runtime/engine.py",
        "sglang/python/sglang/srt/utils.py",
    ],
)
def test_a_librarys_checkout_is_not_the_users_code(library):
    found = explain(CHECKOUT.format(own="train.py", library=library))
    assert (found.file, found.line) == ("train.py", 12)


def test_a_checkout_alone_is_its_developers_code():
    cut = CHECKOUT.format(own="", library="vllm/vllm/engine/llm.py").splitlines(keepends=True)
    assert explain("".join(cut[:1] + cut[3:])).file == "llm.py"


def test_a_folder_that_only_has_a_librarys_name_is_the_users():
    assert explain(CHECKOUT.format(own="train.py", library="transformers/models/mine.py")).file == "mine.py"
