"""Pictures of what methods keep: for a few images, when each patch left and what the model says, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from numpy.typing import NDArray

from suite.data.recipe import DigitScenes
from suite.data.scenes import make_scenes
from suite.errors import UserError
from suite.measure.pictures import PICTURED, decode
from suite.study.cells import expand
from suite.study.record import Record
from suite.study.schema import Study

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """What the first column shows.

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


@dataclass(frozen=True)
class Pictured:
    """One column: a row of the study and what `measure.pictures.picture` recorded for it."""

    label: str
    picture: dict[str, Any]


def pictured(study: Study, record: Record) -> list[Pictured]:
    """A column for each row and schedule of a study: its finished cell with the lowest seed.

    Raises:
        UserError: if none is finished.
    """
    found: dict[str, Pictured] = {}
    cells = [cell for cell in expand(study) if cell.kind == "accuracy"]
    several = len(study.schedules) > 1
    for cell in sorted(cells, key=lambda cell: int(cell.identity["seed"])):
        picture = (record.finished(cell) or {}).get("details", {}).get("picture")
        label = f"{cell.row} [{cell.schedule}]" if several and cell.schedule != "none" else cell.row
        if picture is not None:
            found.setdefault(label, Pictured(label, picture))
    if not found:
        raise UserError("no cell of this study has finished with a picture; go on with suite run")
    order = list(dict.fromkeys(cell.row for cell in cells))
    return sorted(found.values(), key=lambda column: order.index(column.label.split(" [")[0]))


def shown(study: Study) -> Shown:
    """The images that cells of a study recorded pictures of.

    Raises:
        UserError: if they are not there.
    """
    if study.task == "segmentation":
        from suite.tasks.segmentation.data import first_images, open_data

        data = open_data(study.data)
        images, labels = zip(*first_images(data, PICTURED), strict=True)
        return Shown(images, labels, data.validation.metainfo["palette"])
    assert isinstance(study.data, DigitScenes)
    return Shown(list(make_scenes(study.data, "validation").images[:PICTURED]))


def draw_maps(columns: Sequence[Pictured], images: Shown, path: Path) -> None:
    """Draw the images, and for every column when patches left and, where there are labels, the prediction above it."""
    count = len(columns[0].picture["left_after"])
    lines = 1 if images.labels is None else 2
    depth = max(column.picture["depth"] for column in columns)
    colours = ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 1, depth + 1)))
    shape = (count * lines, 1 + len(columns))
    figure, axes = plt.subplots(
        *shape, figsize=(1.5 * shape[1] + 1.2, 1.6 * shape[0]), squeeze=False, layout="constrained"
    )
    for index in range(count):
        _draw_image(list(axes[index * lines : (index + 1) * lines, 0]), images, index)
        for place, column in enumerate(columns, 1):
            own = list(axes[index * lines : (index + 1) * lines, place])
            _draw_column(own, column, index, colours, depth, images)
    for axis, name in zip(
        axes[0], ["image" if lines == 1 else "image, labels", *(c.label for c in columns)], strict=True
    ):
        axis.set_title(name.replace(" + ", "\n+ "), fontsize=9)
    scale = ScalarMappable(BoundaryNorm(np.arange(depth + 2) - 0.5, depth + 1), colours)
    bar = figure.colorbar(scale, ax=axes, ticks=range(depth + 1), shrink=0.5)
    bar.ax.set_yticklabels([*map(str, range(depth)), "stays"], fontsize=8)
    bar.set_label("block after which a patch left", fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _draw_image(axes: Sequence[Axes], images: Shown, index: int) -> None:
    _show(axes[0], images.images[index].transpose(1, 2, 0))
    if images.labels is not None:
        _show(axes[1], images.paint(images.labels[index]))


def _draw_column(
    axes: Sequence[Axes], column: Pictured, index: int, colours: ListedColormap, depth: int, images: Shown
) -> None:
    picture = column.picture
    said, left = picture["said"][index], np.reshape(picture["left_after"][index], picture["grid"])
    if "patches" in picture:  # of the image; the others are padding
        rows, columns = picture["patches"][index]
        left = left[:rows, :columns]
    if len(axes) > 1:
        _show(axes[0], images.paint(decode(said)))
    _show(axes[-1], left, cmap=colours, vmin=-0.5, vmax=depth + 0.5)
    if len(axes) == 1:
        axes[0].set_xlabel(f"says {said}", fontsize=8)


def _show(axes: Axes, image: Any, **options: Any) -> None:
    axes.imshow(image, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
