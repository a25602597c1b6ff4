"""Whether every operator refuses mixed devices by the check that PyTorch publishes for it, whatever is mixed.

The expectation is PyTorch's own code generator (torchgen, shipped with torch): it is run here, and the C++ that it writes for the
CUDA build says which arguments each kernel checks, in which order, and under which name.
"""

import os
import random
import re
import warnings
import zlib
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest
import torch
import torchgen
import yaml
from opdb import op_db
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torchgen.dest.register_dispatch_key import RegisterDispatchKey
from torchgen.gen import get_grouped_native_functions, parse_native_yaml
from torchgen.model import DispatchKey, NativeFunctionsGroup
from torchgen.selective_build.selector import SelectiveBuilder
from torchgen.utils import Target

from devicelab.explain.reading import read
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.marks.marks import Adoptable, tag_of
from devicelab.simgpu.rules import by_name, nondeterministic
from devicelab.simgpu.rules import published as kernels

KEYS = ("CUDA", "SparseCUDA", "SparseCsrCUDA", "QuantizedCUDA")
SAMPLES = 6  # of each operator in PyTorch's operator database
MIXES = 3  # of each sample
CHECK = re.compile(r'check_and_update_common_device\(common_device, \w+, "(\w+)", "(\w+)"\)')
ELSEWHERE = {
    "native_batch_norm": "CUDA's build calls cudnn_batch_norm instead",
    "grid_sampler_2d": "grid_sampler, a composite, checks before",
    "grid_sampler_3d": "grid_sampler, a composite, checks before",
    "searchsorted.Tensor": "the same, and then the sorter, which the generated check leaves out",
    "searchsorted.Scalar": "the same, and then the sorter, which the generated check leaves out",
    "segment_reduce": "the same for the data; lengths and offsets are checked by hand",
    "_weight_norm_interface": "_weight_norm, a composite, checks before",
    "_cholesky_solve_helper": "cholesky_solve checks before",
}


@dataclass
class Published:
    """What torchgen generates for CUDA: per key and operator the wrapper and the arguments it checks; who iterates."""

    wrappers: dict = field(default_factory=dict)
    iterators: set = field(default_factory=set)


@pytest.fixture(scope="module")
def published():
    root = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    parsed = parse_native_yaml(str(root / "native_functions.yaml"), str(root / "tags.yaml"))
    groups = get_grouped_native_functions(parsed.native_functions)
    result = Published()
    for key in KEYS:
        index = parsed.backend_indices[DispatchKey.parse(key)]
        definitions = dict(checks_of(text) for text in generated(index, Target.ANONYMOUS_DEFINITION, groups))
        names = [
            re.search(r'm\.impl\("([\w.]+)",\s*TORCH_FN\((\w+)\)', text)
            for text in generated(index, Target.REGISTRATION, groups)
        ]
        result.wrappers[key] = {name[1]: (name[2], definitions.get(name[2], ())) for name in names if name}
    for group in groups:
        if isinstance(group, NativeFunctionsGroup) and group.out.structured_inherits == "TensorIteratorBase":
            result.iterators |= {str(function.func.name) for function in group.functions()}
    return result


def generated(index, target, groups):
    """Return what torchgen writes for one dispatch key."""
    everything = SelectiveBuilder.get_nop_selector()
    generator = RegisterDispatchKey(index, target, everything, False, True, None, False)
    return [text for group in groups for text in generator(group)]


def checks_of(text):
    """Return the wrapper's name and the arguments that it checks, from the C++ of one wrapper."""
    found = CHECK.findall(text)
    name = found[0][0] if found else re.search(r"\b(wrapper_\w+)\(", text)[1]
    return name, tuple(argument for _, argument in found)


def overload(name):
    """Return torch.ops' operator for a name like "add.Tensor", or None where this build has none."""
    base, _, variant = name.partition(".")
    packet = getattr(torch.ops.aten, base, None)
    return getattr(packet, variant or "default", None)


@pytest.mark.parametrize("key", KEYS)
def test_wrapper_and_arguments_are_those_that_torchgen_generates(published, key):
    wrong, seen = [], 0
    for name, (wrapper, arguments) in published.wrappers[key].items():
        func = overload(name)
        if func is None:
            continue
        seen += 1
        found = kernels.kernel(func, key)
        if (found.checked or ()) != arguments or (arguments and found.wrapper != wrapper):
            wrong.append((name, found.wrapper, found.checked, wrapper, arguments))
    assert not wrong
    assert seen > {"CUDA": 1200, "SparseCUDA": 90, "SparseCsrCUDA": 60, "QuantizedCUDA": 30}[key]


class Record(TorchDispatchMode):
    """Notes every operator that reaches the simulated card, with the devices of its tensors.

    Tensors that C++ makes on the way are left out: they go where the others are.
    """

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        named = [
            (argument.name, value) for argument, value in zip(func._schema.arguments, args, strict=False)
        ]
        operands = []
        for name, value in [*named, *(kwargs or {}).items()]:
            for item in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(item, torch.Tensor) and not isinstance(tag_of(item), Adoptable):
                    operands.append((name, str(item.device), item.dim()))
        self.calls.append((func, operands))
        return func(*args, **(kwargs or {}))


def expected_error(published, func, operands):
    """Return what the published check says to these operands: a message, "" (nothing), or None (no published check)."""
    name = kernels.overload_name(func)
    if name in ELSEWHERE:
        return None
    wrapper, arguments = published.wrappers["CUDA"].get(name, ("", ()))
    if arguments:
        checked = [
            (argument, device) for argument in arguments for found, device, _ in operands if found == argument
        ]
        for argument, device in checked:
            if device != checked[0][1]:
                return (
                    f"Expected all tensors to be on the same device, but got {argument} is on {device}, different from "
                    f"other tensors on {checked[0][1]} (when checking argument in method {wrapper})"
                )
        return ""
    if name not in published.iterators or name.startswith("index."):
        return None
    outputs = [operand for operand in operands if operand[0] == "out"]
    ordered = outputs + [operand for operand in operands if operand[0] != "out"]
    common = next((device for _, device, _ in ordered if device != "cpu"), "cpu")
    strict = [
        device
        for number, (_, device, dim) in enumerate(ordered)
        if dim > 0 or device != "cpu" or (number == 0 and name.split(".")[0].endswith("_"))
    ]
    for device in strict:
        if device != common:
            return f"Expected all tensors to be on the same device, but found at least two devices, {common} and {device}!"
    return "" if len({device for _, device, _ in ordered}) == 1 else None


def mixed(value, choose):
    """Return the arguments with every tensor on a device of its own choice."""
    return tree_map(
        lambda item: item.detach().clone().to(choose()) if isinstance(item, torch.Tensor) else item, value
    )


def outcome(op, sample, devices, seed):
    """Run an operator with its tensors spread over the devices; return the recorded calls and the error, if any."""
    draw = random.Random(seed)
    arguments = mixed((sample.input, sample.args, sample.kwargs), lambda: draw.choice(devices))
    record = Record()
    try:
        with record, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            op.op(arguments[0], *arguments[1], **arguments[2])
    except (RuntimeError, NotImplementedError, IndexError) as error:
        return record.calls, error
    return record.calls, None


def judge(published, calls, error):
    """Return what is wrong with an outcome, or None."""
    for number, (func, operands) in enumerate(calls):
        wanted = expected_error(published, func, operands)
        raised = str(error) if error is not None and number == len(calls) - 1 else ""
        if wanted and wanted != raised:
            return f"{func}{operands}: wanted {wanted!r}, got {raised!r}"
        if wanted == "" and raised and read(raised):
            return f"{func}{operands}: nothing to refuse, but got {raised!r}"
    return None


def name_of(op):
    """Return the operator's name with its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def chosen(fraction):
    """Return the part of the operator database to test, always the same."""
    entries = [
        op for op in op_db if torch.float32 in op.supported_dtypes("cpu") and "jiterator" not in op.name
    ]
    return [op for op in entries if zlib.crc32(name_of(op).encode()) % 1000 < 1000 * fraction]


FRACTION = float(os.environ.get("DEVICELAB_OPDB_FRACTION", "0.1"))


@pytest.mark.parametrize("op", chosen(FRACTION), ids=name_of)
def test_a_random_mix_is_judged_by_the_published_check(published, op):
    samples = list(islice(op.sample_inputs("cpu", torch.float32), SAMPLES))
    with simulate_gpu(count=2):
        for number, sample in enumerate(samples):
            for mix in range(MIXES):
                devices = ("cpu", "cuda:0") if mix else ("cuda:0", "cuda:1", "cpu")
                calls, error = outcome(op, sample, devices, seed=10 * number + mix)
                assert judge(published, calls, error) is None


def test_no_published_check_is_overruled_without_a_reason(published):
    checked = {name for name, (_, arguments) in published.wrappers["CUDA"].items() if arguments}
    assert {name for name in checked if by_name.find(name, is_checked=True)} == set(ELSEWHERE)


def test_the_judgement_can_fail(published):
    func, operands = torch.ops.aten.mm.default, [("self", "cuda:0", 2), ("mat2", "cpu", 2)]
    assert judge(published, [(func, operands)], None) is not None
    refused = RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
    )
    assert judge(published, [(func, [("self", "cpu", 2), ("mat2", "cpu", 2)])], refused) is not None


@pytest.mark.slow
def test_pytorchs_own_error_inputs_that_mix_devices_are_refused():
    seen = 0
    with simulate_gpu():
        for op in op_db:
            for case in op.error_inputs("cuda") if op.error_inputs_func else ():
                sample = case.sample_input
                leaves = tree_flatten((sample.input, sample.args, sample.kwargs))[0]
                if len({str(leaf.device) for leaf in leaves if isinstance(leaf, torch.Tensor)}) > 1:
                    seen += 1
                    with pytest.raises(case.error_type, match=case.error_regex):
                        op.op(sample.input, *sample.args, **sample.kwargs)
    assert seen >= 10


def test_an_entry_that_is_read_alone_says_what_it_says_in_the_whole_file():
    root = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    whole = yaml.load((root / "native_functions.yaml").read_text("utf-8"), Loader=kernels.Loader)
    entries = {entry["func"].split("(")[0]: entry for entry in whole}
    assert dict(kernels.published()) == entries
    assert kernels.origins() == {
        derived.strip(): name
        for name, entry in entries.items()
        for derived in entry.get("autogen", "").split(",")
        if derived.strip()
    }


@pytest.mark.parametrize("name", [*by_name.BY_NAME, *nondeterministic.table()])
def test_every_rule_is_one_of_an_operator(name):
    base, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, base, None)
    assert packet is not None and (not overload or overload in packet.overloads())
