"""What `explain` returns: an error in a few plain lines."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devicelab import html, units
from devicelab.picture import Shown

if TYPE_CHECKING:  # the doctor reads the catalogue where torch cannot be imported
    from devicelab.placement import Placement

_BOX = "border-left:4px solid #8a4b00;padding:4px 12px;margin:6px 0"


@dataclass(frozen=True)
class Met:
    """One tensor that took part in the failing operation; `name` is the learner's own name for it."""

    name: str
    device: str
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        shape = f", {list(self.shape)}" if self.shape else ""
        return f"{self.name} ({self.device}{shape})"


@dataclass(frozen=True)
class Held:
    """Memory of the card in one hand: what kind of it ("weights", "kept for backward", ...), whose, bytes, how many tensors."""

    kind: str
    name: str
    nbytes: int
    count: int = 0

    def __str__(self) -> str:
        what = f"{self.count:,} tensors" if self.kind == "tensors" and self.count > 1 else self.kind
        return f"{self.name} ({what})"


@dataclass(frozen=True, repr=False)
class Explanation(Shown):
    """An error put in words; no tensor is kept.

    `culprit` is the learner's own name of what stayed behind, `others` what did beside it, `fix` one line to type and `fix_at`
    where; `also` are the lines for the others that belong elsewhere. `line`, `file` and `code` are the learner's line that
    failed, `via` the one that led to it, `met` the tensors that met
    there. `seen` says whether the tensors themselves were looked at, or only a text. `kind` is the family of the error, "unknown"
    included; `placement` tells where everything in the frame of an unknown error is. `tell` says how to tell several causes
    apart, `elsewhere` what to type on other machines, `sure` how sure the answer is, `source` where it was found out,
    `earlier` what an error before the last one was. Out of memory: `held` is who holds how much (bytes, counted from the
    tensors), the largest first; `sums` how the card's memory was shared by the message, with the origin of these figures.
    """

    kind: str
    what: str
    culprit: str | None = None
    why: str = ""
    fix: str | None = None
    line: int | None = None
    file: str | None = None
    code: str = ""
    fix_at: str = ""
    met: tuple[Met, ...] = ()
    blames: str = ""
    others: tuple[str, ...] = ()
    via: str = ""
    seen: bool = True
    note: str = "read from the text alone; lab.explain(error) looks at the tensors"
    placement: "Placement | None" = None
    tell: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    sure: str = ""
    source: str = ""
    earlier: str = ""
    held: tuple[Held, ...] = ()
    sums: str = ""
    also: tuple[str, ...] = ()
    rank: int | None = None  # of the process, among several

    @property
    def known(self) -> bool:
        """Whether this is an error about devices that devicelab knows."""
        return self.helps and self.kind != "dtype"

    @property
    def helps(self) -> bool:
        """Whether there is something to say of it: it is about devices, or about dtypes, which are taken for it."""
        return self.kind not in ("unknown", "no error")

    @property
    def where(self) -> str:
        """The learner's line, as "line 7 of train.py"."""
        if self.line is None:
            return ""
        return f"line {self.line}" + (f" of {self.file}" if self.file else "")

    @property
    def parts(self) -> list[tuple[str, str]]:
        """The labelled lines below the first sentence."""
        rows = [
            ("where", ": ".join(word for word in (self.where, self.code) if word)),
            ("in", "" if self.rank is None else f"rank {self.rank}"),
            ("called", self.via),
            ("met", ", ".join(str(one) for one in self.met)),
            ("holds", ", ".join(f"{units.size(one.nbytes)} {one}" for one in self.held)),
            ("memory", self.sums),
            ("why", self.why),
            ("message", self.blames),
            ("earlier", self.earlier),
            ("tell", "\n".join(self.tell)),
            ("fix", (self.fix or "") + (f"    ({self.fix_at})" if self.fix and self.fix_at else "")),
            ("and", "\n".join(self.also)),
            ("or on", "\n".join(self.elsewhere)),
            ("sure", self.sure),
            ("source", self.source),
            ("note", "" if self.seen else self.note),
            ("there", str(self.placement) if self.placement else ""),
        ]
        return [(label, text) for label, text in rows if text]

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        data = {name: getattr(self, name) for name in (*_KEYS, "known")}
        met = [{"name": one.name, "device": one.device, "shape": list(one.shape)} for one in self.met]
        return data | {
            "met": met,
            "held": [vars(one) for one in self.held],
            **{name: list(getattr(self, name)) for name in ("others", "also", "tell", "elsewhere")},
        }

    def __str__(self) -> str:
        lines = [f"  {label + ':':<8} {text}" for label, text in self.parts]
        return "\n".join([self.what, *(line.replace("\n", "\n" + " " * 11) for line in lines)])

    def _repr_html_(self) -> str:
        rows = "".join(_row(label, text) for label, text in self.parts) + (_MORE if self.known else "")
        return (
            f'<div style="{_BOX}"><p style="margin:0 0 4px 0"><b>{html.escape(self.what)}</b></p>{rows}</div>'
        )


_KEYS = (
    "kind", "what", "culprit", "why", "fix", "fix_at", "line", "file", "code", "via", "blames", "earlier", "sure", "source",
    "seen", "sums",
)  # fmt: skip
# As seen from a notebook of the course; HTML alone, since a path says nothing in a terminal elsewhere.
_MORE = '<div style="opacity:0.7">more: <a href="../docs/symptoms.md">the list of symptoms</a></div>'


def _row(label: str, text: str) -> str:
    body = html.escape(text)
    if label in ("fix", "where", "called"):
        body = f"<code>{body}</code>"
    return f'<div style="white-space:pre-wrap"><span style="opacity:0.7">{label}:</span> {body}</div>'
