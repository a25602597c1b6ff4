"""The catalogue: each entry has its words, a source, and a text of somebody else's that leads to it."""

import re
import time
from pathlib import Path

import pytest
import yaml

from devicelab.explain import explain
from devicelab.explain.catalogue import MACHINES, SURE, entries, entry, find
from devicelab.explain.catalogue.entry import FROM_TEXT
from devicelab.explain.environment import FIXED
from devicelab.explain.reading import read

pytestmark = pytest.mark.text

TEXTS = yaml.safe_load((Path(__file__).parents[1] / "data" / "catalogue_texts.yaml").read_text("utf-8"))
ENTRIES = {one.id: one for one in entries()}
ADDRESS = re.compile(r"https://[\w.-]+/\S+")
WORDS = [(text, one.id) for one in entries() for text in one.words]


def test_each_entry_has_a_name_of_its_own_and_a_text():
    assert len(ENTRIES) == len(entries())
    assert set(TEXTS) == set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_all_that_it_must(name):
    one = ENTRIES[name]
    assert one.means.endswith(".") and one.why and one.sure in SURE
    assert one.source and all(ADDRESS.fullmatch(address) for address in one.source)
    assert "any" in one.do and set(one.do) <= {"any", *MACHINES}
    assert all(one.words.values()), "each wording says who uses it"
    assert one.sure != "no" or len(one.tell) > 1, "words with several causes say how to tell them apart"


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_another_thread_leads_to_the_entry(name):
    given = TEXTS[name]
    assert ADDRESS.fullmatch(given["thread"]) and given["thread"] not in ENTRIES[name].source
    assert find(given["text"]) is ENTRIES[name]


@pytest.mark.parametrize("name", TEXTS)
def test_what_explain_says_of_it(name):
    found, one = explain(TEXTS[name]["text"]), ENTRIES[name]
    assert found.helps and found.kind == one.kind and not found.seen
    if one.kind == one.id and read(TEXTS[name]["text"]) is None:
        assert found.what == one.means and found.sure == one.confidence and found.source == one.source[0]
        assert found.fix == one.do["any"] and found.tell == one.tell


@pytest.mark.parametrize("family", FIXED)
def test_a_family_without_an_answer_of_its_own_has_the_entrys(family):
    found, one = explain(TEXTS[family]["text"]), ENTRIES[family]
    assert (found.kind, found.culprit) == (family, FIXED[family])
    assert (found.what, found.why, found.fix) == (one.means, one.why, one.do["any"])


@pytest.mark.parametrize(("words", "name"), WORDS)
def test_each_wording_leads_to_its_own_entry(words, name):
    assert find(f"RuntimeError: {words.replace('...', '[0]')}") is ENTRIES[name]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_speaks_of_a_usual_cause_does_not_call_it_the_only_one(name):
    assert not (
        ENTRIES[name].sure == "yes" and re.search("most often|as a rule|usually", ENTRIES[name].means)
    )


SEVERAL = {
    "bf16 not on this card": ("sees no GPU", "before Ampere"),
    "shared memory object": ("ulimit -n", "/dev/shm"),
    "too many open files": ("ulimit -n", "set_sharing_strategy"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_words_of_two_causes_name_both(name):
    one = ENTRIES[name]
    said = " ".join((one.means, one.why, *one.tell, *one.do.values()))
    assert one.sure != "yes" and [words for words in SEVERAL[name] if words not in said] == []


LISTS = {
    "batch = batch.to(device)": (
        "'list' object has no attribute 'to'",
        "batch = [t.to(device) for t in batch]",
    ),
    "x = self.f(pair.cuda())": (
        "'tuple' object has no attribute 'cuda'",
        "pair = tuple(t.cuda() for t in pair)",
    ),
    "data['x'].to('cuda:1')": (
        "'dict' object has no attribute 'to'",
        "data['x'] = {k: v.to('cuda:1') for k, v in data['x'].items()}",
    ),
    "f(make(a).to(device))": ("'list' object has no attribute 'to'", "[t.to(device) for t in make(a)]"),
}


@pytest.mark.parametrize("code", LISTS)
def test_a_container_that_is_moved_is_answered_with_its_own_name(code):
    message, fix = LISTS[code]
    found = explain(
        f'Traceback (most recent call last):\n  File "t.py", line 3, in step\n    {code}\nAttributeError: {message}'
    )
    assert (found.kind, found.fix) == ("container moved", fix)


def test_a_list_that_is_moved_is_answered_where_it_happens():
    batch = [1]
    with pytest.raises(AttributeError) as seen:
        batch.to("cuda")
    assert explain(seen.value).fix == "batch = [t.to('cuda') for t in batch]"


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: cupy could not do it",
        "jax.errors.JaxRuntimeError: INTERNAL",
        "XlaRuntimeError: RESOURCE_EXHAUSTED: x",
    ],
)
def test_what_may_be_about_devices_is_not_said_to_be_something_else(text):
    assert "that devicelab knows" in explain(text).what


def test_no_wording_is_so_short_that_it_fits_anything():
    assert [words for words, _ in WORDS if len(words) < 12] == []


@pytest.mark.parametrize(
    "text",
    [
        "TypeError: forward() missing 1 required positional argument: 'mask'",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (8x768 and 512x10)",
        "RuntimeError: size mismatch, m1: [32 x 512], m2: [1024 x 10]",
        "RuntimeError: Expected 4-dimensional input for 4-dimensional weight [64, 3, 7, 7], but got 3-dimensional input",
        "RuntimeError: Trying to backward through the graph a second time",
        "RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation",
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
        "RuntimeError: expected scalar type Long but found Float",
        'RuntimeError: Error(s) in loading state_dict for ResNet: Missing key(s) in state_dict: "fc.weight"',
        "_pickle.UnpicklingError: invalid load key, '<'.",
        "_pickle.UnpicklingError: Weights only load failed.",
        "ModuleNotFoundError: No module named 'torchvision'",
        "ModuleNotFoundError: No module named 'transformers'",
        "ImportError: cannot import name 'packaging' from 'pkg_resources'",
        "ImportError: /lib64/libstdc++.so.6: version `GLIBCXX_3.4.29' not found",
        "OSError: [Errno 28] No space left on device",
        "OSError: We couldn't connect to 'https://huggingface.co' to load this file",
        "FileNotFoundError: [Errno 2] No such file or directory: 'data/train.csv'",
        "PermissionError: [Errno 13] Permission denied: '/root/.cache'",
        "MemoryError: Unable to allocate 12.0 GiB for an array with shape (40000, 40000)",
        "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 3.00 GiB",
        "ValueError: Expected more than 1 value per channel when training, got input size [1, 512]",
        "ValueError: Target size (torch.Size([8])) must be the same as input size (torch.Size([8, 1]))",
        "IndexError: Target 10 is out of bounds.",
        "IndexError: index out of range in self",
        "KeyError: 'pixel_values'",
        "RuntimeError: DataLoader worker (pid 1234) exited unexpectedly",
        "RuntimeError: Address already in use",
        "ValueError: Default process group has not been initialized, please make sure to call init_process_group.",
        "AttributeError: 'Trainer' object has no attribute 'gpus'",
        "AttributeError: module 'numpy' has no attribute 'bool'.",
        "pip: ERROR: Could not find a version that satisfies the requirement torch==1.7.1",
        "Killed",
        "Segmentation fault (core dumped)",
        "LinAlgError: Singular matrix",
        "The cuda kernels of the course are explained in lesson 3; a driver is a program.",
        "Epoch 1: loss 0.31, GPU memory 2.1 GB, using CUDA device 0",
    ],
)
def test_errors_of_other_kinds_are_not_in_it(text):
    assert find(text) is None


def test_areas_of_which_nobody_had_a_machine_say_so():
    for one in entries():
        assert ("from the text only" in one.confidence) is (one.area in FROM_TEXT)


def test_a_command_is_the_one_of_the_most_special_machine():
    one = entry("triton libcuda")
    assert one.command(["Linux"]) == one.do["any"]
    assert one.command(["Linux", "WSL"]) == one.do["WSL"]
    assert one.command(["Linux", "Colab", "container"]) == one.do["Colab"]


def test_the_time_grows_as_the_text_does():
    find("")
    line = "step 1: loss 0.5, You requested GPUs: CUDA error: libtorch_cuda.so undefined symbol: nothing\n"
    started = time.process_time()
    assert find(line * (1_000_000 // len(line))) is None
    assert time.process_time() - started < 1.5
