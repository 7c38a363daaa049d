"""What a study will cost: how long its cells take, by those that have finished, and what disk their weights need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from suite.host import cores
from suite.kinds.training.cells import expand
from suite.study.cells import Cell
from suite.study.kind import Loaded
from suite.study.load import RESULTS
from suite.study.records import stated
from suite.study.store import Record

COPIES = 3  # of the weights in a state: the weights themselves and AdamW's two means
STATES = 2  # that are kept of each running training
GIGABYTE, HOUR, MINUTE = 1e9, 3600, 60


def estimate(loaded: Loaded, timed: Mapping[tuple[str, ...], float | None] | None = None) -> str:
    """What is left of a study in hours and in disk; `suite plan` says it. `timed`: as in `duration`."""
    cells, record = expand(loaded.study), Record()
    left = [cell for cell in cells if record.finished(cell) is None]
    done = f"{len(cells) - len(left)} of {len(cells)} cells finished"
    return done + duration(loaded.name, cells, left, cores(), timed) + _disk(loaded, left)


def duration(
    name: str,
    cells: Sequence[Cell],
    left: Sequence[Cell],
    at_once: int,
    timed: Mapping[tuple[str, ...], float | None] | None = None,
) -> str:
    """How long cells will take, for the end of a sentence; nothing where none is left.

    A cell takes what was `timed` here, seconds by row as `alike` names it, and is left out where this is None, because
    it cannot be trained here; else what the same cell took in `results/`, the median of its row's finished cells, or of
    its kind's. Those that train on GPUs take their turns.
    """
    here = {row: seconds for row, seconds in (timed or {}).items() if seconds is not None}
    cannot = [cell for cell in left if alike(cell) in (timed or {}) and alike(cell) not in here]
    lacking = f"{len(cannot)} cells that cannot be trained here"
    left = [cell for cell in left if cell not in cannot]
    if not left:
        return f"; without {lacking}" if cannot else ""
    without = f", without {lacking}" if cannot else ""
    found = _seconds(name, cells)
    known = {cell.cell_id: found[cell.cell_id] for cell in cells if cell.cell_id in found and alike(cell) not in here}
    of_rows, of_kinds = dict(here) | _medians(cells, known, alike), _medians(cells, known, lambda cell: (cell.kind,))
    took = {
        cell.cell_id: known.get(cell.cell_id, of_rows.get(alike(cell), of_kinds.get((cell.kind,)))) for cell in left
    }
    lost = [cell for cell in left if took[cell.cell_id] is None]
    if any(not cell.alone for cell in lost):
        return f"; how long the other {len(left)} take is not known, before one of each kind has finished{without}"
    alone, beside = (sum(took[cell.cell_id] or 0.0 for cell in left if cell.alone == alone) for alone in (True, False))
    turns = any(cell.gpus for cell in left)
    seconds = alone + beside / (1 if turns else max(1, at_once // max(cell.cores for cell in left)))
    more = f", and {len(lost)} timings" if lost else ""
    where = "one after another" if turns else f"on {at_once} idle cores"
    basis = [f"{len(known)} cells that have finished"] if known or not here else []
    basis += [f"the updates of {len(here)} rows that were timed"] if here else []
    return f"; the others about {spelt(seconds)} {where}, as fast as {' and '.join(basis)}{more}{without}"


def spelt(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def _seconds(name: str, cells: Sequence[Cell]) -> dict[str, float]:
    """What cells took, by their ids: here, or where the record in `results/` was made."""
    record, exported = Record(), stated(RESULTS / name, "seconds")
    found = {str(key): float(value) for key, value in exported.items()} if isinstance(exported, Mapping) else {}
    finished = {cell.cell_id: entry for cell in cells if (entry := record.finished(cell))}
    return found | {cell_id: entry["seconds"] for cell_id, entry in finished.items() if "seconds" in entry}


def _medians(
    cells: Sequence[Cell], known: Mapping[str, float], key: Callable[[Cell], tuple[str, ...]]
) -> dict[tuple[str, ...], float]:
    """The median of what those cells took that are alike."""
    groups = defaultdict[tuple[str, ...], list[float]](list)
    for cell in cells:
        if cell.cell_id in known:
            groups[key(cell)].append(known[cell.cell_id])
    return {alike: median(found) for alike, found in groups.items()}


def alike(cell: Cell) -> tuple[str, ...]:
    """What cells share that differ in their seed alone: kind, row and schedule."""
    return cell.kind, cell.row, cell.schedule


def _disk(loaded: Loaded, left: Sequence[Cell]) -> str:
    """Weights that stay, and states of trainings that run, of the backbone alone."""
    from suite.reduction.backbone import on_meta

    backbone = loaded.study.backbone
    model = on_meta(backbone.name, backbone.options, loaded.study.classes)
    size = 4 * sum(parameter.numel() for parameter in model.parameters()) / GIGABYTE
    kept = sum(cell.kind == "base" or (cell.kind == "accuracy" and bool(cell.how.keep)) for cell in left)
    running = min(len(left), max(1, cores() // max((cell.cores for cell in left), default=1)))
    needed = size * (kept + STATES * COPIES * running)
    return f"; disk: about {needed:.2g} GB, without what methods add" if left else ""
