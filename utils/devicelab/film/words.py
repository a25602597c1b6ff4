"""What happened in a step, in at most three sentences: for the live text, the still picture and the printed film."""

from collections import Counter
from collections.abc import Iterator

from .hears import Heard, Transfer
from .seen import Seen

MOST_NAMES = 3
MOST_SENTENCES = 3
_UNITS = ("", "KiB", "MiB", "GiB", "TiB")
NOTHING = "No tensor is made, moved or given back."


def size(count: int) -> str:
    """Return bytes for people: "4,000 bytes" up to a hundred thousand, then KiB, MiB and GiB."""
    if count < 100_000:
        return f"{count:,} byte{'' if count == 1 else 's'}"
    power = next(power for power in (1, 2, 3, 4) if power == 4 or count < 1000 * 1024**power)
    return f"{count / 1024**power:.3g} {_UNITS[power]}"


def many(count: int, what: str) -> str:
    """Return a count with its noun: "1 tensor", "2 tensors"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Return names as a list of at most three: "a, b and 7 more"."""
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def tell(seen: Seen, at: int) -> str:
    """Return what is to be said of a step."""
    if at == 0:
        return _before(seen)
    step = seen.steps[at]
    sentences = [
        *_refused(seen, at),
        *_copied(seen, at),
        *_named(seen, at),
        *_owned(seen, at),
        *_ran(step.heard),
    ]
    return " ".join(sentences[:MOST_SENTENCES]) or NOTHING


def _before(seen: Seen) -> str:
    there = seen.there[0]
    if not there:
        return "Before the first line: no tensor yet."
    devices = Counter(seen.memories[number].device for number in there)
    return f"Before the first line: {_by_device(devices)}."


def _by_device(counts: Counter[str]) -> str:
    return listed([f"{many(count, 'tensor')} on {device}" for device, count in counts.items()])


def _refused(seen: Seen, at: int) -> Iterator[str]:
    refusal = seen.steps[at].refusal
    if refusal is None:
        return
    sides: dict[str, list[str]] = {}
    for one in refusal.operands:
        sides.setdefault(one.device, []).append(seen.names(one.memory, at) or "a result on the way")
    if len(sides) < 2:
        yield f"This line stops with {refusal.kind}."
        return
    few = sorted(
        sides, key=lambda device: (device != "cpu", len(sides[device]))
    )  # what stayed behind comes first
    where = [f"{listed(sorted(set(sides[device])))} on {device}" for device in few]
    yield f"{refusal.operator} wants its tensors in one memory, and got {' but '.join(where)}."


def _copied(seen: Seen, at: int) -> Iterator[str]:
    routes: dict[tuple[str, str], list[Transfer]] = {}
    for copy in seen.steps[at].heard.copies:
        ends = seen.memories[copy.source].device, seen.memories[copy.target].device
        routes.setdefault(ends, []).append(copy)
    for (source, target), copies in routes.items():
        text = f"{size(sum(copy.nbytes for copy in copies))} are copied from {source} to {target}"
        kept = any(copy.target in seen.there[at] for copy in copies)
        yield f"{text}." if kept else f"{text}, and nobody keeps the copy: it is gone when the line ends."


def _named(seen: Seen, at: int) -> Iterator[str]:
    """Tell of names that came, moved to another memory, or went; a function's own names go without a word."""
    now, before = seen.called(at), seen.called(at - 1)
    for name, number in now.items():
        if before.get(name) == number:
            continue
        memory = seen.memories[number]
        if name in before:
            yield _moved(seen, at, name, before[name], number)
        elif number in seen.there[at - 1]:
            yield f"{_own(name)} is one more name for the memory of {seen.names(number, at - 1) or 'a tensor without a name'}."
        else:
            yield f"{_own(name)} is a new tensor on {memory.device}: {memory.shape}, {size(memory.nbytes)}."
    yield from _kept(seen, at)
    dropped = [name for name in before if name not in now]
    dropped += [owner for owner in seen.steps[at - 1].owners if owner not in seen.steps[at].owners]
    dropped = [name for name in dropped if " in " not in name]
    if dropped:
        yield f"{listed(dropped)} {'is' if len(dropped) == 1 else 'are'} given up."


def _kept(seen: Seen, at: int) -> Iterator[str]:
    """Tell of names that hold what its owner let go: an old buffer."""
    for number, holding in seen.steps[at].held.items():
        owner = seen.steps[at - 1].held.get(number, holding).owner
        if owner in seen.steps[at].owners and not holding.owner:
            yield f"{listed(list(holding.names))} still {'name' if len(holding.names) > 1 else 'names'} what {owner} let go."


def _own(name: str) -> str:
    """Return a function's variable as the function calls it: "z" for "z in forward"."""
    return name.partition(" in ")[0]


def _moved(seen: Seen, at: int, name: str, source: int, target: int) -> str:
    one, other = seen.memories[source].device, seen.memories[target].device
    whither = f"from {one} to {other}" if one != other else f"to another tensor on {other}"
    if source not in seen.there[at]:
        return f"The name {_own(name)} moves {whither}; what it held before is given back."
    keeper = seen.names(source, at)
    return f"The name {_own(name)} moves {whither}; what it held before " + (
        f"is still {keeper}." if keeper else "stays."
    )


def _owned(seen: Seen, at: int) -> Iterator[str]:
    """Tell of modules and containers that are new, or whose tensors changed their device."""
    for owner in seen.steps[at].owners:
        now, before = seen.owned[at].get(owner), seen.owned[at - 1].get(owner)
        if now and now != before:
            yield f"{_own(owner)} holds {_by_device(now)}."


def _ran(heard: Heard) -> Iterator[str]:
    for device in dict.fromkeys(work.device for work in heard.works):
        names = [work.name for work in heard.works if work.device == device]
        yield f"{names[0] if len(names) == 1 else many(len(names), 'operator')} ran on {device}."
    if heard.reads:
        yield f"The CPU waited for {many(len(heard.reads), 'number')} from {heard.reads[0]}."
