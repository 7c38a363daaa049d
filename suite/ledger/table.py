"""The ledger as a page and in the terminal, from the same lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from suite.ledger.lines import STATES, UNMEASURED, UPDATE, Line

PAGE_HEADS = {  # by what a section lists; "#": right-aligned
    "measured": ("where", "model", "metric", "#published", "#measured", "#off by", "#tolerance", "state", "notes"),
    "not runnable here": ("where", "model", "metric", "#published", "#tolerance", "command", "notes"),
    "out of scope": ("where", "model", "metric", "#published", "what is missing", "notes"),
}
COUNTED = ("count", "tokens")  # units that are left out
UNPRUNED = ("No pruning", "No merging")
INTRODUCTION = (
    "Published numbers of Cropr, and of the baselines and backbones that are here, wherever they are printed. Numbers "
    "of other methods are here only where Cropr's tables or the study `costs` have them, and are out of scope. They "
    "are in `results/published/`, with their sources; what is measured comes from code or records and is never typed. "
    f"Made by `{UPDATE}`; `suite ledger --check` says what is stale."
)
EXPLANATION = (
    "A number that is known at second hand only is never called contradicted: what its source says is not known to the "
    "word. Off by: measured less published, in the unit; for a list, how many of its numbers differ."
)


def markdown(lines: Sequence[Line]) -> str:
    """The whole page."""
    head, body = _counts(lines)
    states = "\n".join(f"- {state}: {meaning}" for state, meaning in STATES.items())
    parts = ["# Ledger of published numbers", INTRODUCTION, _table(head, body, "pipe"), states, EXPLANATION]
    for paper in dict.fromkeys(line.paper for line in lines):
        parts += _section(paper, [line for line in lines if line.paper == paper])
    return "\n\n".join(parts) + "\n"


def terminal(lines: Sequence[Line]) -> str:
    """Lines for a terminal, without notes."""
    rows = [(line.id, _published(line), _short(line.measured), f"±{line.tolerance}", line.state) for line in lines]
    return _table(("id", "#published", "#measured", "#tolerance", "state"), rows, "simple")


def terminal_counts(lines: Sequence[Line]) -> str:
    """How many lines of each paper are in which state, for a terminal."""
    return _table(*_counts(lines), "simple")


def explanation(line: Line) -> list[str]:
    """All that is known about one line, as sentences for a terminal."""
    texts = {
        "": f"{line.where}: {_model(line)}, {line.metric} {line.value} {line.unit}",
        "source": f"{line.source} ({line.evidence})",
        "state": f"{line.state}: {STATES[line.state]}",
        "measured": f"{line.measured} {line.unit}, off by {line.off_by}" if line.measured else "",
        "tolerance": f"{line.tolerance} {line.unit}: {line.tolerance_from}",
        **{name: getattr(line, name) for name in ("remark", "differs", "needs", "command")},
    }
    return [f"{name}: {text}" if name else text for name, text in texts.items() if text]


def noteworthy(lines: Iterable[Line]) -> list[Line]:
    """Lines whose measured value is not the published one."""
    return [line for line in lines if line.state in ("outside", "contradicted")]


def _section(paper: str, lines: Sequence[Line]) -> list[str]:
    """A paper's tables and their notes."""
    notes: dict[str, int] = {}  # with their numbers
    parts = [f"## {paper}"]
    for name, head in PAGE_HEADS.items():
        own = [line for line in lines if (line.state if line.state in UNMEASURED else "measured") == name]
        rows = [(line.where, _model(line), line.metric, _published(line), *_rest(line, notes)) for line in own]
        if own and name in UNMEASURED:
            parts.append(f"{name.capitalize()}, {len(own)}:")
        parts += [_table(head, rows, "pipe")] if own else []
    return [*parts, "\n".join(f"- [{number}] {note}" for note, number in notes.items())]


def _rest(line: Line, notes: dict[str, int]) -> tuple[str, ...]:
    """The cells after the published number, by what the section lists."""
    if line.state == "out of scope":
        return line.needs, _numbers(line, notes, "")
    if line.state == "not runnable here":
        return f"±{line.tolerance}", f"`{line.command}`", _numbers(line, notes, line.needs)
    measured = (_short(line.measured), _short(line.off_by), f"±{line.tolerance}", line.state)
    return *measured, _numbers(line, notes, line.needs)


def _published(line: Line) -> str:
    return _short(line.value) + ("" if line.unit in COUNTED else f" {line.unit}")


def _model(line: Line) -> str:
    method = "unpruned" if line.method in UNPRUNED else line.method
    setting = "" if line.setting in ("", "none") else f" ({line.setting})"
    return f"{line.backbone}, {method}{setting}" if line.backbone else f"{method}{setting}"


def _numbers(line: Line, notes: dict[str, int], needs: str) -> str:
    """Notes of a line by their numbers; new ones are put at the end."""
    texts = {
        "source: ": f"{line.source} ({line.evidence})",
        "tolerance: ": line.tolerance_from,
        "differs: ": line.differs,
        "needs: ": needs,
        "": line.remark,
    }
    own = [name + text for name, text in texts.items() if text]
    return " ".join(f"[{notes.setdefault(note, len(notes) + 1)}]" for note in own)


def _short(text: str) -> str:
    """A long list by its ends."""
    parts = text.split()
    return f"{parts[0]} … {parts[-1]} ({len(parts)})" if len(parts) > 3 else text


def _counts(lines: Sequence[Line]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and body of the table of counts: a row for each paper, and their sum."""
    papers = {paper: [line for line in lines if line.paper == paper] for paper in dict.fromkeys(x.paper for x in lines)}
    body = []
    for name, own in (papers | {"all": list(lines)}).items():
        found = Counter(line.state for line in own)
        body.append((name, *(str(found[state]) for state in STATES), str(len(own))))
    return ("paper", *(f"#{state}" for state in STATES), "#all"), body


def _table(head: Sequence[str], body: Sequence[Sequence[str]], form: str) -> str:
    align = ["right" if name.startswith("#") else "left" for name in head]
    cells = [[cell.replace("|", "\\|") if form == "pipe" else cell for cell in row] for row in body]
    names = [name.removeprefix("#") for name in head]
    return tabulate(cells, names, tablefmt=form, disable_numparse=True, colalign=align if body else None)
