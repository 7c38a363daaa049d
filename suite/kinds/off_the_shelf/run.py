"""What a study without training does: run the cells that are missing, and write the record of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from suite.data.preparation import statistics
from suite.errors import UserError
from suite.host import cores
from suite.kinds.off_the_shelf import models
from suite.kinds.off_the_shelf.cells import OTHERS, different, expand
from suite.kinds.off_the_shelf.record import export
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.training import start
from suite.kinds.training.estimate import duration
from suite.kinds.training.runner import CellQueue, scheduler
from suite.kinds.training.study import refuse
from suite.official.evaluate import check_device
from suite.run.progress import Progress
from suite.study.cells import Cell
from suite.study.entry import last_line
from suite.study.kind import Loaded
from suite.study.load import RESULTS, argument_of
from suite.study.provenance import provenance
from suite.study.store import Record
from suite.terminal import ManualProgress, warn


def missing(study: OffTheShelfStudy) -> list[str]:
    """A sentence for everything that the study reads and that is not on this machine."""
    decoder = study.decoder
    map_maker = f"decoder: there is no file {decoder}" if decoder and not decoder.is_file() else ""
    return list(filter(None, [study.data.missing(), start.missing(study.start, study.backbone.name), map_maker]))


def check(loaded: Loaded) -> str:
    """How many cells a study has, of models that are built without weights; UserError if one cannot be."""
    return f"{len(different(loaded.study))} cells"


def plan(loaded: Loaded) -> list[dict[str, Any]]:
    """Every cell, with what the store of finished cells says of it."""
    record, found = Record(), []
    for cell in different(loaded.study):
        entry = record.finished(cell) or record.failed(cell)
        status, reason = (entry["status"], last_line(entry)) if entry else ("to run", "")
        about = {"row": cell.row, "schedule": cell.schedule, "variant": cell.variant}
        found.append({"cell_id": cell.cell_id, "status": status, **about, "reason": reason})
    return found


def estimate(loaded: Loaded) -> str:
    """What is left of a study in hours, as soon as a cell has finished."""
    cells, record = different(loaded.study), Record()
    left = [cell for cell in cells if record.finished(cell) is None]
    return f"{len(cells) - len(left)} of {len(cells)} cells finished{duration(loaded.name, cells, left, cores())}"


def read(loaded: Loaded, console: Console) -> None:
    """Read all images and weights once; UserError for what is missing or cannot be used."""
    refuse(missing(loaded.study))
    check_inputs(loaded.study, expand(loaded.study), console)


def run(loaded: Loaded, console: Console, alone: bool = False) -> int:
    """Run a study's unfinished cells, each kept the moment it ends, and export `results/<study>/`.

    `alone`: in this process, without Ray.

    Returns:
        The exit code: 0 if all cells are finished, 130 after an interrupt, else 1.

    Raises:
        UserError: for a study that cannot run, or a second run in the same folder.
    """
    provenance()  # as the code is now, not when the first cell ends
    study, record, interrupted = loaded.study, Record(), False
    refuse(missing(study))
    cells, once = expand(study), different(study)
    left = [cell for cell in once if record.finished(cell) is None]
    found = f"{loaded.name}: {len(once)} cells, {len(once) - len(left)} finished, {len(left)} to run"
    console.print(found + duration(loaded.name, once, left, 1 if alone else cores()), soft_wrap=True)
    with record.locked():
        if left:
            check_inputs(study, cells, console)
            try:
                _run(once, left, record, console, alone)
            except KeyboardInterrupt:
                interrupted = True
        export(RESULTS / loaded.name, cells, record, study.data.groups_of(study.data.labelled()))
    undone = [cell for cell in once if record.finished(cell) is None]
    if undone:
        resume = f"suite run {argument_of(loaded)}{' --in-process' if alone else ''}"
        console.print(
            f"{len(undone)} cells failed or were not run, the others are kept; resume with: {resume}",
            style="yellow",
            soft_wrap=True,
        )
    return 130 if interrupted else int(bool(undone))


def check_inputs(study: OffTheShelfStudy, cells: Sequence[Cell], console: Console) -> None:
    """Read all images and weights once, and try the decoder, before anything is computed; the unpruned model is first.

    Raises:
        UserError: for what cannot be used.
    """
    unpruned = cells[0]
    for device in {study.device, study.speed.device if study.speed else study.device}:
        check_device(device)
    models.check_decoder(unpruned.identity, unpruned.places)
    _check_others(cells)
    model = models.whole(unpruned.identity, unpruned.places)
    if study.data.labels and not study.data.neighbours:
        study.data.check_outputs(model.backbone.num_classes)
    _warn_of_other_images(study)
    with ManualProgress(console, text="reading the images") as bar:
        lines = study.data.check(bar.reach)
    how = study.data.cropping
    prepared = f"prepared at {how.size} pixels, crop {how.crop:g}, normalisation {how.normalisation}"
    for line in (*lines, prepared):
        console.print(f"data: {line}", soft_wrap=True, highlight=False)


def _warn_of_other_images(study: OffTheShelfStudy) -> None:
    """Say which weights of timm take images that are normalised in another way than here."""
    normalisation = study.data.normalisation
    own = statistics(normalisation)
    for place in dict.fromkeys([study.start, *(other.start for other in study.models)]):
        known = start.known(place)
        if known and (tuple(known.mean), tuple(known.std)) != (own["mean"], own["std"]):
            warn(
                f"{place} takes images of mean {tuple(known.mean)} and deviation {tuple(known.std)}, and these are "
                f"normalised as {normalisation}'s, as data.normalisation has it"
            )


def _check_others(cells: Sequence[Cell]) -> None:
    for cell in cells:
        if cell.schedule == OTHERS and "impossible" not in cell.identity and not cell.alone:
            try:
                models.reduced(cell.identity, cell.places)
            except UserError as error:
                raise UserError(f"models: {cell.row}: {error}") from error


def _run(cells: Sequence[Cell], left: Sequence[Cell], record: Record, console: Console, alone: bool) -> None:
    from suite.kinds.off_the_shelf.execute import run_cell

    done = {cell.cell_id for cell in cells} - {cell.cell_id for cell in left}
    with Progress(cells, done, 1 if alone else cores(), console, ticking=not alone) as progress:
        for own in ([cell for cell in left if cell.alone is timed] for timed in (False, True)):
            queue = CellQueue(own, record, progress, lambda *_: None)
            if own:
                with scheduler(own, {}, alone=alone) as run_cells:
                    run_cells(run_cell, queue, record.home / "scratch")
