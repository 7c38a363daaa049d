"""How all figures look: widths of a printed page, letters, and the digests of the records they are drawn from."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import Image

from suite.errors import UserError
from suite.study.records import DIGESTS, beside, digest_of

ONE_COLUMN, TWO_COLUMNS = 3.5, 7.0  # inches
DPI = 200
SCRIPTS = re.compile("CJK|Han Sans|Noto Sans|Hei|Gothic|Ming|Song|Hiragino|PingFang|Unicode|Unifont|Droid Sans")
FONTS = [
    "DejaVu Sans",  # it comes with matplotlib, so every machine has it; others are for letters that it has not
    *sorted({font.name for font in font_manager.fontManager.ttflist if SCRIPTS.search(font.name)}),
]
BY_NUMBER = re.compile(r"\\(x|u|U000)[0-9a-f]+")
NOTE = "letters that no font of this machine has are written by their Unicode numbers"
SETTINGS: dict[str, Any] = {
    "font.family": FONTS,
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.edgecolor": "0.5",
    "axes.linewidth": 0.6,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # letters stay letters
}
NOTHING_OF_TODAY = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}


@contextmanager
def canvas(
    path: Path,
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float],
    records: Sequence[Path],
    **options: Any,
) -> Iterator[tuple[Figure, Any]]:
    """A figure of `size` inches with its (rows, columns) axes, written to `path` in the end; no date is in the file.

    `path` ends in .png or .pdf; a PNG keeps the digests of the `records` that it is drawn from. `options` are those of
    `plt.subplots`.
    """
    check_figure(path)
    metadata: dict[str, Any] = dict(NOTHING_OF_TODAY[path.suffix])
    if path.suffix == ".png":
        metadata[DIGESTS] = json.dumps({record.name: digest_of(record) for record in records})
    settings: Any = {**sns.axes_style("whitegrid"), **SETTINGS}  # Any: matplotlib lists every name it knows
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
        try:
            yield figure, axes
            with beside(path) as temporary:
                save = partial(figure.savefig, temporary, dpi=DPI, metadata=metadata, format=path.suffix[1:])
                save()
                if any(BY_NUMBER.search(text.get_text()) for text in figure.findobj(Text)):  # ticks are known now
                    figure.suptitle(NOTE, fontsize=6)
                    save()
        finally:
            plt.close(figure)


def check_figure(path: Path) -> None:
    """Refuse a file that no figure can be written to by its ending."""
    if path.suffix not in NOTHING_OF_TODAY:
        raise UserError(f"{path}: figures end in {' or '.join(NOTHING_OF_TODAY)}")


def drawable(name: str) -> str:
    """A name as it is drawn: letters that no font has by their numbers, and nothing that matplotlib reads as a sign."""
    known = [one if ord(one) in _letters() else one.encode("unicode_escape").decode() for one in name]
    shown = re.sub(r"(?<!\\)\$", r"\\$", "".join(known))
    return f" {shown}" if shown.startswith("_") else shown  # legends leave such names out


@functools.cache
def _letters() -> frozenset[int]:
    """Code points of all letters that the fonts have."""
    paths = [font_manager.findfont(name, fallback_to_default=False) for name in FONTS]
    return frozenset(letter for path in paths for letter in FT2Font(path).get_charmap())


def heatmap(table: pd.DataFrame, axes: Axes, letters: float, **options: Any) -> None:
    """A table of numbers as coloured cells with their numbers, of so many points; `options` are those of seaborn."""
    table = table.rename(index=lambda name: drawable(str(name)), columns=lambda name: drawable(str(name)))
    sns.heatmap(table, ax=axes, annot=True, annot_kws={"size": letters}, linewidths=0.5, cbar=False, **options)
    axes.tick_params(axis="y", rotation=0)


def drawn_from(path: Path) -> dict[str, str]:
    """By name, the digests of the records that a PNG is drawn from; empty where it does not say."""
    try:
        with Image.open(path) as image:
            found = json.loads(image.info.get(DIGESTS, "{}"))
    except (OSError, ValueError):  # no image, or not one of ours
        return {}
    return found if isinstance(found, dict) else {}


def folded(label: str) -> str:
    """A label in lines, broken before what comes after the method."""
    return label.replace(" + ", "\n+ ").replace(" [", "\n[")
