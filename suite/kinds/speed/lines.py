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
from suite.kinds.speed.schema import SpeedBackbone, SpeedRow, SpeedStudy
from suite.measure.timing_options import UNPRUNED, DeviceType
from suite.report.statistics.aggregates import Spread, spread

Status = Literal["measured", "not measured", "not available"]


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
    """What the rounds of one row say.

    Attributes:
        unpruned, eager: images per second over those of the unpruned model, with fused and with timm's eager attention.
        macs: how much faster it would be if only multiply-accumulates counted.
        rate: images per second, of a GPU only.
        kernels: of its attention.
        timing_warnings: why the ratios are unreliable; empty if nothing speaks against them.
        compare_to: its ratio to another row, formed round by round; None where they were not timed side by side.
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
        status: `not available` if nothing here can run it; its `row` and `setting` are then the source's.
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


def summarise(study: SpeedStudy, rounds: Sequence[Round]) -> list[Line]:
    """Lines by device, in the order of the study; rows that nothing here can run stand at the end of each device.

    Raises:
        UserError: if the published figures cannot be read.
    """
    published = read_published(study.published)
    setups = dict.fromkeys(Setup(*(line[key] for key in Setup.__annotations__)) for line in rounds)
    lines: list[Line] = []
    for setup in setups:
        own = [line for line in rounds if _is_of(line, setup)]
        for one in study.backbones:
            for size in _batch_sizes(one, setup.device_type):
                same = [line for line in own if (line["backbone"], line["batch_size"]) == (one.name, size)]
                lines += _of_backbone(setup, one, size, same, published)
        lines += _excluded(setup, study, published)
    return lines


def lines(folder: Path) -> list[Line]:
    """The lines of a results folder, of what its study in `studies/` asks for.

    Raises:
        UserError: if nothing is measured yet, or the record or the published figures cannot be read.
    """
    from suite.study.load import study_of

    study: SpeedStudy = study_of(folder.name)
    rounds, _ = asked_for(study, read_rounds(folder))
    if not rounds:
        raise UserError(
            f"{folder}/rounds.csv has nothing that the study asks for; make it with: suite run {folder.name}"
        )
    return summarise(study, rounds)


def devices_not_measured(study: SpeedStudy, lines: Sequence[Line]) -> list[DeviceType]:
    """Types of device that the study names and no line is of."""
    types: tuple[DeviceType, ...] = ("cpu", "cuda")
    named = [name for name in types if getattr(study.devices, name) is not None]
    return [name for name in named if name not in {line.setup.device_type for line in lines}]


def _of_backbone(
    setup: Setup, one: SpeedBackbone, size: str, rounds: Sequence[Round], published: Mapping[str, Published]
) -> Iterator[Line]:
    unpruned = published.get(one.published)
    by_row: dict[str, list[Round]] = {}
    for line in rounds:
        by_row.setdefault(line["row"], []).append(line)
    first = _measured(by_row[UNPRUNED], [], size) if UNPRUNED in by_row else None
    status: Status = "measured" if first else "not measured"
    yield Line(setup, one.name, UNPRUNED, size, status, unpruned, unpruned.ratio(unpruned) if unpruned else None, first)
    rows = {row.name: row for row in one.rows}
    for row in one.rows:
        figure, other = published.get(row.published), _figure(rows, row.compare_to, published)
        found = _measured(by_row[row.name], by_row.get(row.compare_to, []), size) if row.name in by_row else None
        yield Line(
            setup=setup,
            backbone=one.name,
            row=row.name,
            batch_size=size,
            status="measured" if found else "not measured",
            published=figure,
            ratio=figure.ratio(unpruned) if figure else None,
            measured=found,
            compare_to=row.compare_to,
            published_compare_to=figure.over(other) if figure else None,
            note=row.note,
        )


def _figure(rows: Mapping[str, SpeedRow], name: str, published: Mapping[str, Published]) -> Published | None:
    return published.get(rows[name].published) if name in rows else None


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
                yield Line(setup, figure.backbone, row, "", "not available", figure, ratio, note=left.note)


def _is_of(line: Round, setup: Setup) -> bool:
    return all(line[key] == getattr(setup, key) for key in Setup.__annotations__)


def _batch_sizes(one: SpeedBackbone, device_type: str) -> list[str]:
    return [str(size) for size in getattr(one.batch_sizes, device_type)]
