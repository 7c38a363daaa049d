"""Batches of images and classes: from memory as they are, or read, cropped and augmented when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from suite.data.dataset import DataSet, Split
from suite.data.pictures import read
from suite.data.preparation import Prepare, Prepared, for_evaluation, for_training
from suite.errors import UserError
from suite.host import cores
from suite.seeds import kept, seed
from suite.tasks import processes
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.loop import TrainingFailed, data_order, to_input

EVALUATION_BATCH = 250
MOST_WORKERS = 16  # processes that read images beside a GPU
Batch = tuple[Tensor, Tensor, int]


@dataclass(frozen=True)
class Augmented:
    """Pictures as inputs of a model, (3, height, width), and classes, by epoch and index.

    Each seeds the default generators, which `Reader` keeps.
    """

    pictures: Sequence[Any]
    labels: Sequence[int]
    prepare: Prepare
    seed: int

    def __getitem__(self, item: Any) -> tuple[Tensor, int]:
        epoch, index = item
        image, _ = read(self.pictures[index])
        seed("augmentation", self.seed, epoch, index)
        return self.prepare(image), int(self.labels[index])


class Batches:
    """Training batches of a data set in an order of the seed's, of each what this process computes.

    `workers`: processes that read images, see `Reader`.

    Raises:
        TrainingFailed: if there is no batch.
    """

    def __init__(self, data: DataSet, recipe: ClassificationRecipe, seed: int, workers: int | None = None) -> None:
        examples = data.open("train")
        self.recipe, self.labels = recipe, examples.targets["labels"][: recipe.images]
        self.generator, self.drawn = data_order("classification", seed), 0
        self.pixels = None if examples.in_files else torch.from_numpy(examples.pixels[: recipe.images])
        if data.cropping is not None:
            _check_classes(self.labels, examples.targets["labels"])
            prepare = for_training(data.cropping.size, data.cropping.normalisation, augmentation(recipe))
            self.read = Augmented(cast(Sequence[Any], examples.images), self.labels, prepare, seed)
            self.items = list[list[tuple[int, int]]]()  # of an epoch, by batch
            self.reader = Reader(self.read, recipe.device, workers, batch_sampler=self.items)
        if not len(self):
            raise TrainingFailed(f"{len(self.labels)} images are less than one batch of {recipe.batch_size}")

    def __len__(self) -> int:
        """Updates of an epoch; an incomplete last batch of images of any size is left out, as timm does."""
        whole, rest = divmod(len(self.labels), self.recipe.batch_size)
        return whole + bool(rest and self.pixels is not None)

    def epoch(self, epoch: int, begun: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the one numbered `begun` on.

        Of each the inputs, (b, 3, height, width), and classes, (b,), of this process, and how many images it has.
        """
        assert epoch + 1 >= self.drawn, "epochs come in order"
        for _ in range(epoch + 1 - self.drawn):
            self.order = torch.randperm(len(self.labels), generator=self.generator)
        self.drawn = epoch + 1
        batches = self.order.split(self.recipe.batch_size)[begun : len(self)]
        own = [_of_this_process(batch, self.recipe) for batch in batches]
        if self.pixels is not None:
            classes = torch.from_numpy(self.labels)
            found: Any = ((to_input(self.pixels[part]), classes[part]) for part in own)
        else:
            self.items[:] = [[(epoch, index) for index in part.tolist()] for part in own]
            found = self.reader
        for (images, labels), batch in zip(found, batches, strict=True):
            yield images, labels, len(batch)


def _of_this_process(batch: Tensor, recipe: ClassificationRecipe) -> Tensor:
    first = processes.rank() * recipe.accumulate
    return torch.cat(batch.tensor_split(recipe.parts)[first : first + recipe.accumulate])


def _check_classes(labels: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> None:
    """Refuse to train on the first images only where these are of the first classes, as those of folders are."""
    found, wanted = len(np.unique(labels)), len(np.unique(whole))
    if found < wanted:
        raise TrainingFailed(f"the first {len(labels)} images are of {found} of the {wanted} classes; leave images out")


@dataclass(frozen=True)
class Told:
    """A data set of torch whose problems are items: torch turns what a process raises into its whole traceback."""

    inner: Any

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.inner[item]
        except UserError as problem:
            return problem


class Reader:
    """Batches of a data set, each time that it is gone through; processes that read stay from one time to the next.

    Whatever the data set draws, the default generators of this process stay as they are.

    `workers`: so many processes; by default none, or beside a GPU as many as cores. `options`: of torch's `DataLoader`.

    Raises:
        UserError: that the data set raises, in whatever process.
    """

    def __init__(self, dataset: Any, device: str, workers: int | None = None, **options: Any) -> None:
        if workers is None:
            workers = usual_workers(device)
        self.loader = DataLoader(
            cast(Dataset[Any], Told(dataset)),
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device != "cpu",
            generator=torch.Generator().manual_seed(0),  # else it draws from the default one, as the model
            collate_fn=_collated,
            **options,
        )

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            with kept():  # for a batch, not for an image: it takes 2 % of the time of one
                batch = next(batches, None)
            if batch is None:
                return
            if isinstance(batch, UserError):
                raise batch
            yield batch


def usual_workers(device: str) -> int:
    """Processes that read images beside a training of this process: none, or beside a GPU as many as cores."""
    return 0 if device == "cpu" else max(1, min(cores() // processes.count(), MOST_WORKERS))


def _collated(items: list[Any]) -> Any:
    """A batch, or the first problem in it."""
    problem = next((item for item in items if isinstance(item, UserError)), None)
    return default_collate(items) if problem is None else problem


def batches_in_order(data: DataSet, split: Split, device: str, first: int = 0, every: int = 1) -> Iterator[Tensor]:
    """Inputs of a split, in order, (B, 3, height, width), or of `every` so many of its images from the `first` on."""
    examples = data.open(split)
    if (how := data.cropping) is None:
        yield from map(to_input, torch.from_numpy(examples.pixels[first::every]).split(EVALUATION_BATCH))
        return
    prepare = for_evaluation((how.size, how.size), how.crop, how.normalisation)
    pictures = Prepared(cast(Sequence[Any], examples.images), examples.targets["labels"], prepare)
    own = Subset(cast(Dataset[Any], pictures), range(first, len(pictures), every))
    for images, _ in Reader(own, device, batch_size=EVALUATION_BATCH):
        yield images


def first_images(data: DataSet, count: int) -> list[np.ndarray[Any, Any]]:
    """The first validation images, cropped as a model sees them, (3, height, width), 0 to 255."""
    examples = data.open("validation")
    if (how := data.cropping) is None:
        return list(examples.pixels[:count])
    as_seen = for_evaluation((how.size, how.size), how.crop, None)
    pictures = [examples.images[index] for index in range(min(count, len(examples)))]
    return [(as_seen(read(picture)[0]) * 255).round().byte().numpy() for picture in pictures]


def augmentation(recipe: ClassificationRecipe) -> dict[str, Any]:
    """What timm's `create_transform` is told of a recipe."""
    return {
        "scale": recipe.crop_scale,
        "hflip": recipe.flip,
        "color_jitter": recipe.color_jitter or None,
        "auto_augment": recipe.auto_augment,
        "re_prob": recipe.random_erasing,
        "re_mode": "pixel",
        "interpolation": "bicubic",
    }
