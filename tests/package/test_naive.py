"""The naive clocks: on the simulated card each lies as it does on a real one, on the CPU it is said which do not."""

import pytest
import torch

from devicelab import simulate_gpu, timeit_naive
from devicelab.errors import InputError
from tools.notebooks import warm

FRESH = """
import torch, devicelab as lab
lab.simulate_gpu("Tesla T4")
made = []
def step():
    if not made:
        made.append(torch.ones(1024, 1024, device="cuda"))
    return made[0] @ made[0]
naive = lab.timeit_naive(step)
first = naive.clocks[0]
assert first.name == "first call" and first.measured == "starting CUDA and loading, which happen once", naive
assert first.seconds > 100 * naive.right.median, naive
"""


def shown(fn):
    naive = timeit_naive(fn, seconds=0.02)
    return naive, {clock.name: clock for clock in naive.clocks}


def test_the_first_call_pays_for_starting_cuda():
    result = warm.run("-c", FRESH)
    assert result.returncode == 0, result.stderr[-1500:]


def test_without_synchronize_only_the_submission_is_seen():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(1024, 1024, device="cuda")
        naive, clocks = shown(lambda: x @ x)
    clock = clocks["no synchronize"]
    assert clock.seconds == pytest.approx(naive.right.host) and clock.seconds < naive.right.median / 10
    assert "handing the work over; the GPU goes on for" in clock.measured


def test_a_call_of_which_the_submission_is_nearly_all_says_so():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(2, device="cuda")
        _, clocks = shown(lambda: [x + 1 for _ in range(30)])
    assert "nearly all of this call" in clocks["no synchronize"].measured


def test_item_inside_pays_for_a_wait_and_a_copy_each_time():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(2, device="cuda")
        naive, clocks = shown(lambda: x + 1)
    clock = clocks[".item() inside"]
    assert clock.seconds > 1.2 * naive.right.median and "a wait and a copy" in clock.measured


def test_pythons_clock_sees_this_machine_imitating_the_card():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(2, device="cuda")
        _, clocks = shown(lambda: x + 1)
    assert clocks["time.perf_counter()"].measured == "this machine imitating the card (measured)"


def test_a_call_that_is_not_the_first_has_nothing_left_to_show():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(2, device="cuda")
        _, clocks = shown(lambda: x + 1)
    assert "no lie here" in clocks["first call"].measured


@pytest.mark.parametrize("simulated", [False, True])
def test_on_the_cpu_it_is_said_which_clocks_do_not_lie(simulated):
    x = torch.ones(64, 64)
    if simulated:
        with simulate_gpu("Tesla T4"):
            naive, clocks = shown(lambda: x @ x)
    else:
        naive, clocks = shown(lambda: x @ x)
    assert naive.right.origin == "measured" and naive.right.device == "cpu"
    assert {name for name, clock in clocks.items() if "no lie on the CPU" in clock.measured} == {
        "no synchronize",
        ".item() inside",
    }


def test_the_table_is_short_and_labelled_in_text_and_html():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(512, 512, device="cuda")
        naive, _ = shown(lambda: x @ x)
    text, page = str(naive), naive._repr_html_()
    assert len(text.splitlines()) <= 8
    for words in ("simulated, cuda:0 (Tesla T4)", "lab.timeit", "no synchronize", "1.00 x"):
        assert words in text and words in page


def test_what_is_no_function_is_refused_by_name():
    with pytest.raises(InputError, match="timeit_naive needs a function"):
        timeit_naive(torch.ones(1))
