"""Time our loader and timm's side by side, in alternating rounds: `python tests/loader_race.py FOLDER WORKERS ...`.

FOLDER has `train` and `val`, each with a folder of images for each class. A round is one epoch of batches of inputs, on
this processor; both decode, crop and augment by the same transforms, with the same number of processes and of images in
a batch. What is printed is, for each number of processes, images per second of ours over timm's in every round, and
their median and quartiles; seconds are those of this processor's time without processes, else by the clock.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.data import create_dataset, create_loader

from suite.data.images import Images
from suite.data.preparation import Prepared, for_evaluation, statistics
from suite.measure.clock import WallClock
from suite.measure.speed import Timing, quartiles, race
from suite.tasks.classification.loader import Batches, Reader, augmentation
from suite.tasks.classification.recipe import ClassificationRecipe

SIZE, BATCH, ROUNDS = 224, 50, 10
RECIPE = ClassificationRecipe(
    epochs=1000, batch_size=BATCH, learning_rate=1e-3, auto_augment="rand-m9-mstd0.5-inc1", random_erasing=0.25
)


def images(folder: Path) -> Images:
    """What ours reads."""
    return Images(recipe="images", source=folder, size=SIZE)


def timms(folder: Path, split: str, workers: int, **options: Any) -> Any:
    """The same by timm, without what it does on a GPU alone."""
    fixed = {"use_prefetcher": False, "device": torch.device("cpu"), "interpolation": "bicubic", "crop_pct": 0.875}
    fixed |= statistics("imagenet") | {"num_workers": workers}
    dataset = create_dataset("", str(folder), split=split)
    return create_loader(dataset, (3, SIZE, SIZE), BATCH, **fixed | options)


def training(folder: Path, workers: int) -> dict[str, Callable[[], Iterable[Any]]]:
    """One epoch of training, by name of the loader."""
    batches, epochs = Batches(images(folder), RECIPE, 0, workers), itertools.count()
    theirs = timms(folder, "train", workers, is_training=True, **augmentation(RECIPE))
    return {"ours": lambda: batches.epoch(next(epochs)), "timm": lambda: theirs}


def evaluation(folder: Path, workers: int) -> dict[str, Callable[[], Iterable[Any]]]:
    """All validation images, by name of the loader."""
    found = images(folder).labelled("validation")
    prepared = Prepared(found.pictures, found.labels, for_evaluation((SIZE, SIZE), 0.875, "imagenet"))
    ours, theirs = Reader(prepared, "cpu", workers, batch_size=BATCH), timms(folder, "val", workers)
    return {"ours": lambda: ours, "timm": lambda: theirs}


class ProcessorClock(WallClock):
    """Time that a processor spent on this process, which neighbours disturb less."""

    def mark(self) -> float:
        return time.process_time()


def timed(loaders: dict[str, Callable[[], Iterable[Any]]], workers: int, rounds: int = ROUNDS) -> Timing:
    """Seconds of each round, after one without record."""
    runs = {name: lambda one=one: [len(batch[1]) for batch in one()] for name, one in loaders.items()}
    return race(runs, WallClock() if workers else ProcessorClock(), rounds, 1, None)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number in map(int, sys.argv[2:]):
        for part in (training, evaluation):
            ratios = timed(part(Path(sys.argv[1]), number), number).ratios("ours", "timm")
            low, median, high = quartiles(ratios)
            shown = " ".join(f"{ratio:.3f}" for ratio in ratios)
            print(f"{part.__name__}, {number} processes: {median:.3f} ({low:.3f} to {high:.3f}): {shown}")  # noqa: T201
