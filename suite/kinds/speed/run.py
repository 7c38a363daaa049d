"""What a study of speed does: measure what is missing on the device at hand, always in this process."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from suite.errors import UserError
from suite.kinds.speed.cells import Device, Measurement, measurements
from suite.kinds.speed.models import build_side_by_side, macs_of
from suite.kinds.speed.rounds import export
from suite.kinds.speed.schema import SpeedStudy
from suite.measure.allocator import keep_memory
from suite.measure.device import open_machine
from suite.measure.profile import summary
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER
from suite.study.entry import Entry
from suite.study.kind import Loaded
from suite.study.load import argument_of, refusal
from suite.study.provenance import device_name, provenance
from suite.study.store import Record
from suite.terminal import ManualProgress

BAR = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
NO_SUCH_DEVICE = "this study measures on {}, which is not at hand; name under devices how to measure on {}"


def device_here(study: SpeedStudy) -> Device:
    """The GPU if there is one and the study names it, else the processor; UserError if the study names neither."""
    if study.devices.cuda is not None and torch.cuda.is_available():
        return Device("cuda", device_name("cuda"))
    if study.devices.cpu is not None:
        return Device("cpu", device_name("cpu"))
    here = "cuda" if torch.cuda.is_available() else "cpu"
    raise UserError(NO_SUCH_DEVICE.format("cpu" if here == "cuda" else "cuda", here))


def check(loaded: Loaded) -> str:
    """How many models a study has, each built without weights; UserError with line, backbone and row if one cannot."""
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


def run(loaded: Loaded, console: Console, _in_process: bool = True, folder: Path = Path()) -> int:
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
    code, done, work = 0, 0.0, [_work(one, macs[one.backbone.name]) for one in left]
    with record.locked(), ManualProgress(console, sum(work), *BAR, memory=3600) as bar:
        try:
            for one, its_work in zip(left, work, strict=True):
                try:
                    said = _measure(one, macs[one.backbone.name], record, bar)
                except UserError as error:  # what comes next may still be measured
                    said = [str(error)]
                done += its_work
                bar.reach(done, sum(work))
                console.print(f"{one.label}: {'; '.join(said) or 'measured'}", highlight=False, soft_wrap=True)
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
        resume = f"what is measured is kept; resume with: suite run {argument_of(loaded)}"
        console.print("\n".join([*problems, resume]), soft_wrap=True)
    return code


def _all_macs(loaded: Loaded) -> dict[str, dict[str, float]]:
    """Multiply-accumulates of an image (convention `full`) by backbone and row."""
    found = {}
    for index, one in enumerate(loaded.study.backbones):
        try:
            found[one.name] = macs_of(one.configurations())
        except UserError as error:
            named = UserError(f"{one.name}: {error}")
            raise refusal(loaded, ("backbones", index, "backbone"), named) from error
    return found


def _work(one: Measurement, macs: Mapping[str, float]) -> float:
    """Multiply-accumulates of all rounds of a measurement."""
    return (one.options.rounds + one.options.warmup_rounds) * one.options.batch * sum(macs.values())


def _measure(one: Measurement, macs: Mapping[str, float], record: Record, bar: ManualProgress) -> list[str]:
    """Measure the rows of one backbone that are missing, and keep them; returns what failed."""
    open_machine(one.options)
    missing = {row for row, cell in one.cells.items() if record.finished(cell) is None}
    say = functools.partial(bar.tell, one.label)
    after_round = functools.partial(bar.advance, one.options.batch * sum(macs.values()))
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
        "machine": timing.machine,
    }
    return entry | ({"seconds": timing.seconds[row]} if device.type == "cuda" else {})
