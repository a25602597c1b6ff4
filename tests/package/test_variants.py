import json

import pytest
import torch

from devicelab import compare, simulate_gpu
from devicelab.devices import Origin
from devicelab.errors import InputError
from devicelab.results import Timing, ahead
from devicelab.variants import Comparison, FunctionComparison, Setting, Variant

ARTICLE_LOSSES = 5  # epochs in the article


def article_example_1() -> float:
    """Train the article's first example by hand, in plain PyTorch, and return its last loss."""
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 2)
    data, labels = torch.randn(100, 10), torch.randn(100, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(ARTICLE_LOSSES):
        optimizer.zero_grad()
        loss = torch.nn.MSELoss()(model(data), labels)
        loss.backward()
        optimizer.step()
    return loss.item()


def test_the_three_variants_on_a_simulated_gpu():
    with simulate_gpu("Tesla T4"):
        result = compare(repeats=3)
    cpu, gpu, mismatched = (result[name] for name in ("cpu", "gpu", "mismatched"))
    assert cpu.device == "cpu" and cpu.timing.origin == "measured"
    assert gpu.device == "cuda:0" and gpu.timing.origin == "simulated"
    assert cpu.loss == pytest.approx(article_example_1(), rel=1e-6)
    assert gpu.loss == pytest.approx(cpu.loss, rel=1e-6)
    assert mismatched.error == (
        "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
        "(when checking argument in method wrapper_CUDA_addmm)"
    )
    assert mismatched.line == "outputs = model(data)"


def test_the_table_labels_every_number():
    with simulate_gpu("Tesla T4"):
        result = compare(repeats=2)
    text, page = str(result), result._repr_html_()
    for words in ("measured, cpu", "simulated, cuda:0 (Tesla T4)", "outputs = model(data)"):
        assert words in text and words in page
    assert "wrapper_CUDA_addmm" in text


def timed(name: str, seconds: float, low: float | None = None, high: float | None = None) -> Variant:
    origin: Origin = "measured" if low is None else "simulated"
    return Variant(name, name, origin, Timing((seconds,), 1, name, "", origin, 1, low, high), 1.0)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ((1e-4, 5e-5, 3e-4), "no clear winner: the CPU's time lies within the range of the simulated one"),
        ((2e-4,), "no clear winner: the samples overlap"),
        (
            (1e-5, 5e-6, 3e-5),
            "the GPU is ahead by a factor of 20.0 (CPU measured, GPU simulated: an estimate, not a proof)",
        ),
        ((1e-3, 5e-4, 3e-3), "the CPU is ahead by a factor of 5.00 (CPU measured, GPU simulated"),
        ((1e-4,), "the GPU is ahead by a factor of 2.00 (measured on both)"),
    ],
)
def test_the_sentence_claims_no_more_than_the_ranges_allow(gpu, words):
    variants = timed("cpu", 2e-4), timed("gpu", *gpu), Variant("mismatched", "-", "not run", skipped="no")
    assert words in str(Comparison(Setting(), variants))


def test_a_busy_machine_is_said_once_below_the_table():
    busy = Timing((1.0, 1.01, 1.02), 1, "cpu", "CPU", "measured", 1, load=3.0)
    variants = [Variant(name, "cpu", "measured", busy, 1.0) for name in ("cpu", "gpu", "mismatched")]
    text = str(Comparison(Setting(), tuple(variants)))
    assert text.count("This machine is busy") == 1 and "ahead" not in text


def test_on_a_busy_machine_a_lead_far_beyond_its_load_is_said_with_the_caution():
    busy = Timing((0.171, 0.172, 0.173), 1, "cpu", "CPU", "measured", 1, load=3.0)
    variants = Variant("cpu", "cpu", "measured", busy, 1.0), timed("gpu", 1.7e-3, 1e-3, 3e-3)
    text = str(Comparison(Setting(), (*variants, Variant("mismatched", "-", "not run", skipped="no"))))
    assert "the GPU is ahead by a factor of about 101" in text and "This machine is busy" in text


def test_without_a_gpu_two_examples_say_that_they_did_not_run():
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU, so the examples run")
    result = compare(repeats=2)
    assert result["gpu"].timing is None and result["gpu"].label == "not run"
    assert "no GPU here" in str(result)


def test_the_sizes_reach_the_training():
    small, large = compare(10, 3, repeats=1, epochs=1), compare(10, 3, repeats=1, epochs=4)
    assert large["cpu"].loss < small["cpu"].loss
    assert "Linear(3 -> 2), 10 rows" in str(small)


def test_the_seed_decides_the_numbers_and_the_learners_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    losses = [compare(repeats=1, seed=seed)["cpu"].loss for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(before, torch.get_rng_state())


def test_a_loss_that_is_not_a_number_is_said():
    result = compare(4, 100_000, repeats=1, epochs=60)
    assert "the loss is nan" in str(result) or "the loss is inf" in str(result)
    json.loads(result.to_json())


def test_json_holds_raw_samples_and_where_they_come_from():
    data = json.loads(compare(repeats=3).to_json())
    assert data["setting"] == {"rows": 100, "width": 10, "outputs": 2, "epochs": 5, "repeats": 3, "seed": 0}
    cpu = data["variants"][0]
    assert cpu["name"] == "cpu" and len(cpu["timing"]["samples"]) == 3
    assert cpu["timing"]["origin"] == "measured" and data["versions"]["torch"] == torch.__version__


# --- functions of one's own --------------------------------------------------------------------------------------------


def test_own_functions_are_shown_with_where_they_ran_and_who_is_ahead():
    with simulate_gpu("Tesla T4"):
        a = torch.ones(64, 64, device="cuda")
        result = compare({"once": lambda: a @ a, "ten times": lambda: [a @ a for _ in range(10)]})
    assert result["once"].device == "cuda:0" and result["once"].timing.origin == "simulated"
    text, page = str(result), result._repr_html_()
    assert '"once" is ahead of "ten times" by a factor of' in text
    assert "(both simulated: an estimate, not a proof)" in text
    for words in ("simulated, cuda:0 (Tesla T4)", "Calls/s", "ten times"):
        assert words in text and words in page
    assert json.loads(result.to_json())["variants"][1]["timing"]["origin"] == "simulated"


def test_a_function_that_stops_is_shown_with_its_own_error_and_line():
    def fails():
        raise KeyError("mine")

    def mixed():
        return torch.ones(2) + torch.ones(2, device="cuda")

    with simulate_gpu("Tesla T4"):
        result = compare({"works": lambda: torch.ones(1), "fails": fails, "mixed": mixed}, repeats=2)
    assert result["fails"].error == "KeyError: 'mine'" and result["fails"].line == 'raise KeyError("mine")'
    assert result["mixed"].line == 'return torch.ones(2) + torch.ones(2, device="cuda")'
    assert result["mixed"].error.startswith("RuntimeError: Expected all tensors to be on the same device")
    assert '"fails" stops at `raise KeyError("mine")`' in str(result) and result["works"].timing


def own(**timings: Timing) -> FunctionComparison:
    return FunctionComparison(
        tuple(Variant(name, timing.device, timing.label, timing) for name, timing in timings.items())
    )


def around(seconds: float, width: float, device: str = "cpu", load: float | None = None) -> Timing:
    samples = (seconds - width, seconds, seconds + width)
    return Timing(samples, 1, device, "", "measured", 1, load=load)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (around(1, 0.1), around(3, 0.1), '"a" is ahead of "b" by a factor of 3.00 (measured on both).'),
        (around(3, 0.1), around(1, 0.1), '"b" is ahead of "a" by a factor of 3.00'),
        (around(1, 0.5), around(1.2, 0.5), "no clear winner, their ranges overlap"),
        (around(1, 0, load=3), around(3, 0), "cannot be said on a busy machine"),
        (around(1, 0, load=3), around(9.9, 0), "cannot be said on a busy machine"),
        (around(1, 0, load=3), around(10, 0), '"a" is ahead of "b" by a factor of about 10.0'),
        (around(1, 0, load=9), around(26, 0), "cannot be said on a busy machine"),
        (around(1, 0, load=9), around(28, 0), '"a" is ahead of "b" by a factor of about 28.0'),
        (
            around(9, 0.1),
            Timing((1.0,), 1, "cuda:0", "Card", "simulated", 1, 0.5, 2.0),
            '"b" is ahead of "a" by a factor of 9.00 ("b" simulated, "a" measured: an estimate, not a proof)',
        ),
    ],
)
def test_no_more_is_claimed_of_own_functions_than_their_ranges_allow(first, second, words):
    assert words in str(own(a=first, b=second))


def test_two_simulated_times_share_their_model_and_so_their_errors():
    low = Timing((1.0,), 1, "cuda:0", "", "simulated", 1, 0.5, 2.0)
    high = Timing((1.5,), 1, "cuda:0", "", "simulated", 1, 0.8, 2.5)
    crossed = Timing((1.5,), 1, "cuda:0", "", "simulated", 1, 0.4, 2.5)
    assert ahead(low, high) is ahead(high, low) is low
    assert ahead(low, crossed) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([int],), "functions by name, but it got list"),
        ((int,), "functions by name, but it got type"),
        (({},), "the number of functions must be between 1 and 6, but it is 0"),
        (({"a": 3},), "compare, for 'a', needs a function to call, but it got int"),
        (({"a": int}, 20), "belong to the article's examples"),
        (({"a": lambda: (n for n in "b")},), "returned a generator"),
    ],
)
def test_unusable_functions_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        compare(*arguments)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"rows": -1}, "rows must be between 1 and 10,000,000, but it is -1"),
        ({"width": 0}, "width must be between 1"),
        ({"epochs": 0}, "epochs must be between 1"),
        ({"repeats": 0}, "repeats must be between 1"),
        ({"seed": -3}, "seed must be between 0"),
    ],
)
def test_unusable_sizes_are_refused(sizes, words):
    with pytest.raises(InputError, match=words):
        compare(**sizes)
