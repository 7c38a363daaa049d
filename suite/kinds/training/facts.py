"""What the page of a study says: results of the rows in focus with intervals, and their limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from suite.kinds.training.cells import expand
from suite.kinds.training.columns import columns
from suite.kinds.training.schema import Study
from suite.kinds.training.summary import Line, read_record, schedules
from suite.kinds.training.table import table
from suite.report.layout import Column, Row
from suite.report.page.facts import Facts
from suite.report.statistics.intervals import LEVEL
from suite.report.statistics.power import fewest_seeds
from suite.report.statistics.significance import ALPHA
from suite.study.load import find
from suite.tasks.task import task

LETTER = re.compile("[a-z]'*")  # after z comes a'


def facts(folder: Path, lines: Sequence[Line]) -> Facts:
    """The facts of the study of a results folder; its file in `studies/` says which rows lead."""
    found = find(folder.name)
    study: Study | None = found.study if found else None
    names, shown = study.focus if study else (), _Shown(folder.name, lines)
    focus = [line for name in names for line in lines if line.row == name]
    leading = [line for line in [*focus, *_best(lines)] if line.accuracy]
    headline = "No row has a score yet: no claim."
    if leading:
        headline = f"`{leading[0].label}`: {task(leading[0].task).headline.label} {shown.whole(leading[0])}."
    first = [(name, "not in the record yet") for name in names if name not in {line.row for line in lines}]
    first += [(line.label, shown.whole(line)) for line in focus]
    warnings = [*(_unfinished(study, folder) if study else ()), *_warnings(leading[:1], lines)]
    return Facts(headline, (*first, *_facts(lines, shown)), tuple(warnings))


class _Shown:
    """Values of lines as the table shows them."""

    def __init__(self, name: str, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.columns: dict[str, Column] = {column.key: column for column in columns(lines)}
        self.rows: dict[str, Row] = dict(zip((line.label for line in lines), table(name, lines).rows(), strict=True))
        self.compared = [line for line in lines if line.p is not None]

    def text(self, line: Line, key: str) -> str:
        """A value without its mark; empty where there is none."""
        value = self.rows[line.label].values.get(key)
        return "" if value is None else self.columns[key].show(value)

    def score(self, line: Line) -> str:
        """Median with interval."""
        if line.accuracy is None:
            return "no seed has a score"
        level = f"{100 * LEVEL:g} % interval {self.text(line, 'interval')}, " if line.interval else ""
        return f"{self.text(line, 'score')} % ({level}{_plural(line.accuracy.n, 'seed')})"

    def gap(self, line: Line) -> str:
        """Difference from random pruning with interval; empty where it is not compared."""
        if line.comparison is None:
            return f"not compared with random: {line.versus.reason}" if line.versus.reason else ""
        interval = f" ({self.text(line, 'gap interval')})" if line.comparison.interval else ""
        return f"{self.text(line, 'gap')} pp vs. {line.versus.control}{interval}"

    def test(self, line: Line) -> str:
        """What the test of that difference says; empty where it is not compared."""
        if line.comparison is None:
            return ""
        if line.p is None:
            return "one seed: no test"
        family = f"Holm-corrected for {_plural(len(self.compared), 'comparison')}"
        if not line.testable:
            least = self.text(line, "smallest p")
            return f"no claim: with {line.comparison.n} paired seeds the smallest possible p is {least} ({family})"
        differs = "significant" if line.p < ALPHA else "no significant difference"
        return f"{differs}: p = {self.text(line, 'p')} ({family})"

    def whole(self, line: Line) -> str:
        """All of them."""
        return "; ".join(filter(None, [self.score(line), self.gap(line), self.test(line)]))


def _best(lines: Sequence[Line]) -> list[Line]:
    """The reduced rows with the highest median of each schedule; more than one of a schedule if they tie."""
    medians = {line: line.accuracy.median for line in lines if line.method != "none" and line.accuracy}
    return [
        line
        for line, median in medians.items()
        if median == max(other for one, other in medians.items() if one.schedule == line.schedule)
    ]


def _facts(lines: Sequence[Line], shown: _Shown) -> Iterator[tuple[str, str]]:
    if shown.compared:
        yield from _claims(shown)
    yield "seeds per row", _span(line.seeds for line in lines)
    for line in lines:
        if line.method == "none" and line.accuracy:
            yield "unpruned", shown.score(line)
    for line in _best(lines):
        name = "highest median" if len(schedules(lines)) < 2 else f"highest median [{line.schedule}]"
        rivals = [one for one in lines if one.schedule == line.schedule and one.group and one is not line]
        differs = sum(differs_significantly(one, line) for one in rivals)
        others = f"; differs significantly from {differs} of {_plural(len(rivals), 'other reduced row')}"
        yield name, f"{line.label}, {shown.score(line)}" + (others if rivals else "")
        yield f"cost of {line.label}", _cost(line, shown)


def _claims(shown: _Shown) -> Iterator[tuple[str, str]]:
    """Which rows differ significantly from random pruning, and what would be needed."""
    claimed = [line for line in shown.compared if line.p is not None and line.p < ALPHA]
    above, below = ([one for one in claimed if one.comparison and one.comparison.side == side] for side in (1, -1))
    yield "significantly above random", f"{len(above)} of {len(shown.compared)}" + _named(above)
    yield "significantly below random", f"{len(below)} of {len(shown.compared)}" + _named(below)
    if not any(line.testable for line in shown.compared):
        needed = fewest_seeds(ALPHA, len(shown.compared))
        yield f"seeds needed for p < {ALPHA:g}", f"{needed}, and more for small differences: see `suite power`"


def _cost(line: Line, shown: _Shown) -> str:
    whole = next((one.macs for one in shown.lines if one.method == "none" and one.macs), None)
    share = f" ({100 * line.macs / whole:.0f} % of unpruned)" if whole and line.macs else ""
    macs = f"{shown.text(line, 'macs')} GMACs{share}" if line.macs else "MACs not recorded"
    if line.speed is None:
        return f"{macs}; speed not measured"
    unreliable = ", unreliable timing" if line.timing_warnings else ""
    quartiles = f"quartiles {line.speed.low:.2f}–{line.speed.high:.2f}"
    return f"{macs}; {shown.text(line, 'speed')} the unpruned speed ({quartiles}{unreliable})"


def _warnings(leading: Iterable[Line], lines: Sequence[Line]) -> Iterator[str]:
    for line in leading:
        if line.interval and line.interval.reachable < LEVEL:
            covers = f"at most {100 * line.interval.reachable:.3g} %, not {100 * LEVEL:g} %"
            yield f"With so few seeds its interval is too narrow: coverage is {covers}."
        if line.timing_warnings:
            yield f"Unreliable timing of {line.label}: {line.timing_warnings}."
    failed = [one for line in lines for one in line.failed]
    counts = {what: sum(count for outcome, count in failed if outcome == what) for what, _ in failed}
    if counts:
        words = ", ".join(f"{count} {what}" for what, count in counts.items())
        yield f"Seeds without a score, left out of every number: {words}; see the notes below the table."


def _unfinished(study: Study, folder: Path) -> Iterator[str]:
    """Seeds of rows that were never tried, and cells that the study asks for since the record."""
    frame, asked = read_record(folder), expand(study)
    trained = frame[frame["kind"] == "accuracy"]
    tried = set(zip(trained["row"], trained["schedule"], trained["seed"], strict=True))
    wanted = {(cell.row, cell.schedule, str(cell.identity["seed"])) for cell in asked if cell.kind == "accuracy"}
    if missing := len(wanted - tried):
        yield f"The study is not finished: {_plural(missing, 'seed')} of its rows are missing in every number."
    ids, recorded = {cell.cell_id for cell in asked}, set(frame["cell_id"])
    if ids != recorded:
        yield (
            f"The study's file and methods as they are now ask for {len(ids)} cells; {len(ids - recorded)} are not in "
            f"this record and {len(recorded - ids)} of the record are not among them: run `suite run {folder.name}`."
        )


def differs_significantly(one: Line, other: Line) -> bool:
    """Whether two rows share no group; a row without one, as of a single seed, takes part in no test."""
    letters = set(LETTER.findall(one.group)), set(LETTER.findall(other.group))
    return all(letters) and not letters[0] & letters[1]


def _named(lines: Sequence[Line]) -> str:
    return f": {', '.join(line.label for line in lines)}" if lines else ""


def _span(counts: Iterable[int]) -> str:
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
