"""`suite choose`: which method and setting suit a model, images and a device best, by a study that is made for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from rich.console import Console

from suite.errors import UserError
from suite.kinds.off_the_shelf import models
from suite.kinds.off_the_shelf.cells import SMALLER, UNPRUNED, expand
from suite.kinds.off_the_shelf.figure import draw_speeds, front_of
from suite.kinds.off_the_shelf.record import Line, lines, values_of
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.off_the_shelf.scores import METRICS
from suite.kinds.off_the_shelf.table import headline, table
from suite.measure.artefacts import program, require_onnx
from suite.report.layout import Block, Table
from suite.report.render import show
from suite.report.statistics.intervals import Mean, mean
from suite.study.cells import Cell
from suite.study.kind import Loaded
from suite.study.load import RESULTS
from suite.study.store import Record

METHODS = ("random", "variance", "attention-topk", "evit", "tome", "idlevit")  # that need no training
BUDGETS = (0.9, 0.8, 0.7, 0.6, 0.5)
SHOWN = ("row", "share", "gain", "speed", *METRICS)
Key = tuple[str, str]  # schedule and row


@dataclass(frozen=True)
class Choice:
    """The best candidate by what was wanted.

    Attributes:
        line, second: the best and the next one, if there is any.
        loss: points below the unpruned model, by group of images.
        tie: what of the two cannot be told apart; empty if they differ.
    """

    line: Line
    second: Line | None
    loss: Mean | None
    tie: str


def write(path: Path, about: dict[str, Any], device: str, batch_size: int, methods: Sequence[str]) -> None:
    """The study of a model as a file, which `suite run` takes too."""
    said = about | {
        "budgets": list(BUDGETS),
        "methods": list(methods or METHODS),
        "batch_size": batch_size,
        "device": device,
        "speed": {"batch_size": batch_size, "device": device, "threads": about["threads"]},
    }
    plain = json.loads(json.dumps({name: value for name, value in said.items() if value is not None}, default=str))
    path.write_text(f"# Written by suite choose.\n{yaml.safe_dump(plain, sort_keys=False)}")


def decide(loaded: Loaded, drop: float | None, speedup: float | None, export: Path | None, console: Console) -> None:
    """Show the Pareto front, the choice and its code, and export it.

    Args:
        loaded: a study that has run.
        drop: points that the choice may be below the unpruned model; then the fastest is chosen.
        speedup: how much faster the choice must be; then the best is chosen.
        export: a folder to put ONNX and torch.export of it into.
        console: to show it on.

    Raises:
        UserError: if no candidate is as wanted.
    """
    study, found = loaded.study, lines(RESULTS / loaded.name)
    cells, chief = [cell for cell in expand(study) if not cell.alone], headline(found)
    record = Record()
    entries = {cell.cell_id: entry for cell in cells if (entry := record.finished(cell))}
    values = values_of(cells, entries, study.data.groups_of(study.data.labelled()))
    scores = {key: 100 * own[chief] for key, own in values.items() if chief in own}
    tried = [line for line in found if line.speed is not None and key_of(line) in scores]
    draw_speeds(RESULTS / loaded.name, found, picture := RESULTS / loaded.name / "pareto.png")
    show(_front(loaded.name, found, tried, chief), console)
    chosen = best(tried, scores, drop, speedup)
    cell = next(cell for cell in cells if (cell.schedule, cell.row) == key_of(chosen.line))
    for text in (*_said(chosen, chief), f"Picture: {picture}", "", *code(study, cell)):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if export:
        for path in exported(cell, export):
            console.print(f"wrote {path}", soft_wrap=True, highlight=False)


def key_of(line: Line) -> Key:
    """What tells rows apart."""
    return line.schedule, line.row


def best(
    tried: Sequence[Line], scores: dict[Key, NDArray[np.float64]], drop: float | None, speedup: float | None
) -> Choice:
    """The fastest that loses at most `drop` points, or the best that is `speedup` times as fast, and the next one.

    `scores`: points of each group of images, of the unpruned model too. UserError if there is none.
    """
    whole = scores[UNPRUNED, UNPRUNED]
    losses = {key: whole - own for key, own in scores.items()}
    if drop is not None:
        fits = [line for line in tried if losses[key_of(line)].mean() <= drop]
        fits.sort(key=lambda line: -(line.speed or 0))
    else:
        fits = [line for line in tried if (line.speed or 0) >= (speedup or 0)]
        fits.sort(key=lambda line: losses[key_of(line)].mean())
    if not fits:
        least = min((losses[key_of(line)].mean() for line in tried), default=0)
        most = max((line.speed or 0 for line in tried), default=0)
        raise UserError(
            f"nothing that was tried is as wanted: the least drop is {least:.2f} points, the most speed {most:.2f}x; "
            "ask for less, or name more methods or budgets in the study that was written"
        )
    first, second = fits[0], fits[1] if len(fits) > 1 else None
    tie = "" if second is None else _tie(first, second, losses, by_speed=drop is not None)
    return Choice(first, second, mean(losses[key_of(first)].tolist()), tie)


def _tie(first: Line, second: Line, losses: dict[Key, NDArray[np.float64]], *, by_speed: bool) -> str:
    if by_speed:
        apart = (first.speed_low or 0) > (second.speed_high or 0)
        return "" if apart else "their speeds cannot be told apart: the quartiles of their rounds overlap"
    found = mean((losses[key_of(second)] - losses[key_of(first)]).tolist())
    apart = found is not None and found.low > 0
    return "" if apart else "their scores cannot be told apart: the interval of their difference holds 0"


def _front(name: str, found: Sequence[Line], tried: Sequence[Line], chief: str) -> Table:
    """Those that no other beats in speed and score, the unpruned model among them."""
    unpruned = [line for line in found if line.row == UNPRUNED]
    whole, kept = table(name, found), [key_of(line) for line in reversed(front_of([*unpruned, *tried], chief))]
    rows = {
        (UNPRUNED if block.name == "unpruned" else block.name, row.values["row"]): row
        for block in whole.blocks
        for row in block.rows
    }
    columns = tuple(column for column in whole.columns if column.key in SHOWN)
    caption, marked = "Pareto front of speed and score", tuple(note for note in whole.notes if note.mark)
    block = Block(caption, tuple(rows[key] for key in kept))
    return replace(whole, caption=caption, columns=columns, blocks=(block,), notes=marked)


def _said(chosen: Choice, chief: str) -> Iterator[str]:
    line, metric = chosen.line, METRICS[chief]
    loss = chosen.loss
    points = f"{-loss.mean:+.2f} points (95 %: {-loss.high:+.2f} to {-loss.low:+.2f})" if loss else "of one image"
    yield f"Chosen: {line.label}: {line.speed:.2f}x as fast, {metric.heading} {points} against the unpruned model."
    if line.speed_timing_warnings:
        yield f"Its timing is unreliable: {line.speed_timing_warnings}."
    if chosen.second:
        yield f"Next: {chosen.second.label}" + (f"; {chosen.tie}." if chosen.tie else ".")


def code(study: OffTheShelfStudy, cell: Cell) -> Iterator[str]:
    """Lines of Python that make the model of a cell."""
    identity, start = cell.identity, study.start
    options = study.backbone.options | ({"img_size": tuple(identity["image"])} if cell.schedule == SMALLER else {})
    tag, classes = start.parts[:-1] == ("timm",), {"num_classes": study.classes}
    name = start.name if tag else study.backbone.name
    overlay = {} if tag else {"pretrained_cfg_overlay": {"file": str(start)} | classes}
    given = {"pretrained": True} | overlay | options | classes
    words = [repr(name), *(f"{key}={value!r}" for key, value in given.items())]
    yield "import timm"
    if cell.schedule == SMALLER:
        yield f"model = timm.create_model({', '.join(words)}).eval()  # images shrunk to {cell.row}"
        return
    more = {"settings": identity["settings"]} if identity["settings"] else {}
    more |= {"fusion": identity["fusion"]} if identity["fusion"] != "none" else {}
    method = study_method(study, cell)
    said = [repr(method), repr(tuple(identity["removed"])), *(f"{key}={value!r}" for key, value in more.items())]
    yield "from suite import reduce"
    yield f"model = reduce(timm.create_model({', '.join(words)}), {', '.join(said)}).deploy()"


def study_method(study: OffTheShelfStudy, cell: Cell) -> str:
    """The method as the study names it, which may be a file."""
    return next(row.method for row in study.methods if row.label == cell.row)


def exported(cell: Cell, folder: Path) -> Iterator[Path]:
    """Files of the model of a cell, for batches of any size: torch.export, and ONNX where its packages are."""
    model = models.reduced(cell.identity, cell.places)
    folder.mkdir(parents=True, exist_ok=True)
    made = program(model, torch.zeros(2, 3, *model.backbone.patch_embed.img_size))
    torch.export.save(made, path := folder / "model.pt2")
    yield path
    require_onnx()
    found = torch.onnx.export(made, dynamo=True, verbose=False)
    assert found is not None
    found.save(path := folder / "model.onnx")
    yield path
