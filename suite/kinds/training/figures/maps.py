"""Maps of what methods keep: for a few images, when each patch left and what the model predicts, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from numpy.typing import NDArray

from suite.data.labels import decode
from suite.kinds.training.results import Example, Results, kept_after, read_examples
from suite.kinds.training.schema import Study
from suite.kinds.training.study import not_here, refuse
from suite.measure.examples import EXAMPLES
from suite.report.style import canvas, drawable, folded
from suite.study.load import load

Bytes = NDArray[np.uint8]
SIDE = 0.6  # of a map, inches


@dataclass(frozen=True)
class Shown:
    """What the first line shows.

    Attributes:
        images: (3, height, width), 0 to 255.
        labels: label map, (height, width), of each; None where images have one class.
        colours: of each class, 0 to 255; other labels are drawn white.
    """

    images: Sequence[Bytes]
    labels: Sequence[Bytes] | None = None
    colours: Sequence[Sequence[int]] = ()

    def paint(self, labels: Bytes) -> Bytes:
        """A label map in colours, (height, width, 3)."""
        palette = np.full((256, 3), 255, np.uint8)
        palette[: len(self.colours)] = self.colours
        return palette[labels]


def draw_study_maps(results: Results, path: Path) -> None:
    """Draw the maps of a study in `studies/` from its results folder; the images come from its recipe."""
    study = load(results.folder.name).study
    rows = example_rows(study, results)
    refuse(not_here(study))
    draw_maps(rows, shown(study), path, [results.folder / "examples.json"])


def example_rows(study: Study, results: Results) -> dict[str, Example]:
    """By label, for each row and schedule of a results folder, the cell with the lowest seed; in the study's order.

    Raises:
        UserError: if there is none.
    """
    found: dict[str, Example] = {}
    examples = read_examples(results.folder)
    for one in sorted(examples, key=lambda one: int(one["seed"])):
        if label := results.label(one["row"], one["schedule"]):
            found.setdefault(label, one)
    place = {row.label: index for index, row in enumerate(study.methods)}

    def order(label: str) -> tuple[int, int]:
        return place.get(found[label]["row"], len(place)), results.labels.index(label)

    return {label: found[label] for label in sorted(found, key=order)}


def shown(study: Study) -> Shown:
    """The images that cells of a study recorded examples of."""
    images, labels = study.goal.examples(study.data, EXAMPLES)
    return Shown(images, labels, () if labels is None else study.data.colours(study.goal.target))


def draw_maps(rows: Mapping[str, Example], images: Shown, path: Path, records: Sequence[Path] = ()) -> None:
    """Draw a line for each of `rows`, under a line with the images and, where there are any, their labels.

    For every image a line has the prediction, where there are labels, and a map of when patches left. `records` are
    what the rows were read from.
    """
    count = len(next(iter(rows.values()))["left_after"])
    each = 1 if images.labels is None else 2
    depth = max(example["depth"] for example in rows.values())
    colours = ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 1, depth + 1)))
    shape = (1 + len(rows), count * each)
    size = (SIDE * shape[1] + 1.6, (SIDE + (0.14 if each == 1 else 0)) * shape[0] + 0.7)
    with canvas(path, *shape, size=size, records=records) as (figure, axes):
        for index in range(count):
            here = slice(index * each, (index + 1) * each)
            _draw_image(list(axes[0, here]), images, index)
            for place, example in enumerate(rows.values(), 1):
                _draw_row(list(axes[place, here]), example, index, colours, depth, images)
        names = ["image" if each == 1 else "image, labels", *map(folded, rows)]
        for axis, name in zip(axes[:, 0], names, strict=True):
            axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
        scale = ScalarMappable(BoundaryNorm(np.arange(depth + 2) - 0.5, depth + 1), colours)
        bar = figure.colorbar(scale, ax=axes, ticks=range(depth + 1), location="bottom", aspect=40, pad=0.01)
        bar.ax.set_xticklabels([*(str(block) for block in range(1, depth + 1)), "stays"])
        bar.set_label("block after which a patch left")


def _draw_image(axes: Sequence[Axes], images: Shown, index: int) -> None:
    _show(axes[0], images.images[index].transpose(1, 2, 0))
    if images.labels is not None:
        _show(axes[1], images.paint(images.labels[index]))


def _draw_row(
    axes: Sequence[Axes], example: Example, index: int, colours: ListedColormap, depth: int, images: Shown
) -> None:
    predicted, kept = example["prediction"][index], kept_after(example)[index]
    left = (kept * np.arange(1, len(kept) + 1)[:, None, None]).max(0)  # for good: the last block that kept a patch
    if len(axes) > 1:
        _show(axes[0], images.paint(decode(predicted)))
    _show(axes[-1], left, cmap=colours, vmin=-0.5, vmax=depth + 0.5)
    if len(axes) == 1:
        axes[0].set_xlabel(f"predicts {drawable(str(predicted))}", fontsize=6, labelpad=1)


def _show(axes: Axes, image: Any, **options: Any) -> None:
    axes.imshow(image, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
