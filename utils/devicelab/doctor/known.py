"""Findings from the catalogue of messages: what torch, its import or an operator said, put in words with a fitting command."""

from devicelab.explain import catalogue

from .finding import Finding
from .machine import Machine

MOST = 300  # letters of a message in the evidence


def known(said: str, m: Machine, *evidence: str) -> Finding | None:
    """Return a finding if the catalogue has the words."""
    found = catalogue.find(said)
    if found is None:
        return None
    quoted, todo = f"it said: {said[:MOST]}", found.command(m.kinds)
    if "devicelab doctor" in todo:  # which is what was asked
        todo = f"{m.executable} -c \"import torch; torch.zeros(1, device='cuda')\""
    return Finding(found.id, found.means, (quoted, *evidence, *found.tell), todo)


def command(name: str, m: Machine) -> str:
    """Return the command of an entry of the catalogue that fits this machine."""
    return catalogue.entry(name).command(m.kinds)
