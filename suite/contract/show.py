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
    """A row for each backbone, and a column for each check of one method, or for each of several methods."""
    methods = list(dict.fromkeys(result.method for result in results))
    single = len(methods) == 1
    columns = [check for check in CHECKS if any(result.check == check for result in results)] if single else methods
    table = Table(box=box.SIMPLE, padding=0, title=_labelled(methods[0]) if single else None, title_justify="left")
    table.add_column("backbone")
    for column in columns:
        name = column if single else _labelled(column).replace(" ", "\n")
        table.add_column(name, justify="right", width=len(SIGN["fails"]) if narrow else None, overflow="fold")
    for backbone in MATRIX:
        here = [result for result in results if result.backbone == backbone]
        found = [[result.status for result in here if column in (result.check, result.method)] for column in columns]
        table.add_row(backbone, *map(_one_check if single else _all_checks, found))
    return table


def _labelled(method: str) -> str:
    return f"{method} ({default_settings(method).reduces})"


def _one_check(found: Sequence[str]) -> str:
    return SIGN[found[0]] if found else ""


def _all_checks(found: Sequence[str]) -> str:
    if "fails" in found:
        return SIGN["fails"]
    applied = [status for status in found if status != "skipped"]
    return f"{len(applied)} ok" if applied else "skip"


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
