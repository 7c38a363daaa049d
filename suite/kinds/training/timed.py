"""What training costs here: a few updates of every row, by the code that trains it; nothing of it is kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from rich.console import Console

from suite.data.classes import IMAGENET, IMAGENET_IMAGES
from suite.data.dataset import DataSet
from suite.data.images import Images
from suite.data.stand_in import BrieflyScored, StandIn
from suite.errors import UserError, describe
from suite.kinds.training.cells import expand
from suite.kinds.training.estimate import alike
from suite.kinds.training.execute import reduced, seed_everything
from suite.kinds.training.identity import Identity
from suite.measure import numerics
from suite.reduction.method import UnmetNeed
from suite.reduction.registry import reduces_nothing
from suite.study.cells import Cell, Job, id_of
from suite.study.kind import Loaded
from suite.study.provenance import device_name
from suite.study.store import Record
from suite.tasks import processes
from suite.tasks.loop import TrainingFailed
from suite.tasks.pace import Pace
from suite.tasks.resume import Saved
from suite.tasks.task import Training
from suite.terminal import ManualProgress

WARM_UP, UPDATES = 2, 8
SECONDS = 30.0  # that the updates of a row may take, as far as one is shorter
FEWEST = 2  # images of a part of a batch, which may be mixed
PREFETCHED = 2  # batches that each loading process of torch holds ready
FILLINGS = 4  # of what they hold ready, which updates go on for
HERE = {"device": "cpu", "precision": "float32", "accumulate": 1, "processes": 1, "compile": False}  # without a GPU
IN_MEMORY = {"images": None, "workers": 0}


@dataclass(frozen=True)
class Timed:
    """What one cell of a row costs.

    Attributes:
        kind, row, schedule: of the cell.
        unpruned: whether it is fine-tuned without reduction.
        left: cells of the row that have not finished.
        device: what its maker calls it.
        rate: images of updates over their time; None if it could not be trained.
        memory: most bytes on the GPU; None on a processor.
        updates, batch: how many that is of, and by how many images.
        warm: whether others went before those.
        hours: of all updates of the cell, without scoring; None if it is not known of how many images.
        problem: why it could not be trained; empty if it was.
        notes: what else must be said.
    """

    kind: str
    row: str
    schedule: str
    unpruned: bool
    left: int
    device: str
    rate: float | None = None
    memory: int | None = None
    updates: int = 0
    batch: int = 0
    warm: bool = False
    hours: float | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


Clock = Callable[[], float]


class Enough(Exception):
    """As many updates as were wanted."""


class Few(Pace):
    """Stops a training after so many updates, or the first one that ends after so many seconds from the second one on.

    The first may have to compile, which takes longer.

    Attributes:
        counted: images and seconds of those after the warm-up; of the last one where there are none.
        ended: how many there were in all.
    """

    def __init__(self, warm_up: int, updates: int, seconds: float, clock: Clock = time.perf_counter) -> None:
        super().__init__(clock)
        self.warm_up, self.updates, self.seconds = warm_up, updates, seconds
        self.counted, self.ended = list[tuple[int, float]](), 0

    @property
    def rate(self) -> float | None:
        return sum(one for one, _ in self.counted) / sum(one for _, one in self.counted) if self.counted else None

    def took(self, images: int, seconds: float) -> None:
        self.counted = [*(self.counted if self.ended > self.warm_up else ()), (images, seconds)]
        self.seconds -= seconds if self.ended else 0
        self.ended += 1

    def updated(self, images: int) -> None:
        super().updated(images)
        if self.ended >= self.updates or self.seconds <= 0:
            raise Enough


def timed(loaded: Loaded, console: Console) -> list[Timed]:
    """Time a cell of every row, schedule and length of which none has finished here, with a bar on a terminal.

    Lengths of a row share their updates. Weights are random, and so are pixels where the images are not on this
    machine. On a processor batches are cut so that updates end.
    """
    if loaded.study.numerics != "native" and numerics.stage() == "first":
        numerics.enter(loaded.study.numerics)
    found, known = list[Timed](), dict[str, Timed]()
    groups = _open_rows(loaded)
    with ManualProgress(console, len(groups)) as bar:
        for left in groups:
            cell = left[0]
            bar.tell(cell.row, cell.schedule)
            same = _updates_of(cell)
            if same not in known:
                known[same] = _time(cell)
            found.append(_of(known[same], cell, len(left)))
            bar.advance()
    return found


def _open_rows(loaded: Loaded) -> list[list[Cell]]:
    """Cells that train, by row, of those rows of which none has finished."""
    record, rows = Record(), dict[tuple[str, ...], list[Cell]]()
    for cell in expand(loaded.study):
        if not cell.alone:
            rows.setdefault(alike(cell), []).append(cell)
    return [cells for cells in rows.values() if all(record.finished(cell) is None for cell in cells)]


def _updates_of(cell: Cell) -> str:
    """What decides how long an update takes."""
    known = {key: value for key, value in cell.identity.items() if key not in ("seed", "start")}
    return id_of(known | {"recipe": {key: value for key, value in known["recipe"].items() if key != "epochs"}})


def _of(one: Timed, cell: Cell, left: int) -> Timed:
    """The same for a row whose cells are trained as long as this one."""
    identity = Identity.model_validate(cell.identity)
    images, notes = _images(identity.data_set(cell.places), identity.training)
    hours = identity.training.epochs * images / one.rate / 3600 if images and one.rate else None
    return replace(one, row=cell.row, schedule=cell.schedule, left=left, hours=hours, notes=(*one.notes, *notes))


def _images(data: DataSet, recipe: Any) -> tuple[int | None, list[str]]:
    """Training images of an epoch, as far as that is known here, and what must be said of that."""
    count, notes = data.count("train"), list[str]()
    if count is None and not data.missing():
        count = len(data.open("train"))
    elif count is None and recipe.images is None and isinstance(data, Images) and data.targets["labels"] == IMAGENET:
        count, notes = (
            IMAGENET_IMAGES,
            [f"The data of {IMAGENET} classes are taken for ImageNet's {IMAGENET_IMAGES:,} images."],
        )
    return min(filter(None, (count, recipe.images)), default=None), notes


def _time(cell: Cell) -> Timed:
    """Train a cell for a few updates, with what this machine has."""
    identity = Identity.model_validate(cell.identity)
    recipe, notes = _here(identity.training)
    torch.set_num_threads(identity.threads)
    seed_everything(identity)
    unpruned, device = cell.kind == "accuracy" and reduces_nothing(identity.method), device_name(recipe.device)
    done = Timed(cell.kind, cell.row, cell.schedule, unpruned, 1, device, notes=tuple(notes))
    try:
        return _trained(done, cell, identity, recipe)
    except (UnmetNeed, TrainingFailed) as error:
        return replace(done, problem=str(error))
    except torch.OutOfMemoryError:
        return replace(done, problem=f"updates by {recipe.batch_size} images need more memory than this GPU has")
    except UserError:
        raise
    except Exception as error:  # of a method by file, which `suite run` records as well
        return replace(done, problem=describe(error))


def _here(recipe: Any) -> tuple[Any, list[str]]:
    """A recipe as this process can follow it, and what must be said of that."""
    notes, changes = list[str](), dict[str, object](curriculum="none", warmup_epochs=0.0)
    if recipe.curriculum != "none":
        notes.append("With the whole schedule, which the curriculum reaches in the middle of the training.")
    if recipe.device == "cuda" and not torch.cuda.is_available():
        notes.append("This machine has no GPU, for which the study is: on the processor, in float32.")
        changes |= {key: value for key, value in HERE.items() if key in type(recipe).model_fields}
    elif getattr(recipe, "processes", 1) > processes.count():
        notes.append(f"The share of one of {recipe.processes} processes, alone here, without the sum of gradients.")
    return recipe.model_copy(update=changes), notes


def _trained(done: Timed, cell: Cell, identity: Identity, recipe: Any) -> Timed:
    """What updates took."""
    notes, whole, pace = list(done.notes), recipe.batch_size, None
    if recipe.device == "cpu":
        recipe, pace = _in_time(cell, identity, recipe)
    if recipe.batch_size < whole:
        notes.append(f"By fewer images in an update than the study's {whole}, which would take too long.")
    pace, data = pace or _paced(cell, identity, recipe), identity.data_set(cell.places)
    if data.missing():
        notes.append("Pixels are random, because the images are not here: the time to load them is not in it.")
    elif len(pace.counted) < _held(data, recipe):
        notes.append("Batches that were ready did for these updates: the time to load images is not wholly in it.")
    return replace(
        done,
        rate=pace.rate,
        memory=pace.memory or None,
        updates=len(pace.counted),
        warm=pace.ended > pace.warm_up,
        batch=recipe.batch_size,
        notes=tuple(notes),
    )


def _in_time(cell: Cell, identity: Identity, recipe: Any) -> tuple[Any, Few | None]:
    """A recipe of whose updates one more than the warm-up ends in time here, by what one of the fewest images takes.

    Also the pace of that one, if even those are too many.
    """
    fewest = min(recipe.batch_size, FEWEST * getattr(recipe, "parts", 1))
    least = recipe.model_copy(update={"batch_size": fewest})
    first = _paced(cell, identity, least, 1)
    times = int(SECONDS * (first.rate or 0) / fewest / (WARM_UP + 1))
    if not times:
        return least, first
    return recipe.model_copy(update={"batch_size": min(recipe.batch_size, fewest * times)}), None


def _paced(cell: Cell, identity: Identity, recipe: Any, updates: int | None = None) -> Few:
    """The pace of so many updates, or of as many as end in time; by default of as many as tell how fast images load."""
    data, saved = identity.data_set(cell.places), Saved(None, 0)
    held = 0 if data.missing() else _held(data, recipe)
    warm_up = max(WARM_UP, held)
    updates = updates or warm_up + max(UPDATES, FILLINGS * held)
    if data.missing():
        classes = {target: data.targets[target] for target in [identity.goal.target]}
        data = StandIn(size=data.side, images=updates * recipe.batch_size, classes=classes)
        in_memory = {key: value for key, value in IN_MEMORY.items() if key in type(recipe).model_fields}
        recipe = recipe.model_copy(update=in_memory)
    else:
        data = cast(DataSet, BrieflyScored(data))
    recipe = recipe.model_copy(update={"epochs": updates})  # which are enough whatever an epoch has
    model = reduced(Job(cell.identity, None, places=cell.places), identity)
    saved.pace = pace = Few(warm_up, updates, SECONDS)
    with contextlib.suppress(Enough):
        identity.goal.train(model, Training(data, recipe, identity.seed, saved=saved))
    return pace


def _held(data: DataSet, recipe: Any) -> int:
    """Batches that processes which load images hold ready; 0 where the training loads them itself."""
    from suite.tasks.classification.loader import usual_workers

    usual = usual_workers(recipe.device) if data.cropping else 0
    return PREFETCHED * int(getattr(recipe, "workers", usual))
