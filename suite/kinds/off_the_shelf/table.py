"""The table of a study without training, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from suite.kinds.off_the_shelf.cells import OTHERS, SMALLER, UNPRUNED
from suite.kinds.off_the_shelf.record import Ends, Found, Line
from suite.kinds.off_the_shelf.scores import METRICS, Metric
from suite.report.layout import UNRELIABLE, Block, Column, Note, Row, Table, recorded
from suite.report.trace import Used

# The first that is known is compared with smaller images.
HEADLINES = ("correct", "neighbours", "same_top1", "cosine_feature")
OVER = "; mean over images (over groups of them, where the study names some), of rows that draw over seeds too"
ENDS = "of the interval at 95 % over images or groups: Wilson's of a share, else Student's t"

GAIN_ENDS = "of the interval over images or groups by Student's t, at 95 % for all compared rows at once (Bonferroni)"


def headline(lines: Sequence[Line]) -> str:
    """The metric by which rows are compared: accuracy, else agreement, else the cosine of features."""
    return next(name for name in HEADLINES if any(name in line.found for line in lines) or name == HEADLINES[-1])


def _columns(chief: str) -> Iterator[Column]:
    yield Column("row", "row", align="left", fields=("row",), how="as the study says")
    yield from recorded("schedule", "method", "settings", "fusion", "image", "images", "groups")
    macs = "multiply-accumulates of an image, counted, convention full"
    yield Column("macs", "GMACs", "{:.3g}".format, fields=("gmacs_full",), how=macs)
    yield Column("share", "of unpruned", "{:.0f} %".format, fields=("macs_percent",), how=f"{macs}; of the unpruned's")
    for name, metric in METRICS.items():
        yield from _of_metric(name, metric)
    metric = METRICS[chief]
    ends, both = (f"lower end {GAIN_ENDS}", f"upper end {GAIN_ENDS}"), f"both ends {GAIN_ENDS}"
    how = f"{metric.how}{OVER}; less that of {SMALLER} at its cost, image by image"
    yield Column("gain", f"Δ {metric.heading} vs. {SMALLER}", _signed(metric), fields=("gain",), how=how, metric=chief)
    fields = ("gain_low", "gain_high")
    yield Column(
        "gain ends", "95 % of Δ", _ends(metric), form="long", fields=fields, how=both, parts=ends, metric=chief
    )
    rounds = tuple(f"{what}, over rounds" for what in ("median", "first quartile", "third quartile"))
    how = "images per second over those of the unpruned model, side by side: median over rounds"
    timed = ("speed", "speed_low", "speed_high")
    yield Column("speed", "speed", _times, fields=timed, how=how, parts=rounds, metric="speed_ratio")
    yield from recorded("speed_timing_warnings", how="why the timing is unreliable; empty if nothing speaks against it")
    yield from recorded("status", "reason")


def _times(numbers: tuple[float, float, float]) -> str:
    return f"{numbers[0]:.2f}x"


def _of_metric(name: str, metric: Metric) -> Iterator[Column]:
    unit = f", {metric.unit}" if metric.unit != "1" else ""
    shown = f"{{:.{metric.digits}f}}".format
    heading = f"{metric.heading}{unit}"
    yield Column(name, heading, shown, fields=(name,), how=f"{metric.how}{OVER}", metric=name)
    fields, parts = (f"{name}_low", f"{name}_high"), tuple(f"{end} end {ENDS}" for end in ("lower", "upper"))
    form: Literal["short", "long"] = "short" if name in HEADLINES[:3] else "long"
    heading, how = f"95 % of {metric.heading}", f"both ends {ENDS}"
    yield Column(
        f"{name} ends",
        heading,
        _ends(metric),
        form=form,
        fields=fields,
        optional=True,
        how=how,
        parts=parts,
        metric=name,
    )


def _ends(metric: Metric) -> Any:
    return f"{{0[0]:.{metric.digits}f}} to {{0[1]:.{metric.digits}f}}".format


def _signed(metric: Metric) -> Any:
    return f"{{:+.{metric.digits}f}}".format


def table(name: str, lines: Sequence[Line]) -> Table:
    """The unpruned model, then a block of rows for each schedule."""
    chief, whole = headline(lines), next((line.macs_full for line in lines if line.row == UNPRUNED), None)
    schedules = dict.fromkeys(line.schedule for line in lines)
    blocks = [
        Block(
            "unpruned" if label == UNPRUNED else label,
            tuple(_row(line, chief, whole) for line in lines if line.schedule == label),
        )
        for label in schedules
    ]
    caption = f"Study `{name}`: methods on weights as they are, without training, beside the unpruned model."
    return Table(name, caption, tuple(_columns(chief)), tuple(blocks), tuple(_notes(lines)))


def _row(line: Line, chief: str, whole: float | None) -> Row:
    about = ("row", "schedule", "method", "settings", "fusion", "image", "images", "groups", "status")
    values: dict[str, Any] = {name: getattr(line, name) for name in about} | {"reason": line.reason or None}
    if line.macs_full is not None:
        values |= {"macs": line.macs_full / 1e9, "share": 100 * line.macs_full / whole if whole else None}
    for name, found in line.found.items():
        values |= _shown(name, found.mean, METRICS[name].scale)
    if chief in line.found and (gain := line.found[chief].gain):
        values |= _shown("gain", gain, METRICS[chief].scale)
    if line.speed is not None:
        values |= {"speed": (line.speed, line.speed_low, line.speed_high)}
    values |= {"speed_timing_warnings": line.speed_timing_warnings or None}
    return Row(values, {"speed": UNRELIABLE} if line.speed_timing_warnings else {})


def _shown(name: str, found: Ends, scale: float) -> dict[str, Any]:
    middle, low, high = found
    ends = None if low is None or high is None else (scale * low, scale * high)
    return {name: scale * middle, f"{name} ends": ends}


def _notes(lines: Sequence[Line]) -> Iterator[Note]:
    images, groups = lines[0].images, lines[0].groups
    over, what = (
        (f"{groups} groups of {images} images", "groups") if groups < images else (f"{images} images", "images")
    )
    yield Note(
        f"Nothing was trained. Means over {over}; intervals at 95 % over {what}, by Wilson of shares, else Student's t."
    )
    yield Note(
        "Same top-1, KL, feature and patches compare each image with what the unpruned model says of it: share of "
        "equal first classes, divergence of softmax, cosine of what the head reads, mean cosine of patches' features."
    )
    if any(line.schedule == SMALLER for line in lines):
        yield Note(
            f"{SMALLER}: the unpruned model on the same pixels, shrunk; patches are resized to the full grid. A row is "
            "compared with them at its own multiply-accumulates, on the line between the two sizes next to it."
        )
    if any(line.schedule == OTHERS for line in lines):
        yield Note(f"{OTHERS}: unpruned, on the same images; their features are not compared.")
    for reason, labels in why_not(lines).items():
        yield Note(f"{', '.join(labels)}: {reason}.")
    if any(line.speed is not None and line.speed_timing_warnings for line in lines):
        yield Note("unreliable timing; reason in `table.csv` (`speed_timing_warnings`).", UNRELIABLE)


def why_not(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Rows that were skipped or failed, by the reason."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.status != "done":
            found.setdefault(f"{line.status}, {line.reason.rstrip('.')}", []).append(line.label)
    return found


def cells(_folder: Path, lines: Sequence[Line], line: Line, key: str, _field: str) -> list[Used]:
    """The cells of a row, each with its mean over images; of a gain those of smaller images too, of a speed its own."""
    name = key.removesuffix(" ends")
    if name == "speed":
        return [] if line.speed is None else [Used(line.speed_cell, line.label, "", "done", (line.speed,), "x")]
    if name != "gain":
        return _used(line, name)
    chief = headline(lines)
    compared = [line, *(one for one in lines if one.schedule in (UNPRUNED, SMALLER))]
    gained = chief in line.found and line.found[chief].gain
    return [used for one in compared for used in _used(one, chief)] if gained else []


def _used(line: Line, name: str) -> list[Used]:
    found: Found | None = line.found.get(name)
    if found is None:
        return []
    return [
        Used(cell_id, line.label, "", "done", (value,), METRICS[name].recorded)
        for cell_id, value in found.cells.items()
    ]
