"""Run one cell, in whatever process the scheduler chose. Nothing here knows the scheduler."""

from __future__ import annotations

import io
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

from suite.data.recipe import Ade20k, DigitScenes
from suite.data.scenes import Bytes, make_scenes
from suite.errors import UserError
from suite.kinds.speed.cell import time_cell
from suite.kinds.training.cells import known_weights
from suite.kinds.training.schema import Data
from suite.measure.examples import EXAMPLES, example
from suite.measure.macs import count_macs
from suite.measure.tokens import check_tokens, count_tokens
from suite.reduction.backbone import create_backbone, fitted
from suite.reduction.blocks import TimmModule
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.seeds import seed_for
from suite.study.cells import Identity, Job, Result
from suite.study.provenance import device_name
from suite.tasks.classification.train import Epoch, to_input, train
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.segmentation.pixels import PixelModel, UnprunedPixels
from suite.tasks.segmentation.recipe import SegmentationRecipe


def data_of(job: Job) -> DigitScenes | Ade20k:
    """What it trains on and is scored on."""
    said = job.identity["data"]["recipe"]
    where = {"folder": job.places["folder"]} if "folder" in job.places else {}
    recipe: DigitScenes | Ade20k = TypeAdapter(Data).validate_python(said | where)
    return recipe


def run_cell(job: Job) -> Result:
    """Run a cell and return its result.

    Returns:
        `status` (done or skipped; a speed cell that cannot be measured here: failed), `reason`, `metrics` (name to
        value), `units`, `repetitions` (name to values), `curves` (name to one value per epoch), `details`, `seconds`;
        a base cell also has `weights`. `origin` is what its provenance says besides: the `device` that it ran on.
    """
    began = time.perf_counter()
    torch.set_num_threads(job.identity["threads"])
    seed_everything(job.identity)
    run = {"base": run_base, "accuracy": run_accuracy, "speed": run_speed}[job.identity["kind"]]
    try:
        found = run(job)
    except UnmetNeed as unmet:
        found = {"status": "skipped", "reason": str(unmet)}
    result: Result = {"status": "done", "reason": "", "seconds": time.perf_counter() - began} | found
    if result["status"] != "failed":  # else there may be no such device
        result["origin"] = {"device": device_name(job.identity["device"])} | result.get("origin", {})
    return result


def seed_everything(identity: Identity) -> None:
    """Seed every default generator from the cell, because a worker process runs many cells after one another."""
    seed = seed_for("cell", identity["kind"], identity["task"], identity.get("seed", 0))
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (libraries may draw from the old global generator)
    torch.manual_seed(seed)
    # It costs time, so not where time is measured; on cuda the metric's histogram has no deterministic form.
    torch.use_deterministic_algorithms(identity["kind"] != "speed" and identity["device"] == "cpu")


def run_base(job: Job) -> Result:
    """Train the model that all other cells start from."""
    model = _reduced(job.identity | {"method": "none", "settings": {}, "fusion": "none", "removed": None})
    result = _train(model, job)
    return result | {"weights": save_weights(model.backbone)}


def run_accuracy(job: Job) -> Result:
    """Fine-tune one method from the weights it starts from, then measure its tokens and MACs as deployed."""
    model = _reduced(job.identity)
    if job.weights is not None:
        load_weights(model.backbone, job.weights)
    elif "start" in job.places:
        _check_same(job)
        fitted(model.backbone, Checkpoint.read(job.places["start"])).load_into(model.backbone)
    result = _train(model, job)
    result = _with_costs(result, model.cpu(), job.identity)
    result["details"]["example"] = example(
        model, example_images(data_of(job), job.identity["task"]), job.identity["task"]
    )
    return result


def _check_same(job: Job) -> None:
    """Refuse weights that are not those of the identity.

    Raises:
        UserError: naming the file.
    """
    found, wanted = known_weights(Path(job.places["start"])), job.identity["start"]
    if found != wanted:
        raise UserError(
            f"{job.places['start']} is not the file that this study was planned with ({found}, planned: {wanted}); put "
            "that one back, on every node, or run the study again to plan it with this one"
        )


def run_speed(job: Job) -> Result:
    """Compare the deployed method with the untouched timm model; weights and images are random."""
    model = _reduced(job.identity).deploy()
    result = time_cell(job.identity, *_forwards(model, job.identity["task"]), model.backbone.patch_embed.img_size)
    job.progress(1)
    return result


def example_images(recipe: DigitScenes | Ade20k, task: str) -> list[Bytes]:
    """The first images of the validation set, (3, height, width), 0 to 255, as a model is shown them."""
    if task == "segmentation":
        from suite.tasks.segmentation.data import first_images, open_data

        return [image for image, _ in first_images(open_data(recipe), EXAMPLES)]
    assert isinstance(recipe, DigitScenes)
    return list(make_scenes(recipe, "validation").images[:EXAMPLES])


def save_weights(model: nn.Module) -> bytes:
    """A model's weights as bytes."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()


def load_weights(model: nn.Module, weights: bytes) -> None:
    """Load weights that `save_weights` made; every key must fit."""
    model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))


def _reduced(identity: Identity) -> ReducedModel:
    backbone = create_backbone(
        identity["backbone"]["name"],
        identity["backbone"]["options"],
        classes=identity["classes"],
        drop_path=identity.get("recipe", {}).get("drop_path", 0.0),
    )
    if identity["task"] == "segmentation":
        spare_last_block(backbone)
    removed = identity["removed"]
    counts = tuple(removed) if removed else None
    return reduce(backbone, identity["method"], counts, identity["settings"], identity["fusion"])


def spare_last_block(backbone: TimmModule) -> None:
    """Let no path of the last block be dropped, as in Cropr's official recipe for segmentation."""
    for name in ("drop_path1", "drop_path2"):
        setattr(backbone.blocks[-1], name, nn.Identity())


def _forwards(model: ReducedModel, task: str) -> tuple[nn.Module, nn.Module]:
    """What is timed and counted: the model and the untouched timm model, as the task reads them."""
    return (PixelModel(model), UnprunedPixels(model.backbone)) if task == "segmentation" else (model, model.backbone)


def _train(model: ReducedModel, job: Job) -> Result:
    task = {"classification": _train_classification, "segmentation": _train_segmentation}[job.identity["task"]]
    return task(model, job)


def _train_segmentation(model: ReducedModel, job: Job) -> Result:
    from suite.tasks.segmentation.data import open_data
    from suite.tasks.segmentation.train import train as train_segmentation

    identity = job.identity
    opened = open_data(data_of(job))
    recipe = SegmentationRecipe(**identity["recipe"], device=identity["device"], precision=identity["precision"])
    scratch = Path(job.places["scratch"]) if "scratch" in job.places else None
    epochs = train_segmentation(
        model, opened, recipe, identity["seed"], lambda epoch: job.progress(epoch.epoch + 1), scratch
    )
    last = epochs[-1].scores
    classes = {f"iou_{name}": iou for name, iou in zip(opened.classes, last.iou, strict=True) if iou is not None}
    metrics = {
        "miou_last": last.miou,
        "miou_best": max(epoch.scores.miou for epoch in epochs),
        "macc_last": last.macc,
        "aacc_last": last.aacc,
        **classes,
    }
    return {
        "metrics": metrics,
        "units": dict.fromkeys(metrics, "%"),
        "curves": {
            "loss": [epoch.loss for epoch in epochs],
            "miou": [epoch.scores.miou for epoch in epochs],
            "learning_rate": [epoch.learning_rate for epoch in epochs],
        },
        "details": _pixels(data_of(job)),
    }


def _train_classification(model: ReducedModel, job: Job) -> Result:
    data, recipe = data_of(job), TrainingRecipe(**job.identity["recipe"])
    assert isinstance(data, DigitScenes)
    epochs: list[Epoch] = []
    for epoch in train(
        model, make_scenes(data, "train"), make_scenes(data, "validation"), recipe, job.identity["seed"]
    ):
        epochs.append(epoch)
        job.progress(len(epochs))
    return {
        "metrics": {"acc1_last": epochs[-1].acc1, "acc1_best": max(epoch.acc1 for epoch in epochs)},
        "units": {"acc1_last": "%", "acc1_best": "%"},
        "curves": {name: [getattr(epoch, name) for epoch in epochs] for name in ("loss", "acc1", "learning_rate")},
        "details": _pixels(data),
    }


def _pixels(data: DigitScenes | Ade20k) -> dict[str, Any]:
    """Hashes of the pixels that were made; a folder's are known by its digest."""
    if isinstance(data, Ade20k):
        return {}
    return {
        "pixels": {"train": make_scenes(data, "train").digest(), "validation": make_scenes(data, "validation").digest()}
    }


def _with_costs(result: Result, model: ReducedModel, identity: Identity) -> Result:
    model.deploy()
    image = _noise(model, 1)
    ledger, macs = count_tokens(model, image), count_macs(_forwards(model, identity["task"])[0], image)
    check_tokens(model, ledger)
    tokens = {"tokens_attention": ledger.attention, "tokens_mlp": ledger.mlp, "tokens_leaving": ledger.leaving}
    result["metrics"] |= {"tokens_fewest": min(ledger.mlp), "macs_full": macs.full, "macs_linear": macs.linear}
    result["units"] |= {"tokens_fewest": "tokens", "macs_full": "MACs", "macs_linear": "MACs"}
    result["units"] |= dict.fromkeys(tokens, "tokens")
    result["repetitions"] = {name: list(counts) for name, counts in tokens.items()}
    return result


def _noise(model: ReducedModel, batch: int) -> torch.Tensor:
    height, width = model.backbone.patch_embed.img_size
    return to_input(torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8))
