"""All figures of a study, one after another; one that cannot be drawn says why and stops no other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.report.style import drawn_from
from suite.study.kind import Kind
from suite.study.records import digest_of


@dataclass(frozen=True)
class Drawn:
    """A figure's name, where it was written, or why it was not."""

    name: str
    path: Path | None
    reason: str = ""


def draw(
    kind: Kind, folder: Path, lines: Sequence[Any], suffix: str = ".png", names: Collection[str] | None = None
) -> Iterator[Drawn]:
    """Draw every figure, or those named, into a results folder, files ending in `suffix` (.png or .pdf).

    A figure that cannot be drawn any more is deleted, for it would show another record.
    """
    for name, drawing in kind.drawings.items():
        if names is not None and name not in names:
            continue
        path = folder / f"{name}{suffix}"
        try:
            drawing.draw(folder, lines, path)
        except UserError as error:
            path.unlink(missing_ok=True)
            yield Drawn(name, None, str(error))
        except ModuleNotFoundError as error:
            extra = "pip install 'cropr-suite[segmentation]'"
            yield Drawn(name, None, f"{error.name} is not installed; get it with: {extra}")
        else:
            yield Drawn(name, path)


def outdated(kind: Kind, folder: Path) -> list[str]:
    """Figures that are missing, or drawn from records that are not those beside them: their digests tell."""
    return [name for name in kind.drawings if _is_outdated(folder, name)]


def _is_outdated(folder: Path, name: str) -> bool:
    said = drawn_from(folder / f"{name}.png")
    now = {record: digest_of(folder / record) for record in said if (folder / record).is_file()}
    return not said or said != now
