"""The files of a room, read with care: a broken or a hostile one is skipped and named, and no word of one is ever run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from devicelab import datafiles, units
from devicelab.canvas import INK, LINE, MUTED, hue
from devicelab.errors import InputError, path_of
from devicelab.picture import Picture, Shown, Table, figure, picture

from .own import schema

MOST_BYTES = 256 * 1024  # one learner's file has about 10 KB
MOST_FILES = 500
CPU, GPU = hue("cpu")[0], hue("cuda:0")[0]
AS_SAID = ("just that", "within")  # how `guess.numbers.off_by` tells of a number that was near
Share = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Classroom(Shown):
    """The results of a room: `shares` as plain data that keeps to the schema, `skipped` as (file, why)."""

    shares: tuple[Share, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return "\n".join([self._counted, *(f"Skipped {name}: {why}." for name, why in self.skipped)])

    @property
    def _counted(self) -> str:
        origins = Counter(share["machine"]["origin"] for share in self.shares)
        words = {"measured": "with a real GPU", "simulated": "with a simulated GPU", None: "without a GPU"}
        kinds = [f"{origins[key]} {word}" for key, word in words.items() if origins[key]]
        count = len(self.shares)
        return f"{count} {'machine' if count == 1 else 'machines'}: {', '.join(kinds) or 'nothing to show'}."

    @property
    def names(self) -> list[str]:
        """What each learner wants to be called, or a number."""
        return [share["name"] or f"learner {number}" for number, share in enumerate(self.shares, start=1)]

    def machines(self) -> Table:
        """Return the machines side by side: what they are, and the article's step on their CPU and GPU."""
        rows = [[name, *_machine(share)] for name, share in zip(self.names, self.shares, strict=True)]
        header = (
            "Who",
            "System",
            "Cores",
            "torch",
            "GPU",
            "Step on the CPU",
            "Step on the GPU",
            "GPU ahead from",
        )
        return Table(
            header, rows, "The article's step on each machine, and the width from which the GPU is ahead"
        )

    def bets(self) -> Table:
        """Return what the room bet on each question, what came, and how many said so; the greatest surprise first."""
        asked: dict[str, list[dict[str, str]]] = {}
        for share in self.shares:
            for bet in share["bets"]:
                asked.setdefault(bet["question"], []).append(bet)
        rows = sorted(map(_bets_row, asked.items()), key=lambda row: row[0])
        return Table(
            ("Question", "What was bet", "What came", "Came as said"),
            [words for _, words in rows],
            "Bets, the greatest surprise first",
        )

    def progress(self) -> Table:
        """Return for each exercise how many questions the middle learner passed, and how many passed all."""
        exercises: dict[str, list[tuple[int, int]]] = {}
        for share in self.shares:
            for row in share["progress"]:
                exercises.setdefault(row["exercise"], []).append((row["passed"], row["questions"]))
        rows = [
            [
                name,
                f"{median(passed for passed, _ in pairs):g} of {max(count for _, count in pairs)}",
                f"{sum(passed >= count for passed, count in pairs)} of {len(pairs)}",
            ]
            for name, pairs in sorted(exercises.items())
        ]
        return Table(("Exercise", "Passed in the middle", "Learners who passed all"), rows, "Progress")

    def plot(self) -> Picture:
        """Return the times of a step over its width, a thin line for each machine's CPU and GPU, with a text."""
        drawn = figure(8.4, 4.8)
        axes = drawn.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        told: set[str] = set()
        for share in self.shares:
            for where, colour, marker in (("cpu", CPU, "o"), ("gpu", GPU, "s")):
                points = sorted((at for at in share["points"] if at[where]), key=lambda at: at["width"])
                if not points:
                    continue
                origin = points[0][where]["origin"]
                label = f"{where.upper()} ({origin})"
                axes.plot(
                    [at["width"] for at in points], [at[where]["seconds"] for at in points], color=colour,
                    marker=marker, markersize=4, linewidth=1, alpha=0.6, label=None if label in told else label,
                    linestyle="-" if origin == "measured" else "--",
                )  # fmt: skip
                told.add(label)
        if told:
            axes.legend(frameon=False, fontsize="small")
        widths = sorted({at["width"] for share in self.shares for at in share["points"]})
        axes.set_xticks(widths, [f"{width:,}" for width in widths], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("width")
        axes.set_ylabel("time of a step")
        axes.yaxis.set_major_formatter(lambda seconds, _: units.seconds(seconds))
        axes.grid(color=LINE, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=MUTED, labelcolor=INK)
        return picture(
            drawn, f"Time of a step over its width on each machine, logarithmic scales. {self._crossed()}"
        )

    def _crossed(self) -> str:
        """Say where the GPU takes over, apart for measured and for simulated ones: these cannot be put together."""
        said = []
        for origin in ("measured", "simulated"):
            those = [share for share in self.shares if share["machine"]["origin"] == origin]
            found = [width for share in those for width in _turns(share)]
            if found:
                between = f"{min(found):,.0f} to {max(found):,.0f}" if len(found) > 1 else f"{found[0]:,.0f}"
                said.append(
                    f"A {origin} GPU takes over on {len(found)} of {len(those)} machines, at a width of about {between}"
                )
        return ". ".join(said) + "." if said else "On no machine the GPU takes over within these sizes."


def classroom(folder: str | Path) -> Classroom:
    """Read the JSON files of a folder, in the order of their names; what is no share of version 1 is skipped, with the reason."""
    place = path_of("folder", folder)
    if not place.is_dir():
        raise InputError(
            f"There is no folder {place}. Give the folder that holds the learners' share.json files."
        )
    files = sorted(path for path in place.iterdir() if path.suffix.lower() == ".json")
    shares, skipped = [], []
    for path in files[:MOST_FILES]:
        why = ""
        try:
            data = datafiles.read(path, MOST_BYTES)
            why = datafiles.fault(data, schema())
        except (OSError, ValueError, OverflowError) as fault:
            why = str(fault)
        if why:
            skipped.append((_short(path.name), _short(why)))
        else:
            shares.append(data)
    if len(files) > MOST_FILES:
        skipped.append((f"{len(files) - MOST_FILES} more files", f"a room has {MOST_FILES} at most"))
    return Classroom(tuple(shares), tuple(skipped))


def _short(text: str) -> str:
    """Return one line of what somebody else wrote, cut."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 160 else f"{line[:157]}..."


def _machine(share: Share) -> list[str]:
    machine, steps = share["machine"], {one["name"]: one["time"] for one in share["examples"]}
    gpu = f"{machine['gpu']} ({machine['origin']})" if machine["gpu"] else "none"
    turns = [f"{width:,.0f} ({machine['origin']})" for width in _turns(share)]
    return [
        machine["system"], str(machine["cores"]), machine["torch"], gpu,
        _shown(steps.get("cpu")), _shown(steps.get("gpu")), ", ".join(turns) or "-",
    ]  # fmt: skip


def _turns(share: Share) -> list[float]:
    """Return the widths from which the GPU is ahead."""
    return [at["width"] for at in share["crossovers"] if at["leader"] == "GPU"]


def _shown(time: dict[str, Any] | None) -> str:
    return f"{units.seconds(time['seconds'])} ({time['origin']})" if time else "-"


def _bets_row(asked: tuple[str, Sequence[dict[str, str]]]) -> tuple[tuple[float, str], list[str]]:
    """Return a question's row, and what it is sorted by: the part of the room that the outcome surprised, largest first."""
    question, bets = asked
    said = Counter(bet["bet"] for bet in bets).most_common()
    came = Counter(bet["outcome"] for bet in bets if bet["outcome"]).most_common()
    known = [bet for bet in bets if bet["outcome"]]
    right = sum(bet["bet"] == bet["outcome"] or bet["how"].startswith(AS_SAID) for bet in known)
    words = [
        question,
        _counts(said),
        _counts(came) or "judged by each",
        f"{right} of {len(known)}" if known else "-",
    ]
    return ((right / len(known) if known else 2.0), question), words


def _counts(pairs: Sequence[tuple[str, int]]) -> str:
    shown = [f"{word} ({count})" for word, count in pairs[:4]]
    more = sum(count for _, count in pairs[4:])
    return ", ".join([*shown, f"others ({more})"] if more else shown)
