"""What the tests of a run on a simulated card came to: device faults, what is not simulated, and everything else.

A test that needs what is not simulated says nothing about the code under test, so it is a category of its own, neither passed
nor failed (`--simulated-gpu-unsupported=fail` makes it a failure). A run without a card keeps in pytest's cache which tests were
skipped, so that the next one on a simulated card can say which of them ran.
"""

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

FAULT, NOT_SIMULATED, OTHER = "device fault", "not simulated", "other failure"
COUNTED_AS = "unsimulated"  # in pytest's last line, which programs read as numbers and single words
WITHOUT = "devicelab/without_a_card"  # in pytest's cache: each test of the runs without one, and whether it was skipped
_AREAS = ("CUDA", "Two devices in one operator")  # of the catalogue: what it knows besides is about machines
_NAMED = 20  # failures in the summary; all of them are in pytest's own


class Outcomes:
    """Hears of each test; `cards` is what the whole session simulates, "" where only marked tests are on a card."""

    def __init__(self, config: pytest.Config, cards: str, mark: str, skips: bool):
        self.config, self.cards, self.mark, self.skips = config, cards, mark, skips
        self.said: list[tuple[str, str, str]] = []  # kind, test, sentence
        self.ran: dict[str, bool] = {}

    def pytest_report_header(self) -> str | None:
        """Say that the GPU of this run is none."""
        if not self.cards:
            return None
        return f"devicelab: cuda:0 is a simulated {self.cards}; nothing here runs on a real GPU"

    def pytest_sessionstart(self) -> None:
        """Write into a JUnit file that its GPU was simulated."""
        for plugin in self.config.pluginmanager.get_plugins():
            if self.cards and hasattr(plugin, "add_global_property"):
                plugin.add_global_property("gpu", f"simulated {self.cards}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge a failure on a simulated card."""
        report = yield
        on_card = self.cards or item.get_closest_marker(self.mark) is not None
        if on_card and report.failed and call.excinfo is not None:
            self._judge(report, call.excinfo.value, item.reportinfo())
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Judge what fails while it is being imported."""
        report = yield
        call = getattr(report, "call", None)
        if self.cards and report.failed and call is not None:
            self._judge(report, call.excinfo.value, (collector.path, None, ""))
        return report

    def _judge(self, report: Any, error: BaseException, place: tuple[Any, int | None, str]) -> None:
        kind, sentence, text = judged(error)
        report.devicelab = (kind, sentence)
        if text:
            report.sections.append(("devicelab, on a simulated card", text))
        elif kind == NOT_SIMULATED and self.skips:
            report.outcome = "skipped"
            report.longrepr = (str(place[0]), (place[1] or 0) + 1, f"Skipped: not simulated: {sentence}")

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Count what is not simulated by itself, in place of the skipped tests."""
        if report.skipped and _kind(report) == NOT_SIMULATED:
            return COUNTED_AS, "n", "NOT SIMULATED"
        return None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what a module came to that failed as it was imported."""
        self._keep(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test came to; with xdist the workers' reports come here too."""
        if report.when == "call" or report.skipped:
            self.ran[report.nodeid] = not report.skipped
        self._keep(report)

    def _keep(self, report: Any) -> None:
        if report.failed or _kind(report):
            kind, sentence = getattr(report, "devicelab", (OTHER, ""))
            self.said.append((kind, report.nodeid, sentence))

    def pytest_sessionfinish(self) -> None:
        """Keep which tests a run without a card skipped; not those of a worker, whose tests the first process hears of."""
        if not self.cards and not hasattr(self.config, "workerinput") and self.ran:
            self._without(self._without() | self.ran)

    def _without(self, new: dict[str, bool] | None = None) -> dict[str, bool]:
        """Return whether each test ran without a card, or keep that."""
        cache = getattr(self.config, "cache", None)  # absent with -p no:cacheprovider
        if cache is None:
            return {}
        if new is not None:
            cache.set(WITHOUT, new)
        return cache.get(WITHOUT, {})

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Tell device faults, what is not simulated and other failures apart."""
        known = [said for said in self.said if said[0] != OTHER]
        if not (self.cards or known):
            return
        where = f"cuda:0 was a simulated {self.cards}" if self.cards else "marked tests had simulated cards"
        terminalreporter.section(f"devicelab: {where}; nothing ran on a real GPU")
        counts = Counter(kind for kind, _, _ in self.said)
        ending = " (skipped)" if self.skips and counts[NOT_SIMULATED] else ""
        parts = (_counted(counts[FAULT], FAULT), _counted(counts[OTHER], OTHER))
        terminalreporter.line(f"{', '.join(parts)}, {counts[NOT_SIMULATED]} {NOT_SIMULATED}{ending}")
        if self.cards:
            terminalreporter.line(self._woken())
        for kind, test, sentence in known[:_NAMED]:
            terminalreporter.line(f"{kind}: {test} - {sentence}")
        if len(known) > _NAMED:
            terminalreporter.line(f"... and {len(known) - _NAMED} more")

    def _woken(self) -> str:
        """Return how many tests ran that a run without a card skips, or does not have."""
        without = self._without()
        if not without:
            return "tests that only run with a card: not counted, since no run without --simulate-gpu is on record here"
        ran = [test for test, done in self.ran.items() if done]
        skipped = sum(without.get(test) is False for test in ran)
        new = sum(test not in without for test in ran)
        text = (
            f"{_counted(skipped, 'test')} ran that {'is' if skipped == 1 else 'are'} skipped without a card"
        )
        return text + (f", and {new} more that the last run without one did not have" if new else "")


def judged(error: BaseException) -> tuple[str, str, str]:
    """Return what a failure on a simulated card is: its kind, a sentence, and what explain says of a device fault."""
    from devicelab.errors import SimulationError
    from devicelab.explain import explain
    from devicelab.explain.expected import asserted_place, without_number
    from devicelab.source import chain

    links = list(chain(error))
    refused = next((link for link in links if isinstance(link, SimulationError)), None)
    if refused is not None:
        return NOT_SIMULATED, _first_line(refused), ""
    for link in links:
        place = asserted_place(link)
        if place or without_number(link):
            return FAULT, _asserted(link, place), ""
    if any(_is_of_devices(link) for link in links):
        told = explain(error)
        if not told.helps:
            return FAULT, _first_line(error), ""
        return FAULT, told.what + (f" ({told.where})" if told.where else ""), str(told)
    return OTHER, "", ""


def _asserted(error: BaseException, place: str) -> str:
    """Return what a test asserted of a place, in its own words, with its line."""
    from devicelab.explain import explain
    from devicelab.explain.expected import without_number

    told, number = explain(error), without_number(error)
    text = f"{place} does not hold" if place else _first_line(error)
    return text + (f": {number}" if number else "") + (f" ({told.where})" if told.where else "")


def _is_of_devices(error: BaseException) -> bool:
    from devicelab.explain import catalogue
    from devicelab.explain.reading import read
    from devicelab.explain.wordings import DTYPE

    text = str(error)
    if hasattr(error, "asserted") or "attribute 'device' do not match" in text:  # torch.testing.assert_close
        return True
    if isinstance(error, AssertionError) and "device(type='cuda'" in _first_line(error):  # one without source
        return True
    reading = read(text)
    if reading is not None:
        return reading.family != DTYPE or "cuda" in text.lower()
    known = catalogue.find(text, type(error).__name__)
    return known is not None and known.area in _AREAS


def _kind(report: Any) -> str:
    return getattr(report, "devicelab", ("", ""))[0]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
