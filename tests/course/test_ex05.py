"""Exercise 05: what its checks say to answers that its solution notebook does not show."""

from statistics import median

import pytest
import torch

from devicelab import clock, simulate_gpu, timeit
from devicelab.course.exercises import ex05
from devicelab.trace import trace


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("Tesla T4"):
        yield


def stopwatch(calls=5, pick=median):
    """Return a stopwatch that picks one number of so many right spans."""

    def seconds(work):
        work()
        spans = []
        for _ in range(calls):
            torch.cuda.synchronize()
            start = clock()
            work()
            torch.cuda.synchronize()
            spans.append(clock() - start)
        return pick(spans)

    return seconds


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (stopwatch(pick=min), "the fastest call"),
        (stopwatch(pick=max), "the slowest call"),
        (stopwatch(pick=sum), "all five calls together"),
        (stopwatch(pick=torch.tensor), "as a Python number"),
        (stopwatch(calls=9), "called 10 times; six were asked for"),
        (lambda work: timeit(work).median, "six were asked for"),
        (lambda work: [work() for _ in range(6)] and 0.004, "When call 2 ("),
    ],
)
def test_what_the_stopwatch_is_told(answer, words):
    outcome = ex05.q1.check(answer)
    assert outcome.state == "not yet" and words in outcome.text


def test_a_number_written_down_does_not_pass():
    def seconds(work):
        stopwatch()(work)
        return 0.004

    assert ex05.q1.check(stopwatch()).state == "passed"
    assert ex05.q1.check(seconds).state == "not yet"


def test_no_two_ways_to_be_wrong_give_the_right_span():
    counted = ex05._CALLS[1:]
    right = median(counted)
    others = [min(counted), max(counted), sum(counted), sum(counted) / 5, median(ex05._CALLS)]
    assert all(abs(other / right - 1) > 2 * ex05._NEAR for other in others)


def test_the_least_seconds_are_those_of_the_data_sheets():
    wanted = {"a": 0.016968, "b": 0.004, "c": 0.0031855}
    assert ex05._least_seconds() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"a": 16.968}, "in milliseconds"),
        ({"a": "17 ms"}, "a number of seconds was asked for"),
        ({"a": 1.0}, "the card needs less"),
        ({"a": 1e-9}, "the card needs more"),
        ({"a": 0.000629}, "And the arithmetic?"),
        ({"b": 0.004 / 3}, "one vector"),
        ({"c": 0.0031855 / 4}, "one byte for each number"),
        ({"d": 1.0}, "3 keys"),
    ],
)
def test_what_a_wrong_least_time_is_told(change, words):
    outcome = ex05.q2.check(ex05._least_seconds() | change)
    assert outcome.state == "not yet" and words in outcome.text


def test_every_mistake_is_told_apart_from_the_right_number():
    for name, right in ex05._least_seconds().items():
        values = [value for value, _ in ex05._mistakes(name)] + [1000 * right]
        assert all(abs(value / right - 1) > 0.2 for value in values)


def test_the_bounds_are_those_of_the_estimate():
    assert ex05._bounds() == {"a": "launch", "b": "memory", "c": "transfer", "d": "compute"}


def test_a_word_that_is_no_part_is_named():
    outcome = ex05.q3.check({"a": "cpu", "b": "memory", "c": "transfer", "d": "compute"})
    assert "'cpu'; one of launch, compute, memory, transfer" in outcome.text


@pytest.mark.parametrize("question", [ex05.q2, ex05.q3])
def test_a_stub_or_another_thing_is_no_answer(question):
    keys = "abc" if question is ex05.q2 else "abcd"
    assert question.check(dict.fromkeys(keys, ...)).state == "not attempted"
    assert "a dict with the" in question.check([1, 2]).text


def test_the_many_members_are_more_than_the_few():
    """The loop over the members is what question 4 finds: its launches grow."""
    launched = []
    for count in (ex05._FEW, ex05._MANY):
        with trace() as seen:
            ex05._votes(*(tensor.to("cuda") for tensor in ex05._members(count)))
        launched.append(sum(operator.count for operator in seen.operators))
    assert launched[1] > 3 * launched[0]
