"""Image classification: train a reduced model, and count how often it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.data import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.utils import ModelEmaV3

from suite.data.dataset import DataSet, Split
from suite.reduction.blocks import drop_no_path
from suite.reduction.method import Output
from suite.reduction.model import ReducedModel
from suite.reduction.schedule import curriculum
from suite.seeds import drawn, generators, restore
from suite.tasks import processes
from suite.tasks.classification.loader import Batches, batches_in_order
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.loop import Updates, check_finite, check_weights, optimizer_for, precise
from suite.tasks.task import Epoch, Training, add

Loss = Callable[[Tensor, Tensor], Tensor]
Forward = Callable[[Tensor], Output]


def train(model: ReducedModel, training: Training) -> list[Epoch]:
    """Train on the recipe's device, from where it stood if it was stopped; the model ends with the weights it scored.

    The order of the data and what is drawn of images depend on the seed alone. Drop path and random methods draw from
    torch's default generator, or of each part of a batch from (seed, update, part) where batches have several parts.

    Raises:
        TrainingFailed: if the loss or a weight is not finite.
        UserError: for images that cannot be read.
    """
    model.to(training.recipe.device)
    run = _Run(model, training)
    run.go_on()
    while len(run.epochs) < training.recipe.epochs:
        run.epoch()
        training.scored(run.scored, run.epochs[-1])
        training.report(run.epochs[-1])
    return run.epochs


class _Run:
    """A training and where it stands: epochs that are done, updates in all and in this epoch, loss and images of it."""

    def __init__(self, model: ReducedModel, training: Training) -> None:
        self.model, self.training, self.data = model, training, training.data
        self.recipe: ClassificationRecipe = training.recipe
        recipe = self.recipe
        self.batches = Batches(self.data, recipe, training.seed)
        self.optimizer, self.scheduler = optimizer_for(model, recipe, len(self.batches))
        self.updates, self.mixing = Updates(model, recipe, self.optimizer), _mixing(recipe, self.data)
        self.average = ModelEmaV3(model, recipe.ema) if recipe.ema is not None else None
        self.teacher = model.unpruned() if model.method.settings.learns_from_teacher() else None
        self.outputs: Forward = torch.compile(model.outputs) if recipe.compile else model.outputs
        if not recipe.drop_path_in_last_block:
            drop_no_path(model.backbone.blocks[-1])
        self.criterion: Loss = (
            SoftTargetCrossEntropy() if self.mixing else LabelSmoothingCrossEntropy(recipe.label_smoothing)
        )
        self.epochs: list[Epoch] = []
        self.begun, self.total, self.seen = 0, 0.0, 0

    @property
    def scored(self) -> ReducedModel:
        """The model that is scored: of averaged weights, if the recipe says so."""
        return self.model if self.average is None else self.average.module

    def epoch(self) -> None:
        """The rest of an epoch, and its scores."""
        number, full = len(self.epochs), self.model.method.context.schedule.removed
        self.model.train()
        counts = curriculum(full, number, self.recipe.epochs, self.recipe.curriculum)
        self.model.method.counts = self.scored.method.counts = counts
        pace = self.training.saved.pace
        pace.begin(self.recipe.device)
        for batch in self.batches.epoch(number, self.begun):
            self._update(*batch)
            pace.updated(batch[2])
            if processes.rank() == 0 and self.training.saved.due():
                self.training.saved.save(self._state(), self._done)
        check_weights(self.model, number)
        wanted = self.data.open("validation").targets["labels"]
        found = predicted(self.scored, self.data, self.recipe)
        scores = {"acc1": 100 * float((found == wanted).sum()) / len(wanted)}
        rate, loss = self.optimizer.param_groups[0]["lr"], self.total / self.seen
        add(self.epochs, Epoch(number, loss, rate, scores, images={"label": wanted, "predicted": found}))
        self.begun, self.total, self.seen = 0, 0.0, 0
        if self.average is not None and len(self.epochs) == self.recipe.epochs:
            self.model.load_state_dict(self.average.module.state_dict())

    @property
    def _done(self) -> int:
        """Updates so far."""
        return len(self.epochs) * len(self.batches) + self.begun

    def _update(self, images: Tensor, labels: Tensor, whole: int) -> None:
        """One step, by the images of this process of a batch of `whole` images."""
        self.scheduler.step_update(self._done)
        self.optimizer.zero_grad()
        first, parts = processes.rank() * self.recipe.accumulate, _in_parts(images, labels, self.recipe)
        own = sum(self._part(number, *part, whole) for number, part in enumerate(parts, first))
        self.total += processes.total(own)
        self.updates.step(self._done)
        if self.average is not None:
            self.average.update(self.model)
        self.seen, self.begun = self.seen + whole, self.begun + 1

    def _part(self, number: int, images: Tensor, labels: Tensor, whole: int) -> float:
        """Add the gradients of a part of a batch; its loss, summed over its images."""
        names = self.training.seed, self._done, number
        if self.mixing:
            with drawn("mixing", *names):
                images, labels = self.mixing(images, labels)
        several = self.recipe.parts > 1
        with drawn("part", *names, device=self.recipe.device) if several else nullcontext():
            loss = self._loss(images, labels)
        check_finite(loss, len(self.epochs), self._done, self.optimizer)
        share = len(images) / whole
        self.updates.backward(loss if share == 1 else loss * share)
        return loss.item() * len(images)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        with precise(self.model, self.recipe.precision):
            return training_loss(self.model, images, labels, self.criterion, self.teacher, self.outputs)

    def _state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        place = {name: getattr(self, name) for name in ("epochs", "begun", "total", "seen")}
        return {"parts": parts, "place": place, "generators": generators(self.recipe.device)}

    def go_on(self) -> None:
        """From the newest state that was saved, if there is one."""
        state = self.training.saved.load()
        if state is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        for name, value in state["place"].items():
            setattr(self, name, value)
        restore(state["generators"])

    def _parts(self) -> dict[str, Any]:
        """All that changes while it trains and has a state of its own."""
        found = {"model": self.model, "optimizer": self.optimizer, "scaler": self.updates.scaler}
        return found | ({} if self.average is None else {"average": self.average})


def _mixing(recipe: ClassificationRecipe, data: DataSet) -> Mixup | None:
    """Mixup and cutmix of images, with soft targets, (B, classes); None for neither."""
    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        switch_prob=recipe.mixup_switch,
        label_smoothing=recipe.label_smoothing,
        num_classes=data.targets["labels"],
    )


def _in_parts(images: Tensor, targets: Tensor, recipe: ClassificationRecipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Images in as many parts as gradients are added up of in a process, on the recipe's device."""
    count = recipe.accumulate
    for part in zip(images.tensor_split(count), targets.tensor_split(count), strict=True):
        yield part[0].to(recipe.device, non_blocking=True), part[1].to(recipe.device, non_blocking=True)


def training_loss(
    model: ReducedModel,
    images: Tensor,
    labels: Tensor,
    criterion: Loss,
    teacher: ReducedModel | None = None,
    outputs: Forward | None = None,
) -> Tensor:
    """The task's loss plus what the method adds to it: auxiliary loss, and distillation from `teacher`.

    `labels` are classes, (B,), or soft targets, (B, classes), as `criterion` reads them. `outputs` are those of the
    model, compiled.
    """
    output = (outputs or model.outputs)(images)
    loss = criterion(output.logits, labels)
    extra = model.method.auxiliary_loss(output.auxiliary, labels, criterion)
    loss = loss if extra is None else loss + extra
    if teacher is None:
        return loss
    with torch.no_grad():
        reference = teacher.outputs(images)
    return loss + model.method.distillation_loss(output, reference)


@torch.inference_mode()
def predicted(
    model: nn.Module, data: DataSet, recipe: ClassificationRecipe, split: Split = "validation"
) -> NDArray[np.int64]:
    """The class with the highest logit of every image of a split, (images,); each process looks at its share."""
    model.eval()
    classes = [torch.empty(0, dtype=torch.int64)]
    for images in batches_in_order(data, split, recipe.device, processes.rank(), processes.count()):
        with precise(model, recipe.precision):
            classes.append(model(images.to(recipe.device, non_blocking=True)).argmax(1).cpu())
    found: NDArray[np.int64] = processes.in_turn(torch.cat(classes).numpy())
    return found
