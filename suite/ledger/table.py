"""The ledger as a page and in the terminal, from the same lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.table import Table
from tabulate import tabulate

from suite.ledger.lines import CONTRADICTED, NOT_RUN, NOT_TAKEN, OUTSIDE, STATES, UPDATE, Line

MEASURED = ("where", "model", "metric", "published", "measured", "off by", "tolerance", "state", "notes")
WANTED = ("where", "model", "metric", "published", "tolerance", "command", "notes")
MISSING = ("where", "model", "metric", "published", "what is missing", "notes")
COUNTED = ("count", "tokens")  # units that need not be said
NAME = 12  # characters of an id that stay together
UNPRUNED = ("No pruning", "No merging")
INTRODUCTION = (
    "Published numbers of Cropr, and of the baselines and backbones that are here, wherever they are printed. Numbers "
    "of other methods stand only where Cropr's tables or the study `costs` have them, and are not taken on. What is "
    "published is written down in `results/published/`, with its source; what is measured comes from code or records "
    f"and is never typed. Made by `{UPDATE}`; `suite ledger --check` says what is stale."
)


def counts(lines: Sequence[Line]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and body of the table of counts: a row for each paper, and their sum."""
    papers = list(dict.fromkeys(line.paper for line in lines))
    body = [_counted(paper, [line for line in lines if line.paper == paper]) for paper in papers]
    return ("paper", *STATES, "all"), [*body, _counted("all", lines)]


def markdown(lines: Sequence[Line]) -> str:
    """The whole page."""
    head, body = counts(lines)
    parts = [
        "# Ledger of published numbers",
        INTRODUCTION,
        tabulate(body, head, tablefmt="pipe", disable_numparse=True, colalign=["left", *["right"] * (len(head) - 1)]),
        "\n".join(f"- {state}: {meaning}" for state, meaning in STATES.items()),
        "A number that is known at second hand only is never called contradicted: what its source says is not known to "
        "the word. Off by: measured less published, in the unit; for a list, how many of its numbers differ.",
    ]
    for paper in dict.fromkeys(line.paper for line in lines):
        parts += _section(paper, [line for line in lines if line.paper == paper])
    return "\n\n".join(parts) + "\n"


def terminal(lines: Sequence[Line], *, narrow: bool) -> Table:
    """Lines for a terminal, without notes; if that may be narrow, long ids fold."""
    rows = []
    for line in lines:
        unit = "" if line.unit in COUNTED else f" {line.unit}"
        rows.append((line.id, _short(line.published) + unit, _short(line.measured), f"±{line.tolerance}", line.state))
    return _table(("id", "published", "measured", "tolerance", "state"), rows, (0, 4), NAME if narrow else None)


def terminal_counts(lines: Sequence[Line]) -> Table:
    """The table of counts for a terminal."""
    head, body = counts(lines)
    return _table(head, body, (0,))


def explanation(line: Line) -> list[str]:
    """All that is known about one line, as sentences for a terminal."""
    said = {
        "": f"{_where(line)}: {_model(line)}, {line.metric} {line.published} {line.unit}",
        "source": f"{line.source} ({line.evidence})",
        "state": f"{line.state}: {STATES[line.state]}",
        "measured": f"{line.measured} {line.unit}, off by {line.off_by}" if line.measured else "",
        "tolerance": f"{line.tolerance} {line.unit}: {line.tolerance_from}",
        "remark": line.remark,
        "differs": line.differs,
        "needs": line.needs,
        "command": line.command,
    }
    return [f"{name}: {text}" if name else text for name, text in said.items() if text]


def noteworthy(lines: Iterable[Line]) -> list[Line]:
    """Lines whose measured value is not the published one."""
    return [line for line in lines if line.state in (OUTSIDE, CONTRADICTED)]


def _section(paper: str, lines: list[Line]) -> list[str]:
    """A paper's tables and their notes."""
    notes: list[str] = []
    wanted, missing = ([line for line in lines if line.state == state] for state in (NOT_RUN, NOT_TAKEN))
    measured = [line for line in lines if line.state not in (NOT_RUN, NOT_TAKEN)]
    parts = [f"## {paper}"]
    if measured:
        body = [
            (
                *_first(line),
                _short(line.measured),
                _short(line.off_by),
                f"±{line.tolerance}",
                line.state,
                _numbers(line, notes),
            )
            for line in measured
        ]
        parts.append(_piped(MEASURED, body, right=(3, 4, 5, 6)))
    if wanted:
        rows = [(*_first(line), f"±{line.tolerance}", f"`{line.command}`", _numbers(line, notes)) for line in wanted]
        parts += [f"Not runnable here, {len(wanted)}:", _piped(WANTED, rows, right=(3, 4))]
    if missing:
        rows = [(*_first(line), line.needs, _numbers(line, notes, needs=False)) for line in missing]
        parts += [f"Not taken on, {len(missing)}:", _piped(MISSING, rows, right=(3,))]
    return [*parts, "\n".join(f"- [{number}] {note}" for number, note in enumerate(notes, 1))]


def _first(line: Line) -> tuple[str, ...]:
    unit = "" if line.unit in COUNTED else f" {line.unit}"
    return _where(line), _model(line), line.metric, _short(line.published) + unit


def _where(line: Line) -> str:
    return line.table if line.row in ("", line.backbone) else f"{line.table}, {line.row}"


def _model(line: Line) -> str:
    method = "unpruned" if line.method in UNPRUNED else line.method
    setting = "" if line.setting in ("", "none") else f" ({line.setting})"
    return f"{line.backbone}, {method}{setting}" if line.backbone else f"{method}{setting}"


def _numbers(line: Line, notes: list[str], needs: bool = True) -> str:
    """Notes of a line by their numbers, with or without what it needs; new ones are put at the end."""
    said = (
        f"source: {line.source} ({line.evidence})",
        f"tolerance: {line.tolerance_from}",
        f"differs: {line.differs}" if line.differs else "",
        f"needs: {line.needs}" if line.needs and needs else "",
        line.remark,
    )
    for note in said:
        if note and note not in notes:
            notes.append(note)
    return " ".join(f"[{notes.index(note) + 1}]" for note in said if note)


def _short(text: str) -> str:
    """A long list by its ends."""
    parts = text.split()
    return f"{parts[0]} … {parts[-1]} ({len(parts)})" if len(parts) > 3 else text


def _piped(head: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    align = ["right" if index in right else "left" for index in range(len(head))]
    safe = [[cell.replace("|", "\\|") for cell in row] for row in body]
    return tabulate(safe, head, tablefmt="pipe", disable_numparse=True, colalign=align)


def _counted(name: str, lines: Sequence[Line]) -> tuple[str, ...]:
    found = Counter(line.state for line in lines)
    return (name, *(str(found[state]) for state in STATES), str(len(lines)))


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int], longest: int | None = None
) -> Table:
    """Words stay whole where the terminal is narrow, but for names of rows with more than `longest` characters."""
    table = Table(box=box.SIMPLE, padding=0)
    for index, name in enumerate(head):
        words = [word for text in (name, *(row[index] for row in rows)) for word in text.split()]
        narrowest = max(len(word if index else word[:longest]) for word in words)
        justify: Literal["left", "right"] = "left" if index in left else "right"
        table.add_column(name, justify=justify, min_width=narrowest, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
