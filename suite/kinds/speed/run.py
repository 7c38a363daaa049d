"""What a study of speed does: measure what is missing on the device at hand, and make its table.

Nothing here needs Ray or MLflow: rows of a backbone are timed in this process.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from suite.errors import UserError
from suite.kinds.speed.cells import Device, Measurement, measurements
from suite.kinds.speed.figure import draw_speeds
from suite.kinds.speed.lines import Line, summarise
from suite.kinds.speed.models import build_side_by_side
from suite.kinds.speed.progress import Bar
from suite.kinds.speed.rounds import asked_for, export, read_rounds
from suite.kinds.speed.schema import SpeedBackbone, SpeedStudy
from suite.kinds.speed.table import speed_table
from suite.kinds.training.schema import Budget
from suite.measure.allocator import keep_memory
from suite.measure.device import open_machine
from suite.measure.profile import summary
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER
from suite.report.render import show, write
from suite.study.budget import used
from suite.study.kind import Loaded
from suite.study.load import find_study, load_speed, title_of
from suite.study.provenance import device_name, provenance
from suite.study.store import Entry, Record
from suite.study.yaml_lines import dotted, line_of

NO_SUCH_DEVICE = "this study measures on {}, which is not at hand; name under devices how to measure on {}"


def device_here(study: SpeedStudy) -> Device:
    """What a study is measured on: the GPU if there is one and the study names it, else the processor.

    Raises:
        UserError: if the study names neither.
    """
    if study.devices.cuda is not None and torch.cuda.is_available():
        return Device("cuda", device_name("cuda"))
    if study.devices.cpu is not None:
        return Device("cpu", device_name("cpu"))
    here = "cuda" if torch.cuda.is_available() else "cpu"
    raise UserError(NO_SUCH_DEVICE.format("cpu" if here == "cuda" else "cuda", here))


def check(loaded: Loaded) -> str:
    """Build every model of a study without weights; returns how many there are, in words.

    Raises:
        UserError: for whatever cannot be, naming line, backbone and row.
    """
    return f"{sum(map(len, _all_macs(loaded).values()))} models"


def plan(loaded: Loaded) -> list[dict[str, Any]]:
    """The cells that a study has on the device at hand, with their status: done, failed or to run."""
    record, found = Record(), []
    for one in measurements(loaded.study, device_here(loaded.study)):
        for row, cell in one.cells.items():
            entry = record.finished(cell) or record.failed(cell) or {"status": "to run"}
            reason = (entry.get("reason") or entry.get("timing_warnings") or "").strip().splitlines()[-1:]
            what = {"device": one.device.name, "measurement": one.label, "row": row}
            found.append({"cell_id": cell.cell_id, "status": entry["status"], **what, "reason": "".join(reason)})
    return found


def run(loaded: Loaded, console: Console, folder: Path = Path()) -> int:
    """Measure what is missing on the device at hand; each measurement is kept the moment it ends.

    Results are exported to `results/<study>/`, however the run ends short of a kill.

    Returns:
        The exit code: 0; 1 if something could not be measured, 130 if the run was interrupted.

    Raises:
        UserError: for a study or device that cannot be, or a second run in the same folder.
    """
    provenance()  # as the code is now, not when the first measurement ends
    study, record, macs = loaded.study, Record(folder), _all_macs(loaded)
    planned = measurements(study, device_here(study))
    left = [one for one in planned if any(record.finished(cell) is None for cell in one.cells.values())]
    console.print(f"{loaded.name}: {len(planned)} measurements, {len(planned) - len(left)} finished")
    problems: list[str] = []
    code = 0
    with record.locked(), Bar(left, macs, console) as bar:
        try:
            for one in left:
                said = _attempt(one, macs[one.backbone.name], record, bar)
                bar.ended(one, "; ".join(said) or "measured")
                problems += [f"{one.label}: {sentence}" for sentence in said]
            code = 1 if problems else 0
        except KeyboardInterrupt:
            problems.append("interrupted")
            code = 130 if len(problems) == 1 else 1
        finally:
            dropped = export(study, planned, record, folder / "results" / loaded.name)
    if dropped:
        console.print(f"left out of rounds.csv: {dropped} rows that the study no longer asks for", style="yellow")
    if problems:
        resume = f"what is measured is kept; resume with: suite run {loaded.path}"
        console.print("\n".join([*problems, resume]), soft_wrap=True)
    return code


def lines(folder: Path) -> list[Line]:
    """The lines of the table of a results folder, of all devices.

    Raises:
        UserError: if nothing is measured that the study asks for.
    """
    study = load_speed(folder.name)
    return _lines(study, folder)[0]


def _lines(study: SpeedStudy, folder: Path) -> tuple[list[Line], int]:
    rounds, others = asked_for(study, read_rounds(folder))
    if not rounds:
        raise UserError(
            f"{folder}/rounds.csv has nothing that the study asks for; measure it with: suite run {folder.name}"
        )
    return summarise(study, rounds), others


def _all_macs(loaded: Loaded) -> dict[str, dict[str, float]]:
    """Multiply-accumulates of an image (convention `full`) by backbone and row."""
    found = {}
    for index, one in enumerate(loaded.study.backbones):
        try:
            found[one.name] = _macs(one)
        except UserError as error:
            root = yaml.compose(loaded.path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
            place = ("backbones", index, "backbone")
            raise UserError(f"{loaded.path}:{line_of(root, place)}: {dotted(place)}: {error}") from error
    return found


def _macs(one: SpeedBackbone) -> dict[str, float]:
    found = {}
    for name, row in {UNPRUNED: None, **{row.name: row for row in one.rows}}.items():
        try:
            found[name] = used(Budget(macs=1), one.configuration(row).build(), one.task == "segmentation")
        except UserError as error:
            raise UserError(f"{one.name}: {name}: {error}") from error
    return found


def _attempt(one: Measurement, macs: Mapping[str, float], record: Record, bar: Bar) -> list[str]:
    """Measure; returns a sentence for everything that could not be. What comes next may still be measured."""
    try:
        return _measure(one, macs, record, functools.partial(bar.say, one), functools.partial(bar.round, one))
    except UserError as error:
        return [str(error)]


def _measure(
    one: Measurement,
    macs: Mapping[str, float],
    record: Record,
    say: Callable[[str], None],
    after_round: Callable[[], None],
) -> list[str]:
    """Measure the rows of one backbone that are missing, and keep them; returns what failed.

    Raises:
        UserError: if nothing of it can be measured.
    """
    open_machine(one.options)
    missing = {row for row, cell in one.cells.items() if record.finished(cell) is None}
    say("building the models")
    models, size = build_side_by_side({name: row for name, row in one.rows.items() if name in {UNPRUNED, *missing}})
    rows = models.keys() - {UNPRUNED, UNPRUNED_EAGER}
    timing = time_side_by_side(models, size, one.options, say, after_round, may_fail=rows)
    origin = provenance() | {"device": one.device.name, "allocator": keep_memory()}
    shared = {"session": secrets.token_hex(4), "provenance": origin}
    for row in sorted(missing - timing.failed.keys()):
        found = _entry(row, timing, one.device) | {"macs_ratio": macs[UNPRUNED] / macs[row]}
        record.add(one.cells[row], found | shared)
    for row, reason in timing.failed.items():
        record.add(one.cells[row], {"status": "failed", "reason": reason} | shared)
    return [f"{row}: {reason}" for row, reason in timing.failed.items()]


def _entry(row: str, timing: Timing, device: Device) -> Entry:
    """What is recorded of a row; on a processor ratios only, for its seconds say nothing about another's."""
    entry: Entry = {
        "status": "done",
        "speedup": timing.ratios(row, UNPRUNED),
        "speedup_eager": timing.ratios(row, UNPRUNED_EAGER),
        "kernels": summary(timing.facts[row].kernels),
        "timing_warnings": timing.timing_warnings(row),
        "machine": asdict(timing.reading) | {"timed": timing.timed, "drift": timing.drift},
    }
    return entry | ({"seconds": timing.seconds[row]} if device.type == "cuda" else {})


# ---------------------------------------------------------------- by name, for the command line


def _loaded(name: str) -> Loaded:
    return Loaded(find_study(name), title_of(name), load_speed(name), None)  # type: ignore[arg-type]


def check_models(name: str) -> dict[str, dict[str, float]]:
    """As `check`; returns multiply-accumulates by backbone and row."""
    return _all_macs(_loaded(name))


def show_plan(name: str) -> None:
    """Print `plan`."""
    console = Console(markup=False)
    for one in plan(_loaded(name)):
        line = f"{one['cell_id']}  {one['status']:<7}  {one['row']}  {one['reason']}".rstrip()
        console.print(f"{one['device']}, {one['measurement']}: {line}", highlight=False, soft_wrap=True)


def make(name: str, console: Console, measure: bool) -> int:
    """Make table and picture, if so wished after measuring what is missing; returns the exit code.

    Raises:
        UserError: as `run` and `make_table`.
    """
    code = run(_loaded(name), console) if measure else 0
    try:
        make_table(name, console)
    except UserError as error:
        if not code:
            raise
        console.print(str(error), soft_wrap=True)
    return code


def make_table(name: str, console: Console) -> None:
    """Make table and picture, of all devices, from `results/<study>/rounds.csv`.

    Raises:
        UserError: if nothing is measured yet.
    """
    study, folder = load_speed(name), Path("results") / title_of(name)
    found, others = _lines(study, folder)
    table = speed_table(folder.name, study, found)
    files = write(table, folder)
    draw_speeds(found, folder / "speed.png")
    show(table, console, apart=True)
    if others:
        console.print(f"left out: {others} rows of rounds.csv that the study no longer asks for", style="yellow")
    console.print(f"Written to {folder}/: {', '.join([*files, 'speed.png'])}, from rounds.csv", soft_wrap=True)
