"""What a person sees of a contract: progress, a matrix, and a sentence for each failure and skip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suite.contract.backbones import MATRIX
from suite.contract.run import CHECKS, EVERY, ONE_BACKBONE, Result, examine
from suite.reduction.registry import default_settings
from suite.terminal import ManualProgress

SIGN = {"holds": "ok", "skipped": "–", "fails": "FAIL"}
EACH = "backbones on which each check holds"
WIDE = 105  # columns that one method's matrix takes
WORDS = {"holds": "hold", "fails": "fail", "skipped": "skipped"}


def examine_visibly(methods: Sequence[str], checks: Sequence[str], console: Console) -> list[Result]:
    """Run checks of methods over the matrix, with a progress bar on terminals."""
    total = len(methods) * sum(1 if check in ONE_BACKBONE else len(MATRIX) for check in checks)
    results = []
    with ManualProgress(console, total) as bar:
        for method in methods:
            bar.show(method)
            for result in examine(method, checks):
                results.append(result)
                bar.advance()
                bar.show(f"{method}: {result.check} on {result.backbone}")
    return results


def show(results: Sequence[Result], console: Console) -> None:
    """Print the matrix, every failure with its sentence, every skip with its reason, and how many there are."""
    console.print(matrix(results, narrow=console.width < WIDE))
    for status in ("fails", "skipped"):
        for where, reason in _grouped(result for result in results if result.status == status):
            console.print(f"{status}  {where}", highlight=False)
            console.print(Padding(Text(reason), (0, 0, 0, len(status) + 2)), highlight=False)
    counts = [f"{sum(result.status == status for result in results)} {word}" for status, word in WORDS.items()]
    console.print(f"checks: {', '.join(counts)}", highlight=False)


def matrix(results: Sequence[Result], narrow: bool = False) -> Table:
    """A column for each check, and a row for each backbone of one method, or for each of several methods."""
    methods = list(dict.fromkeys(result.method for result in results))
    single = len(methods) == 1
    rows = {name: name for name in MATRIX} if single else {name: _labelled(name) for name in methods}
    table = Table(box=box.SIMPLE, padding=0, title=_labelled(methods[0]) if single else EACH, title_justify="left")
    table.add_column("backbone" if single else "method")
    columns = [check for check in CHECKS if any(result.check == check for result in results)]
    for column in columns:
        table.add_column(column, justify="right", width=len(SIGN["fails"]) if narrow else None, overflow="fold")
    for row, label in rows.items():
        here = [result for result in results if row in (result.backbone, result.method)]
        found = [[result.status for result in here if result.check == column] for column in columns]
        table.add_row(label, *map(_one_check if single else _all_checks, found))
    return table


def _labelled(method: str) -> str:
    return f"{method} ({default_settings(method).reduces})"


def _one_check(found: Sequence[str]) -> str:
    return SIGN[found[0]] if found else ""


def _all_checks(found: Sequence[str]) -> str:
    if "fails" in found:
        return SIGN["fails"]
    applied = [status for status in found if status != "skipped"]
    return str(len(applied)) if applied else SIGN["skipped"]


def _grouped(results: Iterable[Result]) -> Iterator[tuple[str, str]]:
    """Where each reason was given, and the reason."""
    checks: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        checks.setdefault((result.method, result.backbone, result.reason), []).append(result.check)
    backbones: dict[tuple[str, str, str], list[str]] = {}
    for (method, backbone, reason), named in checks.items():
        backbones.setdefault((method, ", ".join(named), reason), []).append(backbone)
    for (method, listed, reason), where in backbones.items():
        yield f"{method}: {listed} on {EVERY if len(where) == len(MATRIX) else ', '.join(where)}", reason
