"""Sleeping on the simulated clock."""

import threading
import time

import pytest

import devicelab as lab
from devicelab import simulate_gpu


def spent(call):
    before = lab.clock()
    call()
    return lab.clock() - before


def test_the_main_threads_sleep_takes_as_much_simulated_time():
    with simulate_gpu():
        assert spent(lambda: time.sleep(0.01)) == pytest.approx(0.01)
        assert spent(lambda: time.sleep(0)) == 0


def test_another_threads_sleep_goes_on_beside_it():
    def beside():
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()

    with simulate_gpu():
        assert spent(beside) == 0


def test_it_refuses_what_time_sleep_refuses():
    with simulate_gpu():
        with pytest.raises(ValueError, match="non-negative"):
            time.sleep(-1)
        with pytest.raises(TypeError):
            time.sleep("1")


def test_afterwards_it_is_pythons_own_again():
    before = time.sleep
    with simulate_gpu():
        assert time.sleep is not before
    assert time.sleep is before
