"""What the page of a study says: results of the rows in focus with intervals, and their limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import stdev

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.columns import columns
from suite.kinds.training.focus import focus_of
from suite.kinds.training.line import Line
from suite.kinds.training.schema import Study
from suite.kinds.training.summary import read_record, schedules
from suite.kinds.training.table import FINE_TUNING_ONLY, table
from suite.report.layout import Column, Row
from suite.report.page.facts import Facts
from suite.report.statistics.intervals import LEVEL
from suite.report.statistics.power import seeds_needed
from suite.study.load import find
from suite.tasks.task import task

LETTER = re.compile("[a-z]'*")  # after z comes a'


def facts(folder: Path, lines: Sequence[Line]) -> Facts:
    """The facts of the study of a results folder; the rows in its focus lead."""
    found = find(folder.name)
    study: Study | None = found.study if found else None
    focus, shown = focus_of(folder), _Shown(folder.name, lines)
    chosen = [line for name in focus.rows for line in lines if line.row == name]
    longest = max(
        (line for line in chosen if line.row == chosen[0].row), key=lambda line: line.epochs or 0, default=None
    )
    leading = [line for line in [longest, *_best(lines)] if line and line.score]
    headline = _headline(leading, shown) if leading else "No row has a score yet: no claim."
    first = [(name, "not in the record yet") for name in focus.rows if name not in {line.row for line in lines}]
    first += [(line.label, shown.whole(line)) for line in chosen]
    warnings = [*(_unfinished(study, folder) if study else ()), *_warnings(leading[:1], lines)]
    if focus.post_hoc:
        warnings.insert(0, "Post hoc: the rows in focus were declared after cells had ended.")
    return Facts(headline, (*first, *_facts(lines, shown)), tuple(warnings))


def _headline(leading: Sequence[Line], shown: _Shown) -> str:
    """What was found of the first row in focus and of the best one, then what is uncertain."""
    said = [f"`{line.label}` {shown.finding(line)}." for line in dict.fromkeys([leading[0], leading[-1]])]
    undecided = [f"`{line.label}`" for line in shown.compared if line is not leading[0] and not line.differs]
    if undecided:
        said.append(f"Not shown to differ from random pruning: {', '.join(undecided)}.")
    return " ".join(said)


class _Shown:
    """Values of lines as the table shows them."""

    def __init__(self, name: str, lines: Sequence[Line]) -> None:
        self.lines, self.headline = lines, task(lines[0].task).headline
        self.columns: dict[str, Column] = {column.key: column for column in columns(lines)}
        self.rows: dict[str, Row] = dict(zip((line.label for line in lines), table(name, lines).rows(), strict=True))
        self.compared = [line for line in lines if line.in_focus and line.gap]

    def text(self, line: Line, key: str) -> str:
        """A value without its mark; empty where there is none."""
        value = self.rows[line.label].values.get(key)
        return "" if value is None else self.columns[key].show(value)

    def score(self, line: Line) -> str:
        """Median with interval."""
        if line.score is None:
            return "no seed has a score"
        level = f"{100 * LEVEL:g} % interval {self.text(line, 'interval')}, " if line.interval else ""
        score = f"{self.text(line, 'score')} {self.headline.unit}".rstrip()
        return f"{score} ({level}{_plural(line.score.n, 'seed')})"

    def finding(self, line: Line) -> str:
        """How a row differs from random pruning, with the interval, or what it scores where it is not compared."""
        found, control = line.gap, line.versus.control
        if line.comparison is None:
            return f"has {self.headline.label} {self.score(line)}"
        if found is None:
            return f"is {self._difference(line.comparison.gap, '+')} from {control}, in one seed: no interval"
        seeds = _plural(found.n, "seed")
        if not line.differs or found.low * found.high < 0:  # Holm's correction finds more than the intervals at once
            which = (
                "differs from"
                if line.differs
                else "is not shown to differ from"
                if line.in_focus
                else "was compared, exploratory, with"
            )
            low, high = (self._number(end, "+") for end in (found.low, found.high))
            return f"{which} {control}: {self._difference(found.mean, '+')}, {low} to {high}, {seeds}"
        low, high = (self._number(end) for end in sorted((abs(found.low), abs(found.high))))
        more = "more" if found.mean > 0 else "fewer"
        return f"keeps {self._difference(abs(found.mean))} {more} than {control}, {low} to {high}, {seeds}"

    def _number(self, value: float, sign: str = "") -> str:
        return f"{value:{sign}.{self.headline.decimals}f}"

    def _difference(self, value: float, sign: str = "") -> str:
        return f"{self._number(value, sign)} {self.headline.difference('points')}".rstrip()

    def whole(self, line: Line) -> str:
        """Its score, the difference, and what the test of that says."""
        if line.comparison is None:
            reason = f"not compared with random: {line.versus.reason}" if line.versus.reason else ""
            return "; ".join(filter(None, [self.score(line), reason]))
        family = f"Holm-corrected for {_plural(len(self.compared), 'comparison')}"
        p = "" if line.p is None else f"p = {self.text(line, 'p')} ({family})"
        return "; ".join(filter(None, [self.score(line), self.finding(line), p]))


def _best(lines: Sequence[Line]) -> list[Line]:
    """The reduced rows with the highest median of each schedule; more than one of a schedule if they tie."""
    medians = {line: line.score.median for line in lines if not line.unpruned and line.score}
    return [
        line
        for line, median in medians.items()
        if median == max(other for one, other in medians.items() if one.schedule == line.schedule)
    ]


def _facts(lines: Sequence[Line], shown: _Shown) -> Iterator[tuple[str, str]]:
    if shown.compared:
        yield from _claims(shown)
    yield "seeds per row", _span(line.seeds for line in lines)
    unpruned = [line for line in lines if line.unpruned and line.score]
    for line in unpruned:
        yield line.label if len(unpruned) > 1 else "unpruned", shown.score(line)
    for line in _best(lines):
        name = "highest median" if len(schedules(lines)) < 2 else f"highest median [{line.schedule}]"
        rivals = [one for one in lines if one.schedule == line.schedule and one.group and one is not line]
        differs = sum(differs_significantly(one, line) for one in rivals)
        others = f"; differs significantly from {differs} of {_plural(len(rivals), 'other reduced row')}"
        yield name, f"{line.label}, {shown.score(line)}" + (others if rivals else "")
        yield f"cost of {line.label}", _cost(line, shown)


def _claims(shown: _Shown) -> Iterator[tuple[str, str]]:
    """Which rows differ significantly from random pruning, and how many seeds the others would need."""
    for name, sign in (("above", 1), ("below", -1)):
        found = [line for line in shown.compared if line.differs and line.gap and line.gap.mean * sign > 0]
        yield f"significantly {name} random", f"{len(found)} of {len(shown.compared)}" + _named(found)
    for line in shown.compared:
        if not line.differs and (needed := _needed(line, len(shown.compared))):
            yield (
                f"seeds to decide {line.label}",
                f"about {needed}, if its difference and spread are as they were found",
            )


def _needed(line: Line, comparisons: int) -> int | None:
    """Seeds with which such a difference is found in 80 % of studies; None if no study has so many."""
    assert line.comparison is not None
    try:
        return seeds_needed(line.comparison.gap, stdev(line.comparison.differences), comparisons=comparisons)
    except UserError:
        return None


def _cost(line: Line, shown: _Shown) -> str:
    whole = next((one.macs for one in shown.lines if one.unpruned and one.macs), None)
    share = f" ({100 * line.macs / whole:.0f} % of unpruned)" if whole and line.macs else ""
    macs = f"{shown.text(line, 'macs')} GMACs{share}" if line.macs else "MACs not recorded"
    if line.speed is None:
        return f"{macs}; speed not measured"
    unreliable = ", unreliable timing" if line.timing_warnings else ""
    quartiles = f"quartiles {line.speed.low:.2f}–{line.speed.high:.2f}"
    return f"{macs}; {shown.text(line, 'speed')} the unpruned speed ({quartiles}{unreliable})"


def _warnings(leading: Iterable[Line], lines: Sequence[Line]) -> Iterator[str]:
    if any(line.same_start for line in lines):
        yield FINE_TUNING_ONLY
    for line in leading:
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
