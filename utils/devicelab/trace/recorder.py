"""The recorder under a trace on the CPU, on a simulated GPU and on Apple's: a dispatch mode that counts every operator.

What it keeps is bounded: operators are summed by name, device, phase and line, and single events are kept up to a cap.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from devicelab import compiled, devices

from .hazards import Flights
from .lines import Places, caller_name
from .steps import Steps

MOST_SUMS = (
    20_000  # different operators x device x phase x line; beyond it they are summed without their line
)
MOST_EVENTS = 10_000  # single events kept for the timeline
FORWARD, BACKWARD, OPTIMIZER, OTHER = "forward", "backward", "optimizer", "other"

_task = torch._C._current_graph_task_id  # -1 outside of a backward pass
_grad = torch.is_grad_enabled
Tensor = torch.Tensor
CPU = torch.device("cpu")
# These compute nothing: they make a view, reserve memory, read one value, or are marks of the profiler.
_IDLE = {
    "aten::_local_scalar_dense", "aten::alias", "aten::detach", "aten::detach_", "aten::empty", "aten::empty_like",
    "aten::empty_strided", "aten::lift_fresh", "aten::new_empty", "aten::new_empty_strided", "aten::resize_",
    "aten::set_", "aten::_reshape_alias", "aten::_unsafe_view", "aten::is_pinned", "aten::record_stream",
}  # fmt: skip
COPY = "copy"
FILLS = {
    "aten::fill_",
    "aten::zero_",
}  # no gradient comes of them: DDP keeps a list of the parameters in use so
_COPIES = {"aten::_to_copy", "aten::copy_", "aten::to"}
_FETCHES = {
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
}  # fetch positions from the host, then compute


def _schema_name(func: Any) -> str:
    return getattr(getattr(func, "_schema", None), "name", "")


def computes(func: Any) -> bool:
    """Say whether an operator computes something: a view, an allocation or a mark of the profiler does not."""
    if not isinstance(func, torch._ops.OpOverload):
        return True
    return not (func.is_view or func.namespace == "profiler" or func._schema.name in _IDLE)


def has_gradient(value: Any) -> bool:
    """Say whether a list among an operator's arguments holds a tensor that autograd follows."""
    if value.__class__ is not list and value.__class__ is not tuple:
        return False
    return any(item.requires_grad for item in value if isinstance(item, Tensor))


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in a result or in arguments, also inside a list."""
    if isinstance(value, Tensor):
        return value
    if value.__class__ in (list, tuple):
        for item in value:
            found = first_tensor(item)
            if found is not None:
                return found
    return None


class _Here(threading.local):
    """What one thread is at: the operator that runs, the optimizer's step, the last backward pass.

    `since` is the moment from which on the host writes an order, `waited` for how many seconds of these it waited.
    """

    heard = False
    since: float | None = None
    waited = 0.0
    running: Any = None
    step: int | None = None  # its place
    task, task_place = -1, 0


class _Ear(devices.Listener):
    """Hears of the operators of one more thread for a recorder."""

    def __init__(self, recorder: "Recorder"):
        super().__init__()
        self.hear = recorder.hear  # type: ignore[method-assign]


class Recorder(devices.Listener):
    """Counts operators of the thread that entered it, and of those in `on_thread`; copies and waits from every thread.

    Threads share the sums without a lock: no call lies between reading a count and writing it, where Python could change over.
    """

    def __init__(self, on_step: Callable[[], object] | None = None, present: devices.Device | None = None):
        super().__init__()
        self.places = Places()
        self.sums: dict[tuple[int, Any, str, int, bool], list[float]] = {}
        self.functions: dict[
            int, tuple[Any, bool, bool]
        ] = {}  # id -> function, whether it computes, may copy
        self.copies: dict[tuple, list[float]] = {}
        self.waits: dict[tuple, list[float]] = {}
        self.events: list[tuple[Any, ...]] = []
        self.flights = Flights(lambda: (*self.present.bounds(), self._now()), self.places)
        self._room = MOST_EVENTS
        self.steps = Steps()
        self.backwards = 0
        self.faults: list[tuple[str, int]] = []
        self.collectives = 0
        self.waited_for: dict[int, float] = {}  # by rank
        self._on_step = on_step
        self._at = _Here()
        self.threads = 0  # heard besides its own
        self.simulated: list[devices.Device] = []  # in turn
        self.origins: set[str] = set()  # of the operators' times
        self._timed = 0
        self._handles: list[Any] = []
        self._use(present or devices.present_here())
        self._own = (
            devices.CPU if self._is_simulated else self.present
        )  # where a simulation that ends leads back

    def _use(self, present: devices.Device) -> None:
        self.present = present
        self._now, self._worked = present.clock, present.worked
        self._is_simulated = present.origin == "simulated"
        self._accelerated = present.type != "cpu"
        if self._is_simulated:
            self.simulated.append(present)

    def _change_to(self, device: devices.Device) -> None:
        """Go on with another clock; what was noted so far keeps its place in time."""
        self._note_origin()
        before = self._now()
        self._use(device)
        shift = self._now() - before
        self.start += shift
        self.events = [
            (*event[:3], event[3] + shift, *event[4:6], event[6] and event[6] + shift)
            for event in self.events
        ]

    def _note_origin(self) -> None:
        timed = sum(int(count) for count, _ in self.sums.values())
        if timed > self._timed:
            self.origins.add(self.present.origin)
        self._timed = timed

    def __enter__(self) -> "Recorder":
        self._handles = [
            torch_optimizer.register_optimizer_step_pre_hook(self._step_begins),
            torch_optimizer.register_optimizer_step_post_hook(self._step_ends),
        ]
        devices.observers.append(self)
        self._compiled, self.uncompiled = compiled.calls(), False
        self.start = self._now()
        self._at.heard = True
        return super().__enter__()

    @contextmanager
    def on_thread(self) -> Iterator[None]:
        """Count the operators of the present thread as well, while a block runs."""
        self.threads += 1
        with _Ear(self):
            self._at.heard = True
            yield

    def __exit__(self, *error: Any) -> None:
        try:
            self.leave(*error)
        finally:
            self.release()

    def leave(self, *error: Any) -> None:
        """End on the thread that entered it; other threads, and the steps of optimizers there, are still heard."""
        self.end = self._now()
        self.uncompiled = compiled.calls() > self._compiled  # of the thread that ends it, as a rule its own
        self._note_origin()
        try:
            super().__exit__(*error)
        finally:  # whoever ends it on another thread must not leave it behind
            devices.observers[:] = [other for other in devices.observers if other is not self]

    def release(self) -> None:
        """Hear of no optimizer any more."""
        for handle in self._handles:
            handle.remove()

    def hear(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator and add it to the sums. Written out, because it runs for every operator."""
        at = self._at
        plan = self.functions.get(id(func)) or self._plan(func)
        at.running = func
        worked = self._worked() if self._accelerated else 0.0
        if self.flights:
            self.flights.look(func, args, kwargs)
        begin = at.since = self._now()
        at.waited = 0.0
        try:
            out = run(func, types, args, kwargs)
        except BaseException as error:
            self._failed(error)
            raise
        end = self._now()
        seconds = end - begin
        since, at.since = begin if at.since is None else at.since, None
        is_copy, at.running = at.running is None, None
        # A copy between devices, nothing that computes, or a subclass of Tensor that takes the operator apart first.
        if is_copy or not plan[1] or out is NotImplemented:
            return out
        device = out.device if isinstance(out, Tensor) else self._device_of(out, args, kwargs)
        if plan[2] and self._is_copy(func, device, args, kwargs):
            return out
        is_scalar = self._accelerated and device.type == "cpu" and all_scalar(out, args)
        if self._accelerated and device.type != "cpu":
            seconds = self._worked() - worked or seconds
        task = _task()
        if task != -1:
            if self._accelerated and device.type == "cpu" and not is_scalar:
                is_scalar = func._schema.name in FILLS
            phase, place = (
                BACKWARD,
                at.task_place if task == at.task else self._backward_begins(task),
            )
        elif at.step is not None and not _grad():
            phase, place = OPTIMIZER, at.step
        else:
            phase, place = OTHER, self.places.here()
            if _grad():
                for value in args:
                    if value.requires_grad if isinstance(value, Tensor) else has_gradient(value):
                        phase = FORWARD
                        break
        key = (id(func), device, phase, place, is_scalar)
        entry = self.sums.get(key) or self._entry(key)
        entry[0] += 1
        entry[1] += seconds
        if self._room:
            self._event(func, device, phase, begin, seconds, end - since - at.waited, since)
        return out

    def _plan(self, func: Any) -> tuple[Any, bool, bool]:
        name = _schema_name(func)
        may_copy = self._accelerated and not self._is_simulated and name in _COPIES
        plan = self.functions[id(func)] = (func, computes(func), may_copy)
        return plan

    def _entry(self, key: tuple[int, Any, str, int, bool]) -> list[float]:
        if len(self.sums) >= MOST_SUMS:
            key = (*key[:3], 0, key[4])
        return self.sums.setdefault(key, [0, 0.0])

    def _device_of(self, out: Any, args: Any, kwargs: Any) -> torch.device:
        for value in (out, args, tuple(kwargs.values()) if kwargs else ()):
            tensor = first_tensor(value)
            if tensor is not None:
                return tensor.device
        return CPU

    def _backward_begins(self, task: int) -> int:
        self._at.task, self._at.task_place = task, self.places.here(3)
        self.backwards += 1
        return self._at.task_place

    def _step_begins(self, *_: Any) -> None:
        self._at.step = self.places.here()

    def _step_ends(self, optimizer: Any, *_: Any) -> None:
        self._at.step = None
        self.steps.add(optimizer)
        if self._on_step is not None:
            self._on_step()

    def _failed(self, error: BaseException) -> None:
        self._at.running = self._at.step = self._at.since = None
        if isinstance(error, (RuntimeError, TypeError)) and len(self.faults) < 10:
            self.faults.append((str(error), self.places.here(3)))

    def _phase(self) -> str:
        if not self._at.heard:
            return OTHER
        if _task() != -1:
            return BACKWARD
        if self._at.step is not None and not _grad():
            return OPTIMIZER
        return OTHER

    def _is_copy(self, func: Any, device: torch.device, args: Any, kwargs: Any) -> bool:
        """Note a copy between devices where no simulated card tells of it."""
        source = args[1] if func._schema.name == "aten::copy_" else args[0]
        if not isinstance(source, Tensor) or source.device == device:
            return False
        waits = not (kwargs or {}).get("non_blocking", False)
        self.copied(source.device, device, source.nbytes, source.is_pinned(), waits, 0.0)
        self._at.running = None
        return True

    def began(self, device: devices.Device) -> None:
        """Go on with the clock of a simulation that began inside the block."""
        self.follow()
        self._change_to(device)

    def ended(self, device: devices.Device) -> None:
        """Go on with this machine's clock, and as a mode of this thread, where the simulation that was heard ends."""
        if self.told_by(device):
            self.follow()
        if self.present is device:
            self._change_to(self._own)

    def copied(
        self,
        source: torch.device,
        target: torch.device,
        nbytes: int,
        pinned: bool,
        waits: bool,
        seconds: float,
        buffer: Any = None,
        end: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Add a copy between two devices: bytes, and the seconds that the link needs."""
        if _schema_name(self._at.running) not in _FETCHES:
            self._at.running = None
        place = self.places.here()
        if buffer is not None and pinned and not waits and buffer.is_pinned():
            route = str(source), str(target)
            self.flights.launch(buffer, target.type == "cpu", end, route, nbytes, place)
        key = (source, target, pinned, waits, self._phase(), place)
        self._add(self.copies, key, nbytes, seconds)
        now = self._now()
        begin = end[2] - seconds if end[2] else now  # a simulated card's queue knows
        self._event(f"{source} -> {target}", target, COPY, begin, seconds, *self._written(now))

    def _written(self, now: float) -> tuple[float, float]:
        """Return the seconds for which the host wrote the order that it has written now, and since when."""
        at = self._at
        if at.since is None:  # outside of every operator that this thread hears of
            return 0.0, now
        writing, since = now - at.since - at.waited, at.since
        at.since, at.waited = now, 0.0
        return writing, since

    def failed(self, message: str) -> None:
        """Note a kernel whose assertion fails, with the line that launched it."""
        if len(self.faults) < 10:
            self.faults.append((message, self.places.here()))

    def touched(self, tensor: Any, how: str) -> None:
        """Look whether the values of a tensor of the host are asked for too early."""
        if self.flights and self._at.heard:
            self.flights.meet(tensor, how)

    def waited(self, seconds: float, why: str) -> None:
        """Add a moment at which the host waited for the card; without a reason, the operator or function tells it."""
        self._at.waited += seconds
        self._wait(why or _schema_name(self._at.running) or caller_name(), seconds)

    def met(self, last: int, seconds: float) -> None:
        """Note a collective, and for whom this process waited there."""
        self.collectives += 1
        if seconds > 0:
            self.waited_for[last] = self.waited_for.get(last, 0.0) + seconds

    def _wait(self, name: str, seconds: float) -> None:
        self._add(self.waits, (name, self._phase(), self.places.here(3)), 0, seconds)
        self._event(name, CPU, "wait", self._now() - seconds, seconds)

    def _add(self, sums: dict[tuple, list[float]], key: tuple, nbytes: int, seconds: float) -> None:
        """Add to a sum: count, bytes, seconds, in how many steps it came, in which step last, least and most bytes."""
        entry = sums.setdefault(key, [0, 0, 0.0, 0, -1, nbytes, nbytes])
        step = self.steps.calls or self.backwards
        entry[0] += 1
        entry[1] += nbytes
        entry[2] += seconds
        entry[3] += entry[4] != step
        entry[4] = step
        if nbytes < entry[5]:
            entry[5] = nbytes
        elif nbytes > entry[6]:
            entry[6] = nbytes

    def _event(
        self,
        name: Any,
        device: Any,
        kind: str,
        begin: float,
        seconds: float,
        writing=0.0,
        since: float | None = None,
    ) -> None:
        if self._room:
            self.events.append((name, device, kind, begin, seconds, writing, since))
            self._room -= 1


def all_scalar(out: Any, args: Any) -> bool:
    """Say whether an operator of the CPU touched nothing but 0-dimensional tensors, such as Adam's step counter."""
    return all(_flat(value) for value in (out, *args))


def _flat(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 0
    return all(_flat(item) for item in value) if value.__class__ in (list, tuple) else True
