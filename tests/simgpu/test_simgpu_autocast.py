"""autocast("cuda") on the simulated card, against PyTorch's own lists and its documented behaviour."""

import re
import threading
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.testing._internal.autocast_test_lists import AutocastTestLists

import devicelab as lab
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.rules import autocast as autocast_rules
from devicelab.simgpu.rules import autocast_lists

HEADER = Path(torch.__file__).parent / "include/ATen/autocast_mode.h"
LISTS = AutocastTestLists(torch.device("cpu"))
RUN_AS = {
    "torch_fp16": torch.float16,
    "nn_fp16": torch.float16,
    "linalg_fp16": torch.float16,
    "methods_fp16": torch.float16,
    "torch_fp32": torch.float32,
    "nn_fp32": torch.float32,
    "methods_fp32": torch.float32,
    "torch_need_autocast_promote": torch.float32,
    "torch_expect_builtin_promote": torch.float32,
}
MODULE = {"nn": torch._C._nn, "linalg": torch.linalg, "methods": torch.Tensor, "torch": torch}
NOT_HERE = {"cudnn_convolution", "cudnn_convolution_transpose", "einsum"}  # CUDA builds alone; einsum below


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("Tesla T4") as simulation:
        yield simulation


def to_card(value):
    """Move the tensors of an argument list to the card."""
    if isinstance(value, torch.Tensor):
        return value.cuda()
    return type(value)(map(to_card, value)) if isinstance(value, (list, tuple)) else value


def cast(value, dtype):
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return type(value)(cast(v, dtype) for v in value) if isinstance(value, (list, tuple)) else value


def cases():
    for name, dtype in RUN_AS.items():
        for number, (op, args, *rest) in enumerate(getattr(LISTS, name)):
            if op in NOT_HERE or not hasattr(MODULE[name.split("_")[0]], op):
                continue
            out = rest[0] if rest and isinstance(rest[0], torch.dtype) else dtype
            kwargs = rest[0] if rest and isinstance(rest[0], dict) else {}
            yield pytest.param(name, op, args, kwargs, dtype, out, id=f"{name}-{op}-{number}")


@pytest.mark.parametrize("name, op, args, kwargs, run_as, out", list(cases()))
def test_each_operator_of_pytorchs_own_list_runs_and_answers_in_the_type_it_names(
    name, op, args, kwargs, run_as, out
):
    function, args = getattr(MODULE[name.split("_")[0]], op), to_card(args)
    with torch.autocast("cuda", dtype=torch.float16):
        seen = function(*args, **kwargs)
        with torch.autocast("cuda", enabled=False):
            wanted = function(*cast(args, run_as), **kwargs)
    results = seen if isinstance(seen, (tuple, list)) else [seen]
    for result in results:
        if isinstance(result, torch.Tensor):
            assert (result.dtype, result.device) == (out, torch.device("cuda:0"))
    if out is run_as:
        torch.testing.assert_close(seen, wanted, rtol=0, atol=0, equal_nan=True)


def test_pytorchs_list_was_not_empty():
    assert len(list(cases())) > 90


def header_list(macro):
    """Return the names that a macro of PyTorch's own header lists, as "name" or "name.overload"."""
    body = re.search(rf"#define {macro}\(_\)(.*?)(\n\n|\Z)", HEADER.read_text(), re.DOTALL).group(1)
    entries = re.findall(r"_\(([^()]*)\)", body)
    return {re.sub(r"\s*,\s*", ".", entry.strip()) for entry in entries}


LATER = {"linalg_matrix_sqrth"}  # registered from 2.15 on, beside the lists of the header


@pytest.mark.skipif(not HEADER.exists(), reason="this build of torch ships no header files to compare with")
@pytest.mark.parametrize(
    "macro, names",
    [
        ("AT_FORALL_LOWER_PRECISION_FP", autocast_lists.LOWER_PRECISION),
        ("AT_FORALL_FP32", autocast_lists.FLOAT32),
        ("AT_FORALL_FP32_SET_OPT_DTYPE", autocast_lists.FLOAT32_OUTPUT),
        ("AT_FORALL_PROMOTE", autocast_lists.PROMOTE),
    ],
)
def test_our_lists_are_those_of_the_installed_torchs_header(macro, names):
    elsewhere = {"cudnn_convolution", "cudnn_convolution_transpose", "_cudnn_rnn"}  # in other files
    assert header_list(macro) - set(names) == set()
    if torch.__version__.startswith("2.13"):  # others have a few more or fewer
        named_dimensions = {name for name in names if "imname" in name}
        assert set(names) - header_list(macro) - named_dimensions - LATER <= elsewhere


def test_every_operator_that_the_installed_torch_treats_has_a_known_rule():
    from devicelab.simgpu.rules.autocast import _unknown, rule_of

    assert [name for name, rule in rule_of().items() if rule is _unknown] == []


def test_the_banned_loss_is_refused_in_pytorchs_words(card):
    card.stop()
    p = torch.rand(2)
    key = torch._C.DispatchKey.AutocastCUDA
    torch.set_autocast_enabled("cuda", True)
    torch._C._dispatch_tls_set_dispatch_key_included(key, True)  # now PyTorch's own kernel answers
    try:
        with pytest.raises(RuntimeError) as genuine:
            F.binary_cross_entropy(p, p)
    finally:
        torch._C._dispatch_tls_set_dispatch_key_included(key, False)
        torch.set_autocast_enabled("cuda", False)
    with simulate_gpu("Tesla T4"), torch.autocast("cuda"):
        with pytest.raises(RuntimeError) as ours:
            F.binary_cross_entropy(p.cuda(), p.cuda())
        assert F.binary_cross_entropy(p, p).device.type == "cpu"
    assert str(ours.value) == str(genuine.value)


def test_bfloat16_and_the_default_type():
    layer, x = torch.nn.Linear(2, 3).cuda(), torch.ones(1, 2, device="cuda")
    with torch.autocast("cuda"):
        assert layer(x).dtype is torch.float16
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert layer(x).dtype is torch.bfloat16
    assert layer(x).dtype is torch.float32


def test_einsum():
    a = torch.randn(2, 3, 4, device="cuda")
    with torch.autocast("cuda"):
        seen = torch.einsum("bij,bkj->bik", a, a)
    assert seen.dtype is torch.float16
    torch.testing.assert_close(seen, torch.einsum("bij,bkj->bik", a.half(), a.half()))


def test_nested_and_disabled_regions():
    a = torch.ones(2, 2, device="cuda")
    with torch.autocast("cuda"):
        with torch.autocast("cuda", enabled=False):
            assert not torch.is_autocast_enabled("cuda")
            assert torch.mm(a, a).dtype is torch.float32
        assert torch.is_autocast_enabled("cuda") and torch.is_autocast_enabled()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert torch.mm(a, a).dtype is torch.bfloat16
        assert torch.mm(a, a).dtype is torch.float16
    assert not torch.is_autocast_enabled("cuda")


def test_as_a_decorator():
    @torch.autocast("cuda")
    def product(a):
        return torch.mm(a, a)

    assert product(torch.ones(2, 2, device="cuda")).dtype is torch.float16


def test_float64_and_integers_are_left_alone():
    a = torch.ones(2, 2, device="cuda")
    with torch.autocast("cuda"):
        assert torch.mm(a.double(), a.double()).dtype is torch.float64
        assert (a.long() + a.long()).dtype is torch.int64


def test_a_tensor_of_another_half_type_is_refused_where_types_are_promoted():
    a = torch.ones(3, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16), pytest.raises(RuntimeError) as error:
        torch.dot(a.bfloat16(), a.half())
    assert str(error.value) == "Unexpected floating ScalarType in at::autocast::prioritize"


def test_an_output_type_that_the_caller_chose_is_respected():
    a = torch.ones(3, device="cuda", dtype=torch.float16)
    with torch.autocast("cuda"):
        assert torch.softmax(a, 0).dtype is torch.float32
        assert torch.softmax(a, 0, dtype=torch.float16).dtype is torch.float16
        assert torch.sum(a, dtype=torch.float16).dtype is torch.float16


def test_cpu_tensors_are_not_cast_by_autocast_for_cuda():
    a = torch.ones(2, 2)
    with torch.autocast("cuda"):
        assert torch.mm(a, a).dtype is torch.float32


def test_the_cards_tensors_are_not_cast_by_autocast_for_the_cpu():
    a = torch.ones(2, 2)
    on_card = a.cuda()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.mm(on_card, on_card).dtype is torch.float32
        assert torch.mm(a, a).dtype is torch.bfloat16
        assert torch.cat([on_card.half(), on_card]).dtype is torch.float32
        edge = {"pad": (1, 0), "mode": "reflect"}  # padding is in the CPU's list, not in CUDA's
        assert F.pad(on_card.bfloat16(), **edge).dtype is torch.bfloat16
        assert F.pad(a.bfloat16(), **edge).dtype is torch.float32
        assert torch.is_autocast_enabled("cpu") and not torch.is_autocast_enabled("cuda")
        with torch.autocast("cuda", dtype=torch.float16):
            assert torch.mm(on_card, on_card).dtype is torch.float16
            assert torch.mm(a, a).dtype is torch.bfloat16
            half = F.cross_entropy(on_card.half(), torch.zeros(2, dtype=torch.long, device="cuda"))
            assert half.dtype is torch.float32
        assert torch.mm(on_card, on_card).dtype is torch.float32
    assert torch.mm(a, a).dtype is torch.float32


def test_a_mixture_of_devices_still_raises():
    layer = torch.nn.Linear(2, 2).cuda()
    with (
        torch.autocast("cuda"),
        pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"),
    ):
        layer(torch.ones(1, 2))


def casts_of(weight, run):
    """Return how often `run` casts `weight` to float16."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._to_copy.default and args[0].data_ptr() == weight.data_ptr():
                seen.append(func)
            return func(*args, **(kwargs or {}))

    with Count():
        run()
    return len(seen)


@pytest.mark.parametrize("cache, wanted", [(True, 1), (False, 3)])
def test_the_cast_of_a_weight_is_kept_until_the_outermost_region_ends(cache, wanted):
    weight = torch.ones(2, 2, device="cuda", requires_grad=True)

    def run():
        with torch.autocast("cuda", cache_enabled=cache):
            for _ in range(2):
                torch.mm(weight, torch.ones(2, 2, device="cuda"))
            with torch.autocast("cuda", cache_enabled=cache):
                torch.mm(weight, torch.ones(2, 2, device="cuda"))

    assert casts_of(weight, run) == wanted
    assert casts_of(weight, lambda: (run(), run())) == 2 * wanted


def test_clearing_the_cache_and_a_changed_weight():
    weight = torch.ones(2, 2, device="cuda", requires_grad=True)
    with torch.autocast("cuda"):
        before = torch.mm(weight, weight)
        with torch.no_grad():
            weight.zero_()
        assert torch.equal(torch.mm(weight, weight), before)  # PyTorch's cache does not notice either
        torch.clear_autocast_cache()
        assert not torch.mm(weight, weight).any()


def test_the_gradient_arrives_in_the_type_of_the_weight():
    layer = torch.nn.Linear(4, 2).cuda()
    with torch.autocast("cuda"):
        loss = F.mse_loss(layer(torch.ones(3, 4, device="cuda")).relu(), torch.zeros(3, 2, device="cuda"))
    loss.backward()
    assert loss.dtype is torch.float32
    assert layer.weight.grad.dtype is torch.float32 and layer.weight.grad.device.type == "cuda"


@pytest.mark.parametrize("layer", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_recurrent_layers_answer_in_half_precision_as_cudnn_does(layer):
    net, x = layer(4, 3, num_layers=2, bidirectional=True).cuda(), torch.ones(5, 2, 4, device="cuda")
    with torch.autocast("cuda"):
        output, hidden = net(x)
    states = hidden if isinstance(hidden, tuple) else (hidden,)
    assert {t.dtype for t in (output, *states)} == {torch.float16}
    output.float().sum().backward()
    assert {p.grad.dtype for p in net.parameters()} == {torch.float32}
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, [5, 3])
    with torch.autocast("cuda"):
        assert net(packed)[0].data.dtype is torch.float16


def test_attention_and_a_transformer_layer():
    layer = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True).cuda()
    x = torch.randn(2, 3, 8, device="cuda")
    for mode in (layer.train(), layer.eval()):
        with torch.autocast("cuda"):
            y = mode(x)
        assert y.dtype is torch.float32 and y.device.type == "cuda"  # its last step is a layer norm
        with torch.autocast("cuda"):
            assert mode.self_attn(x, x, x)[0].dtype is torch.float16


def test_the_state_belongs_to_one_thread():
    a, seen = torch.ones(2, 2, device="cuda"), []

    def work():
        seen.append((torch.is_autocast_enabled("cuda"), torch.mm(a, a).dtype))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            seen.append((torch.is_autocast_enabled("cuda"), torch.mm(a, a).dtype))

    with torch.autocast("cuda"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert torch.mm(a, a).dtype is torch.float16
    assert seen == [(False, torch.float32), (True, torch.bfloat16)]


SEEN: list = []


class Seen(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, x):
        SEEN.append((x.dtype, torch.is_autocast_enabled("cuda")))
        return x * 1

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        SEEN.append((grad.dtype, torch.is_autocast_enabled("cuda")))
        return grad


def test_custom_fwd_casts_and_custom_bwd_restores():
    SEEN.clear()
    x = torch.ones(2, 2, device="cuda", requires_grad=True)
    with torch.autocast("cuda"):
        y = Seen.apply(torch.mm(x, x))
    y.sum().backward()
    assert [(torch.float32, False), (torch.float32, False)] == SEEN


def test_recomputation_of_a_checkpoint_uses_autocast_again():
    layer, x = torch.nn.Linear(2, 2).cuda(), torch.ones(1, 2, device="cuda", requires_grad=True)
    dtypes = []

    def block(value):
        dtypes.append(layer(value).dtype)
        return layer(value)

    with torch.autocast("cuda"):
        y = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    y.sum().backward()
    assert dtypes == [torch.float16, torch.float16]


def test_leaving_puts_torchs_own_kernels_and_functions_back(card):
    a = torch.ones(2, 2)
    card.stop()
    names = ("set_autocast_enabled", "is_autocast_enabled", "clear_autocast_cache")
    before = [getattr(torch, name) for name in names]
    registered = set(torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA"))
    with simulate_gpu("Tesla T4"), torch.autocast("cuda"), torch.autocast("cpu"):
        torch.mm(a.cuda(), a.cuda())
    assert [getattr(torch, name) for name in names] == before
    assert set(torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")) == registered
    with pytest.warns(UserWarning, match="CUDA is not available"), torch.autocast("cuda"):
        assert torch.mm(a, a).dtype is torch.float32
    with torch.autocast("cpu"):
        assert torch.mm(a, a).dtype is torch.bfloat16
        assert not torch.is_autocast_enabled("cuda")


def test_leaving_inside_a_region(card):
    a = torch.ones(2, 2)
    with torch.autocast("cuda"), torch.autocast("cpu"):
        card.stop()
        assert torch.mm(a, a).dtype is torch.bfloat16
    assert torch.mm(a, a).dtype is torch.float32
    assert not torch.is_autocast_enabled("cuda") and not torch.is_autocast_enabled("cpu")


def test_a_simulation_that_starts_inside_a_region():
    a = torch.ones(2, 2)
    with torch.autocast("cuda", dtype=torch.bfloat16), torch.autocast("cpu", dtype=torch.float16):
        with simulate_gpu("NVIDIA L4"):
            assert torch.mm(a.cuda(), a.cuda()).dtype is torch.bfloat16
            assert torch.mm(a, a).dtype is torch.float16
        assert torch.mm(a.cuda(), a.cuda()).dtype is torch.bfloat16
    assert torch.mm(a.cuda(), a.cuda()).dtype is torch.mm(a, a).dtype is torch.float32


def test_entering_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.autocast("cuda"):
            torch.mm(torch.ones(2, 2, device="cuda"), torch.ones(2, 2, device="cuda"))


# GradScaler


def scaled_step(model, optimizer, scaler, x):
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = model(x).float().square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss


@pytest.mark.parametrize("kind", ["foreach", "forloop", "fused"])
def test_the_scaler_trains_and_skips_the_step_where_a_gradient_is_infinite(kind):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2).cuda()
    options = {"foreach": {"foreach": True}, "forloop": {"foreach": False}, "fused": {"fused": True}}[kind]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, **options)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0, growth_interval=2)
    x = torch.ones(3, 4, device="cuda")
    losses = [scaled_step(model, optimizer, scaler, x).item() for _ in range(4)]
    assert losses[-1] < losses[0] and scaler.get_scale() == 4096.0
    before = model.weight.detach().clone()
    scaled_step(model, optimizer, scaler, x * torch.inf)
    assert torch.equal(model.weight, before) and scaler.get_scale() == 2048.0
    assert scaler._scale.device.type == "cuda"


def test_scaled_and_unscaled_training_agree():
    torch.manual_seed(0)
    start = torch.nn.Linear(4, 2)
    x = torch.randn(8, 4)
    trained = []
    for enabled in (True, False):
        model = torch.nn.Linear(4, 2)
        model.load_state_dict(start.state_dict())
        model.cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cuda", init_scale=256.0, enabled=enabled)
        for _ in range(3):
            scaled_step(model, optimizer, scaler, x.cuda())
        trained.append(model.weight.detach().cpu())
    torch.testing.assert_close(*trained)


def test_clipping_after_unscaling_and_the_errors_of_wrong_order():
    model = torch.nn.Linear(4, 2).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    with torch.autocast("cuda"):
        loss = model(torch.ones(1, 4, device="cuda")).sum()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    assert norm.device.type == "cuda" and norm.item() == pytest.approx(10**0.5, rel=1e-3)
    with pytest.raises(RuntimeError, match="has already been called on this optimizer since the last update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


def test_gradients_in_half_precision_are_refused():
    model = torch.nn.Linear(4, 2).cuda().half()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    scaler.scale(model(torch.ones(1, 4, device="cuda").half()).sum()).backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.step(optimizer)


def test_the_scalers_state_travels_through_a_checkpoint(tmp_path):
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0)
    scaler.scale(torch.ones(1, device="cuda"))
    torch.save(scaler.state_dict(), tmp_path / "scaler.pt")
    other = torch.amp.GradScaler("cuda")
    other.load_state_dict(torch.load(tmp_path / "scaler.pt"))
    assert other.get_scale() == 8.0


class ManyLayers(torch.nn.Module):
    """Layers whose autocast rules differ, in one network."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(11, 16)
        self.conv = torch.nn.Sequential(
            torch.nn.Conv1d(16, 16, 3, padding=1), torch.nn.BatchNorm1d(16), torch.nn.GroupNorm(4, 16)
        )
        self.back = torch.nn.ConvTranspose1d(16, 16, 3, padding=1)
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = torch.nn.LayerNorm(16)
        self.recurrent = torch.nn.LSTM(16, 16, batch_first=True)
        self.image = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.MaxPool2d(2)
        )
        self.join, self.out = torch.nn.Linear(4, 16), torch.nn.Linear(16, 5)

    def forward(self, words, image):
        x = self.back(F.gelu(self.conv(self.words(words).transpose(1, 2)))).transpose(1, 2)
        x = self.recurrent(self.norm(self.attention(x, x, x)[0]))[0]
        y = F.interpolate(self.image(image), scale_factor=2, mode="bilinear").mean((2, 3))
        return self.out(x + self.join(y)[:, None])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_many_layers_trains_and_stays_near_full_precision(dtype):
    torch.manual_seed(0)
    words, image, target = torch.randint(0, 11, (4, 6)), torch.randn(4, 1, 8, 8), torch.randint(0, 5, (24,))
    weights, finals = ManyLayers().state_dict(), []
    for enabled in (True, False):
        model = ManyLayers()
        model.load_state_dict(weights)
        model.cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        scaler = torch.amp.GradScaler("cuda", enabled=enabled and dtype is torch.float16, init_scale=1024.0)
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=dtype, enabled=enabled):
                out = model(words.cuda(), image.cuda())
                loss = F.cross_entropy(out.flatten(0, 1), target.cuda())
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
        assert out.dtype is (dtype if enabled else torch.float32) and loss.dtype is torch.float32
        assert losses[-1] < losses[0]
        finals.append(losses)
    assert finals[0] == pytest.approx(finals[1], abs=0.05)
    assert finals[0] != finals[1]  # the cast did happen


def test_function_transforms_and_inference_mode():
    w, batch = torch.randn(3, 3, device="cuda"), torch.randn(5, 3, device="cuda")
    with torch.autocast("cuda"):
        assert torch.func.vmap(lambda v: torch.mv(w, v))(batch).dtype is torch.float16
        gradient = torch.func.grad(lambda w: torch.mm(w, w).float().sum())(w)
        with torch.inference_mode():
            inferred = torch.mm(w, w)
    assert (gradient.dtype, gradient.device.type) == (torch.float32, "cuda")
    assert (inferred.dtype, inferred.device.type) == (torch.float16, "cuda")


def test_a_trace_hears_nothing_of_what_autocast_tries_on_the_cpu():
    autocast_rules.casts_keep_gradients.cache_clear()
    with simulate_gpu("T4"), lab.trace() as t:
        layer = torch.nn.Linear(2, 2, device="cuda")
        with torch.inference_mode(), torch.autocast("cuda"):
            layer(torch.ones(1, 2, device="cuda"))
    assert {one.device for one in t.operators} == {"cuda:0"}
