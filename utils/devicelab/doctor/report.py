"""The doctor's answer: a sentence, the evidence, one command, and the facts to paste into a question."""

import json
from dataclasses import asdict, dataclass

from devicelab import html
from devicelab.picture import Shown
from devicelab.private import private

from .finding import Finding
from .machine import Machine

GOOD, TROUBLE = 0, 1  # exit codes


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """What was found on a machine; `str()` holds no user names and no home folders, and can be pasted into a question."""

    machine: Machine
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether torch can use a GPU here and nothing is wrong with it."""
        return self.machine.usable and not self.findings

    @property
    def exit_code(self) -> int:
        """0: a GPU can be used and nothing is wrong; 1: there is none, or something is wrong with it."""
        return GOOD if self.ok else TROUBLE

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.findings:
            return self.findings[0].sentence
        if self.machine.gpus:
            cards = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in self.machine.gpus)
            return f"torch can use {cards}. Nothing is wrong with it."
        return "torch can use this Mac's GPU, called mps. Nothing is wrong with it."

    def __str__(self) -> str:
        lines = [] if self.findings else [self.sentence]
        for finding in self.findings:
            lines += [finding.sentence, *(f"  evidence: {word}" for word in finding.evidence)]
            lines += [f"  try:      {finding.command}"]
        facts = [f"  {fact}" for fact in self.machine.facts]
        return private("\n".join([*lines, "", "The facts, for a question to others:", *facts]))

    def _repr_html_(self) -> str:
        return f'<div style="white-space:pre-wrap;font-family:monospace">{html.escape(str(self))}</div>'

    def to_json(self) -> str:
        """Return everything as JSON, as free of names as the text."""
        data = {
            "ok": self.ok,
            "sentence": self.sentence,
            "findings": [asdict(finding) for finding in self.findings],
            "machine": asdict(self.machine),
        }
        return private(json.dumps(data, indent=2, ensure_ascii=False))
