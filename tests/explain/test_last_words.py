"""What stands around an error counts where it says less itself: the last lines before a crash, NCCL's log, who handed it on."""

import pytest

from devicelab.explain import explain

pytestmark = pytest.mark.text

WARNING = (
    "[ctranslate2] [warning] The compute type inferred from the saved model is float16, "
    "but the target device or backend do not support efficient float16 computation."
)
CUDNN = (
    "Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, libcudnn_ops.so.9, libcudnn_ops.so}"
)
SYMBOL = "Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor"


@pytest.mark.parametrize(
    "end",
    ["Aborted (core dumped)", "fish: Job 1, terminated by signal SIGABRT (Abort)", "Segmentation fault"],
)
def test_the_last_lines_before_a_crash_count_before_a_warning(end):
    assert explain("\n".join([WARNING, CUDNN, SYMBOL, end])).kind == "cudnn part missing"


def test_without_a_crash_the_whole_text_counts():
    assert explain("\n".join([WARNING, "done"])).kind == "ctranslate2 float16"
    assert explain("\n".join([WARNING, "step 1", "Aborted (core dumped)"])).kind == "ctranslate2 float16"


NCCL = """(pid=11) RuntimeError: NCCL error in: ../torch/ProcessGroupNCCL.cpp:784, unhandled cuda error, NCCL version 2.7.8
(pid=12) host:12:91 [0] NCCL INFO Channel 00 : 0[2d000] -> 1[2e000] via P2P/IPC
(pid=12)
(pid=12) host:12:91 [0] transport/p2p.cc:238 NCCL WARN {warns}
"""


@pytest.mark.parametrize(
    ("warns", "kind"),
    [
        ("peer access is not supported between these two devices", "peer access refused"),
        ("something that nobody knows", "nccl cuda error"),
    ],
)
def test_what_nccl_warns_of_says_which_error_it_was(warns, kind):
    assert explain(NCCL.format(warns=warns)).kind == kind


def test_an_error_of_another_kind_is_not_judged_by_nccls_log():
    text = NCCL.format(warns="peer access is not supported between these two devices")
    assert (
        explain(
            text + '\nTraceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\nKeyError: 1\n'
        ).kind
        == "unknown"
    )


REPLICA = """Traceback (most recent call last):
  File "main.py", line 7, in <module>
    out = model(x)
  File "/opt/conda/lib/python3.7/site-packages/torch/_utils.py", line 395, in reraise
    raise self.exc_type(msg)
StopIteration: Caught StopIteration in replica 0 on device 0.
Original Traceback (most recent call last):
  File "/opt/conda/lib/python3.7/site-packages/torch/nn/parallel/parallel_apply.py", line 61, in _worker
    output = module(*input, **kwargs)
StopIteration
"""


def test_an_error_without_words_is_judged_by_who_handed_it_on():
    found = explain(REPLICA)
    assert (found.kind, found.file, found.line, found.earlier) == (
        "dataparallel parameters of a replica",
        "main.py",
        7,
        "",
    )


@pytest.mark.parametrize(
    ("text", "may_be"),
    [
        ("TypeError: json.dumps wants another output, and an input of its own", False),
        ("ValueError: timestamps of the relationship", False),
        ("RuntimeError: mps: something new", True),
        ("RuntimeError: something new of XLA:TPU", True),
        ("RuntimeError: NPU said no", True),
        ("RuntimeError: HIP said no", True),
        ("RuntimeError: Torch not compiled with MUSA enabled", True),
        ("RuntimeError: Offset increment outside graph capture encountered unexpectedly.", True),
    ],
)
def test_short_names_of_devices_count_as_words_only(text, may_be):
    assert ("that devicelab knows" in explain(text).what) is may_be
