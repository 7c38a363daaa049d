"""All figures of a study, one after another; one that cannot be drawn says why and stops no other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from suite.errors import UserError
from suite.kinds.training.figures.agreement import draw_agreement, draw_agreement_of_rows
from suite.kinds.training.figures.classes import draw_classes
from suite.kinds.training.figures.curves import draw_losses, draw_scores
from suite.kinds.training.figures.layers import draw_agreement_of_layers
from suite.kinds.training.figures.maps import draw_study_maps
from suite.kinds.training.figures.pareto import draw_pareto
from suite.kinds.training.figures.ranks import draw_ranks
from suite.kinds.training.figures.tokens import draw_tokens
from suite.kinds.training.results import Results

FIGURES: dict[str, Callable[[Results, Path], None]] = {
    "pareto": draw_pareto,
    "ranks": draw_ranks,
    "classes": draw_classes,
    "curves-score": draw_scores,
    "curves-loss": draw_losses,
    "tokens": draw_tokens,
    "agreement": draw_agreement,
    "agreement-layers": draw_agreement_of_layers,
    "agreement-rows": draw_agreement_of_rows,
}


@dataclass(frozen=True)
class Drawn:
    """A figure's name, where it was written, or why it was not."""

    name: str
    path: Path | None
    reason: str = ""


def figures_of(study: str) -> dict[str, Callable[[Results, Path], None]]:
    """How each figure is drawn; `study` is the file's name, for the images of the maps."""

    def maps(results: Results, path: Path) -> None:
        draw_study_maps(study, results.folder, path)

    return FIGURES | {"maps": maps}


def draw_study(study: str, results: Results, suffix: str, names: Collection[str] | None = None) -> Iterator[Drawn]:
    """Draw every figure, or those named, into the results' folder, files ending in `suffix` (.png or .pdf).

    A figure that cannot be drawn any more is deleted, for it would show another record.
    """
    for name, draw in figures_of(study).items():
        if names is not None and name not in names:
            continue
        path = results.folder / f"{name}{suffix}"
        try:
            draw(results, path)
        except UserError as error:
            path.unlink(missing_ok=True)
            yield Drawn(name, None, str(error))
        except ModuleNotFoundError as error:
            yield Drawn(
                name, None, f"{error.name} is not installed; get it with: pip install 'cropr-suite[segmentation]'"
            )
        else:
            yield Drawn(name, path)
