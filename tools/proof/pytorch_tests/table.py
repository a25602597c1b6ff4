"""What came of the tests, as text: per file, by cause, by reason; and what changed since another run."""

import re
from collections import Counter
from typing import Any

from .causes import KINDS, OURS, grouped

Results = dict[str, list[dict[str, Any]]]
SHOWN = 3  # tests named for a cause
REASONS = 25


def table(results: Results, examples: int = SHOWN) -> str:
    """Return the whole report."""
    return "\n\n".join([counts(results), failures(results, examples), skips(results)])


def counts(results: Results) -> str:
    """Return a line for each file and one for all, and the rates."""
    width = max([len(file) for file in results] + [5])
    head = f"{'file':{width}}  passed  failed  skipped  seconds"
    total: Counter[str] = Counter()
    lines = [head]
    for file, tests in results.items():
        found = Counter(test["outcome"] for test in tests)
        seconds = sum(test["seconds"] for test in tests)
        total += found
        lines.append(row(file, width, found, seconds))
    everything = sum(test["seconds"] for tests in results.values() for test in tests)
    lines.append(row("total", width, total, everything))
    return "\n".join([*lines, "", *rates(results, total["passed"])])


def row(name: str, width: int, found: Counter[str], seconds: float) -> str:
    """Return one line of counts."""
    return f"{name:{width}}{found['passed']:8}{found['failed']:8}{found['skipped']:9}{seconds:9.0f}"


def rates(results: Results, passed: int) -> list[str]:
    """Say how many pass of what can be asked of a simulation, and of what it means to do."""
    kinds: Counter[str] = Counter()
    for cause, failed in grouped(failed_ones(results)).items():
        kinds[cause.kind] += len(failed)
    ours = sum(kinds[kind] for kind in OURS)

    def share(fails: int) -> str:
        return f"{100 * passed / max(passed + fails, 1):.1f} % ({fails} of {passed + fails} fail)"

    return [
        f"Without what needs hardware, another version or a larger computer: {share(ours)} pass",
        f"Without what is refused or approximated by design, too:            {share(kinds['open'])} pass",
    ]


def failed_ones(results: Results) -> list[tuple[str, dict[str, Any]]]:
    """Return all failures with their files."""
    return [(file, test) for file, tests in results.items() for test in tests if test["outcome"] == "failed"]


def failures(results: Results, examples: int) -> str:
    """Return the failures by cause."""
    lines, before = [], ""
    for cause, failed in grouped(failed_ones(results)).items():
        if cause.kind != before:
            lines += ["", f"failed: {KINDS[cause.kind]}"]
            before = cause.kind
        lines.append(f"{len(failed):6}  {cause.why}")
        lines += [
            f"            {file}::{test['test']} at {test['error'].get('at', '')}"
            for file, test in failed[:examples]
        ]
    return "\n".join(lines).lstrip("\n") or "none failed"


def skips(results: Results) -> str:
    """Return the reasons for which tests were skipped."""
    reasons = Counter(
        re.sub(r"^Skipped: |\d+(\.\d+)?", lambda found: "" if found[0].startswith("S") else "N", test.get("reason", ""))
        for tests in results.values() for test in tests if test["outcome"] == "skipped"
    )  # fmt: skip
    lines = [f"{count:6}  {reason[:130]}" for reason, count in reasons.most_common(REASONS)]
    rest = sum(reasons.values()) - sum(count for _, count in reasons.most_common(REASONS))
    return "\n".join(["skipped, by reason", *lines, *([f"{rest:6}  other reasons"] if rest else [])])


def changes(before: Results, after: Results) -> str:
    """Return what passes now and did not, and what no longer passes."""
    old = {(file, test["test"]): test["outcome"] for file, tests in before.items() for test in tests}
    new = {(file, test["test"]): test["outcome"] for file, tests in after.items() for test in tests}
    both = sorted(old.keys() & new.keys())
    mended = [key for key in both if old[key] == "failed" and new[key] == "passed"]
    broken = [key for key in both if old[key] == "passed" and new[key] == "failed"]
    return "\n".join([
        f"{len(both)} tests are in both runs: {len(mended)} failed and pass now, {len(broken)} passed and fail now",
        *(f"  now failing: {file}::{test}" for file, test in broken),
    ])  # fmt: skip
