"""The table of the race against official code, what its page says, and what is behind its numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.kinds.official.record import SETTING, Rows, Setting
from suite.report.layout import MISSING, Block, Column, Note, Row, Table
from suite.report.page.facts import Facts
from suite.report.trace import Used

SIDES = ("official", "own")
MATRIX = ("addmm", "mm", "bmm", "linear", "baddbmm", "attention", "convolution")
NEEDED = (*MATRIX, "gelu", "silu", "layer_norm")  # in names of operators
RATIO = "{} of all rounds; each is the official code's time over this suite's"


def _ends(own: tuple[float, float]) -> str:
    return f"{own[0]:.2f}–{own[1]:.2f}"


def _columns() -> Iterator[Column]:
    for name in SETTING:
        align = "left" if name == "case" else "right"
        yield Column(name, name, align=align, fields=(name,), how="as in the record")  # type: ignore[arg-type]
    median, quartiles = RATIO.format("median"), RATIO.format("first and third quartile")
    yield Column("ratio", "ours / official", "{:.2f}x".format, fields=("ratio_median",), how=median)
    yield Column(
        "quartiles",
        "IQR",
        _ends,
        fields=("ratio_low", "ratio_high"),
        how=quartiles,
        parts=(RATIO.format("first quartile"), RATIO.format("third quartile")),
    )
    parts = ("lowest median of a launch", "highest median of a launch")
    fields = ("lowest_launch", "highest_launch")
    yield Column("launches", "of launches", _ends, fields=fields, how="lowest and highest of a launch", parts=parts)
    yield Column("rounds", "rounds", fields=("rounds",), how="how many there are")
    others = "most processor cores that other processes used in a launch"
    yield Column("others", "others' cores", "{:.2f}".format, fields=("others_cores",), how=others)
    yield Column(
        "needed",
        "needed, official / ours",
        "{0[0]:.0f} / {0[1]:.0f} %".format,
        fields=("needed_official", "needed_own"),
        how="percent of a pass in operators that both need, by torch's profiler",
    )


COLUMNS = tuple(_columns())


def label(setting: Setting) -> str:
    """What `suite trace` calls a row; what one case alone has may be left out."""
    return f"{setting.case} {setting.batch} [{setting.device}, {setting.precision}, {setting.threads}]"


def cells(_folder: Path, _settings: Sequence[Setting], setting: Setting, key: str, _field: str) -> list[Used]:
    """The setting with the ratio of every round; of its operators with the shares that are needed."""
    values = [float(row["ratio"]) for row in setting.rounds]
    if key == "needed":
        values = [float(row["share"]) for row in setting.operators if _is_needed(row["operator"])]
    return [Used(setting.name, setting.case, MISSING, "done", tuple(values), "" if key == "needed" else "x")]


def facts(_folder: Path, settings: Sequence[Setting]) -> Facts:
    """The range of the ratios, on every device."""
    found = []
    for device in dict.fromkeys(setting.device for setting in settings):
        medians = [statistics.median(_ratios(setting.rounds)) for setting in settings if setting.device == device]
        found.append((device, f"{min(medians):.2f}x to {max(medians):.2f}x in {len(medians)} settings"))
    headline = f"On {found[0][0]}, this suite runs {found[0][1].replace(' in ', ' as fast as the official code in ')}."
    return Facts(headline, tuple(found), () if _has_gpu(settings) else ("No GPU was measured.",))


def official_table(name: str, settings: Sequence[Setting]) -> Table:
    """Medians and quartiles of the rounds, a row for each setting; `name` is that of the folder in `results/`."""
    notes = [
        "Images per second of this suite over those of the official code, with equal weights and images, in turns: "
        "median and quartiles of rounds, lowest and highest median of a launch, and processor cores that others used.",
        "Needed: the share of a pass that goes into matrix products, attention, convolution, activation and norms, "
        "which both must compute; more in operators.csv.",
        *([] if _has_gpu(settings) else ["A GPU: not measured."]),
    ]
    caption = "This suite beside the official code of each method."
    return Table(name, caption, COLUMNS, (Block("", tuple(map(_row, settings))),), tuple(map(Note, notes)))


def _row(setting: Setting) -> Row:
    low, middle, high = statistics.quantiles(_ratios(setting.rounds), n=4, method="inclusive")
    launches = [
        statistics.median(_ratios([row for row in setting.rounds if row["launch"] == launch]))
        for launch in {row["launch"] for row in setting.rounds}
    ]
    values = {name: getattr(setting, name) for name in SETTING} | {
        "ratio": middle,
        "quartiles": (low, high),
        "launches": (min(launches), max(launches)),
        "rounds": len(setting.rounds),
        "others": max(float(row["others_cores"]) for row in setting.rounds),
        "needed": tuple(_needed([row for row in setting.operators if row["side"] == side]) for side in SIDES),
    }
    return Row(values)


def _ratios(rounds: Rows) -> list[float]:
    return [float(row["ratio"]) for row in rounds]


def _needed(operators: Rows) -> float:
    """Percent."""
    return 100 * sum(float(row["share"]) for row in operators if _is_needed(row["operator"]))


def _is_needed(operator: str) -> bool:
    return any(name in operator for name in NEEDED)


def _has_gpu(settings: Sequence[Setting]) -> bool:
    return any(setting.device != "cpu" for setting in settings)
