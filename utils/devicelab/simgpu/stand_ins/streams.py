"""torch.cuda.Stream and torch.cuda.Event over the simulated clock.

The CPU build's own classes cannot be made, so these derive from torch.Stream and torch.Event, which can:
isinstance works with both.
"""

import itertools
from typing import Any

import torch

from devicelab.costs import Span
from devicelab.errors import SimulationError
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.clock import Clock
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.texts import HANDLE, ORDINAL

SHARED = (
    "An event that another process waits for is not simulated: a simulated card is not shared between processes. Let them "
    "tell each other by torch.multiprocessing, on the CPU."
)
STOPPED = "This stream or event belongs to a simulated GPU that was stopped. Make a new one while a simulated GPU runs."
CUDA = 1  # the number of the CUDA device type in C++
_stream_ids = itertools.count(1)


def clock() -> Clock:
    """Return the running simulation's clock."""
    if state.current is None:
        raise SimulationError(STOPPED)
    return state.current.clock


def wake(index: int) -> None:
    """Make the card's context, which streams and events need."""
    if state.current is not None:
        state.current.wake(index)


# c10/cuda/CUDAStream.h: of the priorities that a card knows, PyTorch uses four.
LEAST, GREATEST = 0, -3


class Stream(torch.Stream):
    """A queue of its own on one simulated card; work in different streams overlaps."""

    priority: int
    _contexts: list[Any]  # of the blocks that it is current in, one inside the other

    def __new__(cls, device: Any = None, priority: int = 0, **kwargs: Any) -> "Stream":
        torch.cuda._lazy_init()
        index = kwargs.get("device_index")
        if index is None:
            index = torch.cuda._utils._get_device_index(device, optional=True)
        if index < 0:
            index = torch.cuda.current_device()
        if index >= torch.cuda.device_count():
            raise torch.AcceleratorError(ORDINAL)
        stream_id = kwargs.get("stream_id")
        if stream_id is None:
            stream_id = next(_stream_ids)
            wake(index)
            clock().check(index)
        self = super().__new__(cls, stream_id=stream_id, device_index=index, device_type=CUDA)
        self.priority = min(LEAST, max(GREATEST, priority))
        self._contexts = []
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """Return the least and the greatest priority."""
        return LEAST, GREATEST

    @property
    def cuda_stream(self) -> int:
        """Return a number in place of the address of a CUDA stream; the default stream's is 0, as on a card."""
        return self.stream_id

    def synchronize(self) -> None:
        """Let the host wait for this stream."""
        wake(self.device_index)
        clock().wait(self.device_index, self.stream_id)

    def query(self) -> bool:
        """Return whether all work of this stream is done at the present host time."""
        return clock().idle(self.device_index, self.stream_id)

    def record_event(self, event: Any = None) -> "Event":
        """Record an event here, a new one by default, and return it."""
        event = event if event is not None else Event()
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        """Let all later work of this stream wait for the event."""
        event.wait(self)

    def wait_stream(self, stream: Any) -> None:
        """Let all later work of this stream wait for what is queued in `stream` now."""
        self.wait_event(stream.record_event())

    def is_capturing(self) -> bool:
        """Return False: CUDA graphs are not simulated."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.stream_id, self.device_index) == (
            other.stream_id,
            other.device_index,
        )

    def __hash__(self) -> int:
        return hash((self.stream_id, self.device))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self) -> "Stream":
        self._contexts.append(torch.cuda.StreamContext(self))  # type: ignore[arg-type]
        self._contexts[-1].__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._contexts.pop().__exit__(*error)


class Event(torch.Event):
    """A marker in a simulated queue; elapsed_time gives simulated milliseconds."""

    _timing: bool
    _index: int | None
    _time: Span | None
    _unrecorded: torch.device | None = (
        None  # the device before it is recorded: torch.Event names its kind, this class none
    )

    def __new__(
        cls,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
        external: bool = False,
    ) -> "Event":
        self = super().__new__(cls, "cpu", enable_timing=enable_timing)
        self._timing, self._index, self._time = enable_timing, None, None
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    @property
    def device(self) -> torch.device | None:  # type: ignore[override]
        """The card of the stream that it was recorded in."""
        return self._unrecorded if self._index is None else torch.device("cuda", self._index)

    @property
    def event_id(self) -> int:  # type: ignore[override]
        """A number of its own from the first record() on; before, C++ has made no event."""
        return 0 if self._time is None else id(self)

    def record(self, stream: Any = None) -> None:
        """Put the marker behind everything queued in `stream`, by default the current one."""
        stream = stream if stream is not None else torch.cuda.current_stream()
        if self._index not in (None, stream.device_index):
            raise RuntimeError(
                f"Event device {self._index} does not match recording stream's device {stream.device_index}."
            )
        self._index = stream.device_index
        wake(stream.device_index)
        clock().now()  # before the first time is read, the host's share is settled
        self._time = clock().mark(stream.device_index, stream.stream_id)

    def wait(self, stream: Any = None) -> None:
        """Let all later work of `stream`, by default the current one, wait for this event; nothing where it was not recorded."""
        stream = stream if stream is not None else torch.cuda.current_stream()
        if self._time is not None:
            clock().hold(stream.device_index, stream.stream_id, self._time)

    def ipc_handle(self) -> bytes:
        """Refuse to be handed to another process."""
        raise SimulationError(SHARED)

    @classmethod
    def from_ipc_handle(cls, device: Any, handle: bytes) -> "Event":
        """Refuse to be another process's event."""
        raise SimulationError(SHARED)

    def query(self) -> bool:
        """Return whether the queue has passed the marker at the present host time."""
        if self._time is None:
            return True
        clock().notice(self._index)  # type: ignore[arg-type]
        return clock().has_reached(self._time)

    def synchronize(self) -> None:
        """Let the host wait for the marker."""
        if self._time is not None:
            clock().reach(self._index, self._time)  # type: ignore[arg-type]

    def elapsed_time(self, end_event: Any) -> float:
        """Return the simulated milliseconds between this event and `end_event`."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or end_event._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        if self._index != end_event._index:  # cudaEventElapsedTime: both belong to one card's context
            raise torch.AcceleratorError(HANDLE)
        return (end_event._time.seconds - self._time.seconds) * 1e3

    @property
    def cuda_event(self) -> int:
        """Return a number in place of the address of a CUDA event, 0 before it is recorded."""
        return 0 if self._time is None else id(self)

    def __repr__(self) -> str:
        number = f"{self.cuda_event:#x}" if self.cuda_event else "uninitialized"
        return f"<torch.cuda.Event {number}>"


class _Kind(type):
    """Makes torch.Stream(...) and torch.Event(...) give the simulated kind for cuda, and isinstance mean torch's own."""

    real: type
    simulated: type

    def __call__(cls, device: Any = None, **kwargs: Any) -> Any:
        if device is not None and not isinstance(device, int) and torch.device(device).type != "cuda":
            return cls.real(device, **kwargs)
        if cls.simulated is Stream:
            return cls.simulated(device, **kwargs)
        event = cls.simulated(**kwargs)
        event._unrecorded = torch.device("cuda")  # c10/core/impl/InlineEvent.h: no number yet
        return event

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real)


def install(machine: Machine) -> None:
    """Put these classes in the place of torch.cuda's, and let torch.Stream and torch.Event make them."""
    for cls, real in ((Stream, torch.Stream), (Event, torch.Event)):
        name = cls.__name__
        machine.patches.replace(f"torch.cuda.{name}", cls)
        machine.patches.replace(f"torch.cuda.streams.{name}", cls)
        kind = _Kind(name, (), {"real": real, "simulated": cls, "__doc__": real.__doc__})
        machine.patches.replace(f"torch.{name}", kind)
