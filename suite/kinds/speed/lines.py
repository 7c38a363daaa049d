"""Published speed-ups beside measured ones: a line for each row of a study of speed, on each device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Literal

from suite.errors import UserError
from suite.kinds.speed.published import Published, Ratio, read_published
from suite.kinds.speed.rounds import Round, asked_for, read_rounds
from suite.kinds.speed.schema import SpeedBackbone, SpeedStudy
from suite.measure.timing_options import UNPRUNED, DeviceType
from suite.report.statistics.aggregates import Spread, spread

Status = Literal["measured", "not measured", "excluded"]


@dataclass(frozen=True)
class Setup:
    """What was measured on, and how."""

    device_type: str
    device: str
    precision: str
    threads: str
    compiled: str
    graph: str


@dataclass(frozen=True)
class Measured:
    """What the rounds of one row say: its speed over that of the unpruned model, of the eager one and by MACs alone.

    `rate` (images per second) is of a GPU only, `compare_to` (another row, round by round) of rows timed side by side.
    """

    unpruned: Spread
    eager: Spread
    macs: float
    rate: float | None
    kernels: str
    timing_warnings: str
    compare_to: Spread | None

    @property
    def realised(self) -> float:
        """Share of the ratio by multiply-accumulates that the measured ratio reaches."""
        return self.unpruned.median / self.macs


@dataclass(frozen=True)
class Line:
    """One row on one device.

    Attributes:
        status: `excluded` if nothing here can run it; its `row` and `setting` are then the source's.
        ratio: the published one; None if there is none.
        compare_to: the row that `measured.compare_to` is the ratio to.
        published_compare_to: the ratio of both published throughputs.
    """

    setup: Setup
    backbone: str
    row: str
    batch_size: str
    status: Status
    published: Published | None
    ratio: Ratio | None
    measured: Measured | None = None
    compare_to: str = ""
    published_compare_to: float | None = None
    note: str = ""

    @property
    def second_hand(self) -> bool:
        """Whether its published ratio was not read in the source itself."""
        return self.ratio is not None and self.published is not None and self.published.evidence != "primary"


def lines(folder: Path) -> list[Line]:
    """The lines of a results folder, of what its study in `studies/` asks for: by device, in the order of the study.

    UserError if nothing is measured yet, or the record or the published figures cannot be read.
    """
    from suite.study.load import load

    study: SpeedStudy = load(folder.name).study
    rounds, _ = asked_for(study, read_rounds(folder))
    if not rounds:
        raise UserError(
            f"{folder}/rounds.csv has nothing that the study asks for; make it with: suite run {folder.name}"
        )
    published, groups = read_published(study.published), dict[tuple[Setup, str, str], list[Round]]()
    for line in rounds:
        setup = Setup(*(line[key] for key in Setup.__annotations__))
        groups.setdefault((setup, line["backbone"], line["batch_size"]), []).append(line)
    found: list[Line] = []
    for setup in dict.fromkeys(setup for setup, _, _ in groups):
        for one in study.backbones:
            for size in map(str, getattr(one.batch_sizes, setup.device_type)):
                found += _of_backbone(setup, one, size, groups.get((setup, one.name, size), []), published)
        found += _excluded(setup, study, published)
    return found


def devices_not_measured(study: SpeedStudy, lines: Sequence[Line]) -> list[DeviceType]:
    """Types of device that the study names and no line is of."""
    types: tuple[DeviceType, ...] = ("cpu", "cuda")
    named = [name for name in types if getattr(study.devices, name) is not None]
    return [name for name in named if name not in {line.setup.device_type for line in lines}]


def _of_backbone(
    setup: Setup, one: SpeedBackbone, size: str, rounds: Sequence[Round], published: Mapping[str, Published]
) -> Iterator[Line]:
    unpruned, by_row = published.get(one.published), dict[str, list[Round]]()
    for line in rounds:
        by_row.setdefault(line["row"], []).append(line)
    rows = [(row.name, row.published, row.compare_to, row.note) for row in one.rows]
    figures = {name: published.get(id_) for name, id_, _, _ in rows}
    for name, id_, other, note in [(UNPRUNED, one.published, "", ""), *rows]:
        figure = published.get(id_)
        found = _measured(by_row[name], by_row.get(other, []), size) if name in by_row else None
        yield Line(
            setup=setup,
            backbone=one.name,
            row=name,
            batch_size=size,
            status="measured" if found else "not measured",
            published=figure,
            ratio=figure.ratio(unpruned) if figure else None,
            measured=found,
            compare_to=other,
            published_compare_to=figure.over(figures.get(other)) if figure else None,
            note=note,
        )


def _measured(rounds: Sequence[Round], others: Sequence[Round], size: str) -> Measured:
    ratios = [float(line["speedup"]) for line in rounds]
    seconds = [float(line["seconds"]) for line in rounds if line["seconds"]]
    first, compared = rounds[0], None
    if others and others[0]["session"] == first["session"]:
        theirs = [float(line["speedup"]) for line in others]
        compared = spread([own / other for own, other in zip(ratios, theirs, strict=True)])
    return Measured(
        unpruned=spread(ratios),
        eager=spread([float(line["speedup_eager"]) for line in rounds]),
        macs=float(first["macs_ratio"]),
        rate=int(size) / median(seconds) if seconds else None,
        kernels=first["kernels"],
        timing_warnings=first["timing_warnings"],
        compare_to=compared,
    )


def _excluded(setup: Setup, study: SpeedStudy, published: Mapping[str, Published]) -> Iterator[Line]:
    """The rows that nothing here can run, in the order of the table of published speeds."""
    references = {figure.backbone: figure for one in study.backbones if (figure := published.get(one.published))}
    for figure in published.values():
        for left in study.excluded:
            if any(fnmatchcase(figure.id, pattern) for pattern in left.published):
                ratio = figure.ratio(references.get(figure.backbone))
                row = f"{figure.method} {figure.setting.replace(';', ' ')}"
                yield Line(setup, figure.backbone, row, "", "excluded", figure, ratio, note=left.note)
