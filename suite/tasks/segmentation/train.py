"""Train and evaluate a reduced segmentation model through mmengine's Runner."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import suite.tasks.segmentation.engine  # noqa: F401  (before mmsegmentation, see there)

# isort: split
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor
from torch.utils.data import DataLoader

# isort: split
from timm.scheduler.scheduler import Scheduler

from suite.reduction.model import ReducedModel
from suite.reduction.schedule import curriculum
from suite.seeds import generators, restore, seed_for
from suite.tasks.loop import Updates, check_finite, check_weights, optimizer_for, precise
from suite.tasks.resume import Saved
from suite.tasks.segmentation.data import SegmentationData
from suite.tasks.segmentation.model import ExactIoU, Scores, build_segmentor
from suite.tasks.segmentation.recipe import SegmentationRecipe
from suite.tasks.task import Epoch, add

UNUSED_HOOKS = ("runtime_info", "timer", "logger", "param_scheduler", "checkpoint")
LOGGER = "cropr-suite"
DECAYS = {"cosine": "cosine", "polynomial": "poly"}  # as timm calls them
SCORES = f"{ExactIoU.default_prefix}/scores"


class SilentRunner(Runner):  # type: ignore[misc]
    """mmengine's Runner that keeps to itself: no files, no examples, no report on the machine, only errors printed."""

    def build_logger(self, *_arguments: Any, **_options: Any) -> MMLogger:
        """One logger for all runs of a process; a file of its own would outlive the folder it is in."""
        known = MMLogger.check_instance_created(LOGGER)
        return MMLogger.get_instance(LOGGER) if known else MMLogger.get_instance(LOGGER, log_level="ERROR")

    def build_message_hub(self, *_arguments: Any, **_options: Any) -> MessageHub:
        """A hub that no list of mmengine's keeps alive after the run."""
        return MessageHub(self.experiment_name)

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        """The model stays on the device it is on; mmengine would move it to any accelerator it sees."""
        return model

    def dump_config(self) -> None:
        """There is nothing to write: a cell's identity says it all."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Do nothing: the study's provenance has it, and mmengine starts compilers to find out."""


class GuardedOptimizer(OptimWrapper):  # type: ignore[misc]
    """An optimizer that refuses a loss that is not finite, clips backbone and method apart, and scales for float16."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: ReducedModel, recipe: SegmentationRecipe, updates: int):
        super().__init__(optimizer)
        self.model, self.recipe, self.updates = model, recipe, updates
        self.scaled = Updates(model, recipe, optimizer)

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        """Compute the loss in the recipe's precision."""
        with super().optim_context(model), precise(self.model, self.recipe.precision):
            yield

    def update_params(self, loss: Tensor, *arguments: Any, **options: Any) -> None:
        """Go one step.

        Raises:
            TrainingFailed: if the loss is not finite.
        """
        check_finite(loss, self.inner_count // self.updates, self.inner_count, self.optimizer)
        super().update_params(loss, *arguments, **options)

    def backward(self, loss: Tensor, **options: Any) -> None:
        """Gradients of the scaled loss."""
        self.scaled.backward(loss)
        self._inner_count += 1  # as mmengine's own does

    def step(self, **options: Any) -> None:
        """Clip, then step."""
        self.scaled.step(self.inner_count)


class Order(DefaultSampler):  # type: ignore[misc]
    """The order of training images, which may begin behind those that a training which goes on has seen."""

    begun = 0

    def __iter__(self) -> Iterator[int]:
        begun, self.begun = self.begun, 0
        return itertools.islice(super().__iter__(), begun, None)


class TrainingHook(Hook):  # type: ignore[misc]
    """What happens around updates and epochs: learning rate, curriculum, a record of every epoch, and saved states."""

    def __init__(
        self,
        model: ReducedModel,
        recipe: SegmentationRecipe,
        scheduler: Scheduler,
        report: Callable[[Epoch], None],
        saved: Saved,
        seed: int,
    ) -> None:
        self.model, self.recipe, self.scheduler, self.report = model, recipe, scheduler, report
        self.saved, self.seed, self.generators = saved, seed, None
        self.epochs: list[Epoch] = []
        self.begun, self.total, self.images, self.learning_rate = 0, 0.0, 0, 0.0

    def before_train(self, runner: Runner) -> None:
        """Go on from the newest state that was saved, if there is one."""
        state = self.saved.load()
        if state is None:
            return
        for name, part in self._parts(runner).items():
            part.load_state_dict(state["parts"][name])
        for name, value in state["place"].items():
            setattr(self, name, value)
        loop, self.generators = runner.train_loop, state["generators"]
        loop._epoch, loop._iter = len(self.epochs), len(self.epochs) * len(loop.dataloader) + self.begun
        runner.optim_wrapper._inner_count = loop._iter
        loop.dataloader.sampler.begun = self.begun * self.recipe.batch_size

    def _parts(self, runner: Runner) -> dict[str, Any]:
        """All that changes while it trains and has a state of its own."""
        wrapper = runner.optim_wrapper
        return {"model": self.model, "optimizer": wrapper.optimizer, "scaler": wrapper.scaled.scaler}

    def before_train_epoch(self, runner: Runner) -> None:
        """Counts of this epoch; its validation removes as much."""
        full = self.model.method.context.schedule.removed
        self.model.method.counts = curriculum(full, runner.epoch, self.recipe.epochs, self.recipe.curriculum)
        images = runner.train_loop.dataloader.dataset
        images.drawn = (self.seed, runner.epoch) if images.examples.in_files else None
        if self.generators is not None:
            restore(self.generators)
            self.generators = None
        else:
            self.begun, self.total, self.images = 0, 0.0, 0
        self.saved.pace.begin(self.recipe.device)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Learning rate of this update."""
        self.scheduler.step_update(runner.iter)
        self.learning_rate = runner.optim_wrapper.optimizer.param_groups[0]["lr"]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add to the epoch's mean loss."""
        self.total += outputs["loss"].item() * len(data_batch["inputs"])
        self.images += len(data_batch["inputs"])
        self.begun += 1
        self.saved.pace.updated(len(data_batch["inputs"]))
        if self.saved.due():
            parts = {name: part.state_dict() for name, part in self._parts(runner).items()}
            place = {name: getattr(self, name) for name in ("epochs", "begun", "total", "images", "learning_rate")}
            state = {"parts": parts, "place": place, "generators": generators(self.recipe.device)}
            self.saved.save(state, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Refuse broken weights."""
        check_weights(self.model, runner.epoch)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Record the epoch; mmengine has counted it already."""
        found: Scores = metrics[SCORES]
        scores = {name: getattr(found, name) for name in ("miou", "macc", "aacc")}
        named = zip(runner.val_dataloader.dataset.metainfo["classes"], found.iou, strict=True)
        classes = {f"iou_{name}": iou for name, iou in named if iou is not None}
        epoch = Epoch(runner.epoch - 1, self.total / self.images, self.learning_rate, scores, classes, found.images)
        add(self.epochs, epoch)
        self.report(epoch)


def train(
    model: ReducedModel,
    data: SegmentationData,
    recipe: SegmentationRecipe,
    seed: int,
    report: Callable[[Epoch], None] = lambda _: None,
    scratch: Path | None = None,
    saved: Saved | None = None,
) -> list[Epoch]:
    """Train a model from the weights it has, on the recipe's device, and `report` after every epoch.

    The order of the data depends on `seed` alone, augmentation on seed, epoch and image. Drop path and random methods
    draw from torch's default generator, which is seeded here. It goes on from the newest state of `saved`. mmengine
    makes empty folders, in `scratch` or else where temporary files go; they are gone afterwards.

    Raises:
        TypeError, ValueError: if the model does not fit the data.
        TrainingFailed: if the loss or a weight is not finite.
    """
    segmentor = build_segmentor(model.to(recipe.device), data, recipe.precision)
    if recipe.images is not None and recipe.images > len(data.train):
        raise ValueError(
            f"the recipe asks for the first {recipe.images} images to train on, there are {len(data.train)}"
        )
    images = data.train if recipe.images is None else data.train.get_subset(recipe.images)
    loader = _loader(images, recipe.batch_size, seed_for("data order", "segmentation", seed), recipe.workers)
    model.zero_grad()
    optimizer, scheduler = optimizer_for(model, recipe, len(loader), DECAYS[recipe.decay])
    hook = TrainingHook(model, recipe, scheduler, report, saved or Saved(None, 0), seed)
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        runner = _runner(
            segmentor,
            data,
            folder,
            seed,
            recipe.workers,
            train_dataloader=loader,
            train_cfg={"by_epoch": True, "max_epochs": recipe.epochs},
            optim_wrapper=GuardedOptimizer(optimizer, model, recipe, len(loader)),
            custom_hooks=[hook],
        )
        runner.train()
    return hook.epochs


def evaluate(model: ReducedModel, data: SegmentationData, precision: str = "float32") -> Scores:
    """Scores of a model on the validation set, where it is; random methods draw the same in every call.

    Raises:
        TypeError, ValueError: if the model does not fit the data.
    """
    segmentor = build_segmentor(model, data, precision)
    with tempfile.TemporaryDirectory() as folder:
        scores: Scores = _runner(segmentor, data, folder, seed=0).val()[SCORES]
    return scores


def _runner(
    segmentor: Any, data: SegmentationData, folder: str, seed: int, workers: int = 0, **options: Any
) -> SilentRunner:
    name = f"segmentation-{uuid.uuid4().hex}"
    start = torch.multiprocessing.get_start_method()  # mmengine would set its own for the whole process
    return SilentRunner(
        segmentor,
        folder,
        val_dataloader=_loader(data.validation, data.batch_size, workers=workers),
        val_cfg={},
        val_evaluator=Evaluator([ExactIoU()]),
        default_hooks=dict.fromkeys(UNUSED_HOOKS),
        env_cfg={"mp_cfg": {"mp_start_method": start}},
        visualizer=Visualizer(name),
        randomness={"seed": seed_for("noise", "segmentation", seed) % 2**32},
        experiment_name=name,
        default_scope=None,
        **options,
    )


def _loader(dataset: Any, batch_size: int, order: int | None = None, workers: int = 0) -> DataLoader[Any]:
    """Batches of a data set; with `order` they are shuffled, in every epoch anew."""
    return DataLoader(
        dataset,
        batch_size,
        sampler=Order(dataset, shuffle=order is not None, seed=order or 0),
        num_workers=workers,
        collate_fn=pseudo_collate,
        generator=torch.Generator().manual_seed(order or 0),  # else it draws from that which the model draws from
    )
