"""A trace names the host's buffers that are used while a copy may be on its way, and no others."""

import time

import numpy as np
import pytest
import torch

import devicelab as lab
from devicelab import simulate_gpu

SIZE = 50_000
BUSY = 15_000_000  # cycles, 10 ms: the card has other work first, so that a copy is on its way for that long


@pytest.fixture(autouse=True, scope="module")
def card():
    with simulate_gpu("Tesla T4"):
        yield


def pinned(*shape):
    return torch.ones(*(shape or (SIZE,))).pin_memory()


def send(buffer):
    torch.cuda._sleep(BUSY)
    return buffer.to("cuda", non_blocking=True)


def receive():
    torch.cuda._sleep(BUSY)
    return torch.ones(SIZE, device="cuda").to("cpu", non_blocking=True)


def traced(program, *arguments):
    with lab.trace() as t:
        program(*arguments)
    return t


WRITES = {
    "fill_": lambda buffer: buffer.fill_(2),
    "add_": lambda buffer: buffer.add_(1),
    "copy_": lambda buffer: buffer.copy_(torch.zeros(SIZE)),
    "an assignment": lambda buffer: buffer.__setitem__(slice(0, 5), 1.0),
    "of one element": lambda buffer: buffer.__setitem__(0, 1.0),
    "a view": lambda buffer: buffer.view(2, -1)[1].zero_(),
    "index_put_": lambda buffer: buffer.index_put_((torch.tensor([1]),), torch.tensor(1.0)),
    "out=": lambda buffer: torch.add(torch.ones(SIZE), 1, out=buffer),
    "foreach": lambda buffer: torch._foreach_zero_([buffer]),
    "random": lambda buffer: buffer.uniform_(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_pinned_buffer_that_is_written_while_it_is_sent_is_named_with_both_lines(write):
    def program():
        buffer = pinned()
        sent = send(buffer)
        write(buffer)
        return sent

    [one, *rest] = traced(program).hazards
    assert not rest and (one.kind, one.receives, one.direction) == ("written", False, "cpu -> cuda:0")
    assert (one.line.text, one.count, one.nbytes) == (write_line(write), 1, 4 * SIZE)
    assert one.copied.text == 'return buffer.to("cuda", non_blocking=True)'


def write_line(write):
    """The line of a lambda in the table above."""
    with open(__file__, encoding="utf-8") as lines:
        return lines.readlines()[write.__code__.co_firstlineno - 1].strip()


READS = {
    "item": ("aten::_local_scalar_dense", lambda host: host[0].item()),
    "numpy": ("numpy", lambda host: host.numpy()),
    "np.asarray": ("numpy", np.asarray),
    "tolist": ("tolist", lambda host: host[:3].tolist()),
    "print": ("print", str),
    "an operator": ("aten::sum", lambda host: host.sum()),
    "a comparison": ("aten::equal", lambda host: torch.equal(host, host[:1])),
    "clone": ("aten::clone", lambda host: host[:3].clone()),
    "a number on the card": ("aten::mul.", lambda host: torch.ones(2, device="cuda") * host[0]),
}


@pytest.mark.parametrize("by, read", READS.values(), ids=READS)
def test_a_buffer_that_is_read_before_it_is_received_is_named_with_both_lines(by, read):
    def program():
        host = receive()
        read(host)

    found = traced(program).hazards
    assert found and {(one.kind, one.receives, one.direction) for one in found} == {
        ("read", True, "cuda:0 -> cpu")
    }
    assert by.rstrip(".") in {one.by for one in found}
    assert {one.copied.text for one in found} == {
        'return torch.ones(SIZE, device="cuda").to("cpu", non_blocking=True)'
    }
    assert all(one.line.file == __file__ and one.line.text for one in found)


def test_a_buffer_that_is_written_before_it_is_received_is_named_too():
    def program():
        receive().zero_()

    [one] = traced(program).hazards
    assert (one.kind, one.by, one.receives) == ("written", "aten::zero_", True)


def test_a_copy_into_the_users_own_pinned_buffer_counts():
    def program():
        mine = pinned()
        torch.cuda._sleep(BUSY)
        mine.copy_(torch.ones(SIZE, device="cuda"), non_blocking=True)
        mine.mean()

    [one] = traced(program).hazards
    assert (one.kind, one.by) == ("read", "aten::mean")


def synchronize_event(stream=None):
    event = torch.cuda.Event()
    event.record(stream)
    event.synchronize()


def ask_event():
    event = torch.cuda.Event()
    event.record()
    while not event.query():
        time.sleep(0.002)


WAITS = {
    "synchronize": torch.cuda.synchronize,
    "the accelerator": torch.accelerator.synchronize,
    "the stream": lambda: torch.cuda.current_stream().synchronize(),
    "an event": synchronize_event,
    "an event's query": ask_event,
    "a value of the card": lambda: torch.ones(1, device="cuda").item(),
    "a blocking copy": lambda: torch.ones(1, device="cuda").cpu(),
    "time": lambda: time.sleep(0.05),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_what_a_wait_or_time_lies_between_is_no_hazard(wait):
    def program():
        buffer, host = pinned(), receive()
        sent = send(buffer)
        wait()
        buffer.fill_(2)
        host.sum()
        return sent

    assert traced(program).hazards == ()


def test_a_wait_for_a_side_stream_orders_what_was_copied_in_it():
    def program(wait):
        side, buffer = torch.cuda.Stream(), pinned()
        with torch.cuda.stream(side):
            sent = send(buffer)
        wait(side)
        buffer.fill_(2)
        return sent

    assert traced(program, lambda side: side.synchronize()).hazards == ()
    assert traced(program, synchronize_event).hazards == ()
    assert len(traced(program, lambda side: torch.cuda.current_stream().synchronize()).hazards) == 1


def test_what_is_harmless_is_no_hazard():
    def program():
        buffer = pinned()
        sent = [send(buffer), buffer.to("cuda")]  # the host waits for the second
        sent.append(send(buffer))
        buffer.sum(), buffer.numpy(), buffer[:3].tolist(), str(buffer)  # reading what is sent
        buffer.view(-1)[3:], buffer.detach(), torch.empty_like(buffer)
        converted = pinned()  # on the host, into other memory
        sent.append(converted.to("cuda", torch.float16, non_blocking=True))
        converted.fill_(2)
        pageable = torch.ones(SIZE)
        sent.append(pageable.to("cuda", non_blocking=True))  # which stages, or waits
        pageable.fill_(2)
        host = receive()
        sent += [send(host), host[:5].shape]  # ordered behind the first copy by their stream
        return sent

    assert traced(program).hazards == ()


def test_another_part_of_the_same_buffer_is_no_hazard():
    def program():
        ring, columns = pinned(2, SIZE), pinned(SIZE, 4)
        sent = [send(ring[0]), send(columns[:, ::2])]
        ring[1].fill_(2)
        columns[:, 1::2].fill_(2)
        return sent

    assert traced(program).hazards == ()


def test_a_loop_is_counted_and_the_trace_says_it_in_words_and_in_data():
    def program():
        buffer, sent = pinned(), []
        for number in range(3):
            sent.append(send(buffer))
            buffer.fill_(number)
            torch.cuda.synchronize()
        return sent

    trace = traced(program)
    [one] = trace.hazards
    assert one.count == 3
    [line] = [line for line in trace.text().splitlines() if line.startswith("hazard")]
    assert line in str(trace)
    assert line.startswith("hazard: a host buffer is written by fill_, 3 times, at test_hazards.py:")
    assert (
        "while the copy cpu -> cuda:0 from it may still be on its way (launched at test_hazards.py:" in line
    )
    assert line.endswith("nothing orders the two")
    [data] = trace.to_dict()["hazards"]
    assert (data["kind"], data["by"], data["count"]) == ("written", "aten::fill_", 3)
    assert data["line"]["text"] == "buffer.fill_(number)"
    assert len(str(trace).splitlines()) <= 9


def test_a_buffer_that_is_gone_is_not_kept_by_the_trace():
    def program():
        for _ in range(3):
            sent = send(pinned())
        fresh = pinned()
        fresh.fill_(1)
        return sent

    assert traced(program).hazards == ()


def test_what_numpy_writes_to_the_buffer_is_not_seen():
    """NumPy's views share the memory and tell nobody: the page says so."""

    def program(write):
        buffer = pinned()
        sent = send(buffer)
        write(buffer)
        return sent

    assert "written" in str(traced(program, lambda buffer: buffer.fill_(2)))
    assert "written" not in str(traced(program, lambda buffer: buffer.numpy().fill(2)))
