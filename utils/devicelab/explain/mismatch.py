"""Put a mismatch in words: who met whom, who stayed behind, what to type."""

from .culprit import Scene, look
from .fix import verdict
from .frames import Frame
from .names import View, name_of
from .operands import Operand
from .reading import Reading
from .result import Explanation, Met
from .special import INDEX_WHY, INDEX_WORDS, by_index
from .verdict import Verdict

MOST_NAMES = 3  # in one sentence


def mismatch(frames: list[Frame], reading: Reading) -> Explanation | None:
    """Explain tensors on different devices, or return None where no tensors can be seen."""
    views = [View(frame) for frame in reversed(frames)]
    scene = look(views, reading)
    if scene is None:
        return None
    found = verdict(scene)
    place = (scene.views or views)[0].frame
    met = _met(scene)
    if found is None:
        return Explanation(
            reading.family, "Tensors on different devices met; which one stayed behind cannot be told.",
            line=place.line, file=place.file, code=place.code, met=met,
        )  # fmt: skip
    return Explanation(
        reading.family,
        _indexed(scene, found, reading) or _sentence(scene, found),
        found.culprit,
        INDEX_WHY if _indexed(scene, found, reading) else found.why,
        found.fix,
        place.line,
        place.file,
        place.code,
        found.at,
        met,
        _blames(scene, reading),
        found.others,
        _via(scene, place),
        also=found.also,
    )


def _indexed(scene: Scene, found: Verdict, reading: Reading) -> str:
    """Return that a tensor on the CPU is indexed by one on an accelerator, "" for all else."""
    index = next((one for one in scene.met if one.device == scene.target), None)
    if index is None or not scene.stayed or not reading.message.lstrip().startswith(INDEX_WORDS):
        return ""
    return by_index(found.culprit, str(scene.stayed[0].device), _label(scene, index), str(scene.target))


def _sentence(scene: Scene, found: Verdict) -> str:
    wrong = scene.stayed[0].device if scene.stayed else "another device"
    verb = "stayed on" if str(wrong) == "cpu" else "are on" if found.others else "is on"
    names = [found.culprit, *found.others]
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{who} {verb} {wrong}, but {scene.target} is needed here."


def _met(scene: Scene) -> tuple[Met, ...]:
    """The tensors of both sides, under the learner's names where there are any."""
    right = [one for one in scene.met if one.device == scene.target]
    chosen = [*scene.stayed[:2], *right[:1]]
    return tuple(Met(_label(scene, one), str(one.device), one.shape) for one in chosen)


def _label(scene: Scene, operand: Operand) -> str:
    if operand.tensor is not None and not operand.made:
        named = name_of(operand.tensor, scene.views)
        if named:
            return named.text
    return operand.text if scene.view and scene.view.frame.is_learners else "a result on the way"


def _via(scene: Scene, place: Frame) -> str:
    """The line that passed the culprit on, where that is not the line that failed."""
    views = [view for _, _, view in scene.modules[:1]] or [named.view for named in scene.culprits[:1]]
    if not views or views[0].frame.frame is place.frame:
        return ""
    outer = views[0].frame
    return (
        f"line {outer.line}" + (f" of {outer.file}" if outer.file != place.file else "") + f": {outer.code}"
    )


def _blames(scene: Scene, reading: Reading) -> str:
    """Say so where the message names an argument that is where it should be."""
    if not reading.blames or reading.argument_device is None:
        return ""
    if not _same(reading.argument_device, str(scene.target)):
        return ""
    return f"it names {reading.argument}, which is where it should be: it takes the call's first tensor for the right one"


def _same(one: str, other: str) -> bool:
    """Whether two devices can be the same, where an old message gives only a type."""
    return one == other or (":" not in one and one == other.partition(":")[0])
