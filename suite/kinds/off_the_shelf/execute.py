"""Run one cell: a model beside the unpruned one, image by image. Nothing here knows the scheduler."""

from __future__ import annotations

import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from suite.data.dataset import Split
from suite.data.preparation import Prepared, for_evaluation
from suite.kinds.off_the_shelf import models
from suite.kinds.off_the_shelf.schema import Pictures
from suite.kinds.off_the_shelf.scores import (
    METRICS,
    Batch,
    Seen,
    Vote,
    by_logits,
    look,
    looked,
    loyalty,
    of_images,
    resized,
)
from suite.kinds.speed.cell import time_cell
from suite.measure.count import Count, count
from suite.measure.padding import unpadded
from suite.measure.tokens import check_tokens
from suite.reduction.backbone import create_backbone
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel
from suite.study.cells import Identity, Job, Result
from suite.study.provenance import device_name
from suite.study.schema import Backbone
from suite.tasks.classification.loader import Reader
from suite.tasks.task import task

MOST_KEPT = 2**30  # bytes of what the unpruned model says of all images, which is computed anew for each cell beyond
SECONDS_APART = 5.0  # of what a cell says of its progress
UNITS = {"macs_full": "MACs", "macs_linear": "MACs", "tokens_mlp": "tokens"}


def run_cell(job: Job) -> Result:
    """The result of a cell: what `store.Entry` has of it, `repetitions` with a value for each image by metric.

    A method that the backbone cannot have, or whose weights the file does not bring, is skipped with the reason.
    """
    began, identity = time.perf_counter(), job.identity
    if "speed" in identity:
        return {"status": "done"} | _speed(job) | {"seconds": time.perf_counter() - began}
    if "impossible" in identity:
        return {"status": "skipped", "reason": identity["impossible"]}
    torch.set_num_threads(int(identity["threads"]))
    try:
        model = models.reduced(identity, job.places)
    except UnmetNeed as unmet:
        return {"status": "skipped", "reason": str(unmet)}
    counted = count(model)
    result = _costs(model, counted) | {"status": "done", "reason": ""}
    model.to(identity["device"])
    if model.method.settings.is_adaptive:
        _add_unpadded(result, model, job, counted)
    scores = _scores(model, job)
    result["metrics"] |= {name: sum(values) / len(values) for name, values in scores.items()}
    result["units"] |= {name: METRICS[name].recorded for name in scores}
    result |= {"repetitions": scores, "seconds": time.perf_counter() - began}
    return result | {"origin": {"device": device_name(identity["device"])}}


def _costs(model: ReducedModel, counted: Count) -> Result:
    check_tokens(model, counted.tokens)
    fewest = float(min(counted.tokens.mlp))
    metrics = {"macs_full": float(counted.macs.full), "macs_linear": float(counted.macs.linear), "tokens_mlp": fewest}
    return {"metrics": metrics, "units": dict(UNITS)}


def _add_unpadded(result: Result, model: ReducedModel, job: Job, counted: Count) -> None:
    """Tokens that leave the block that fewest leave, and multiply-accumulates, of the first batch without padding."""
    images, _ = next(iter(_batches(job.identity, data_of(job.identity, job.places))))
    read = resized(images.to(job.identity["device"]), tuple(model.backbone.patch_embed.img_size))
    found = unpadded(model, [read], counted)
    metrics = {"tokens_unpadded": min(found.tokens), "macs_full_unpadded": found.macs.full}
    result["metrics"] |= metrics
    result["units"] |= {"tokens_unpadded": "tokens", "macs_full_unpadded": "MACs"}


def _scores(model: ReducedModel, job: Job) -> dict[str, list[float]]:
    """By metric, the values of all images in their order."""
    identity, found = job.identity, defaultdict[str, list[float]](list)
    data = data_of(identity, job.places)
    references = _references(identity, job.places, data)
    seed, device = int(identity.get("seed", 0)), identity["device"]
    images, told = len(data.labelled()), time.monotonic()
    decode = models.decoder(identity, job.places)
    loyal = functools.partial(loyalty, decode=decode, features="other" not in identity)
    correct = _correct(model, identity, data, seed)
    for scores in of_images(model, _batches(identity, data), references, seed, device, correct, loyal):
        for name, values in scores.items():
            if not values.isfinite().all():
                number = len(found[name]) + int((~values.isfinite()).nonzero()[0])
                raise FloatingPointError(f"{name} of image {number} is not finite")
            found[name] += values.tolist()
        if time.monotonic() - told > SECONDS_APART:
            job.progress(len(found[name]) / images)
            told = time.monotonic()
    return dict(found)


def _correct(
    model: ReducedModel, identity: Identity, data: Pictures, seed: int
) -> Callable[[Seen, Tensor], Mapping[str, Tensor]]:
    """What tells whether a model is right, as the study says."""
    if data.neighbours is None:
        return by_logits if data.labels else lambda _found, _labels: {}
    training = looked(model, _batches(identity, data, "train"), seed, identity["device"])
    features, labels = map(torch.cat, zip(*((found.feature, labels) for found, labels in training), strict=True))
    vote = Vote(features, labels, data.neighbours.count)
    return lambda found, labels: {"neighbours": (vote(found.feature) == labels).double()}


class Shrunk(nn.Module):
    """A model on images of another size than it takes."""

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, height, width) to what the model says."""
        found: Tensor = self.model(resized(images, self.size))
        return found


def _speed(job: Job) -> Result:
    """Compare a model with the unpruned one, on images that that takes; weights and images are random."""
    identity, goal = job.identity, task(job.identity["task"])
    model = models.untrained(identity, job.places)
    whole, size = model.backbone, models.size_of(identity)
    if {"image", "other"} & identity.keys():
        full = Backbone.model_validate(identity["backbone"])
        whole = create_backbone(full.name, full.options, identity["classes"]).eval()
    own = tuple(model.backbone.patch_embed.img_size)
    shown = goal.read_out(model) if own == size else Shrunk(goal.read_out(model), own)
    return time_cell(identity, shown, goal.read_out_unpruned(whole), size)


def data_of(identity: Identity, places: dict[str, str]) -> Pictures:
    """The images of a cell, where they are on this machine."""
    here = {name: places[name] for name in Pictures.PLACES & places.keys()}
    return Pictures.model_validate(identity["data"]["recipe"] | here)


def _batches(identity: Identity, data: Pictures, split: Split = "validation") -> Iterable[Batch]:
    pictures, how = data.labelled(split), data.cropping
    size = models.size_of(identity)
    prepare = for_evaluation(size, how.crop, how.normalisation)
    prepared = Prepared(pictures.pictures, pictures.labels, prepare)  # type: ignore[arg-type]
    return Reader(prepared, identity["device"], batch_size=identity["batch_size"])


def _references(identity: Identity, places: dict[str, str], data: Pictures) -> Iterable[Seen]:
    """What the unpruned model says of each batch: kept for the next cells where there is memory for it."""
    what = {name: identity[name] for name in (*models.MODEL, "data", "batch_size", "threads")}
    here = {name: place for name, place in places.items() if name in {*Pictures.PLACES, "start"}}
    said = json.dumps(what, sort_keys=True), json.dumps(here, sort_keys=True)
    patches, width = models.patches_and_width(identity)
    if 4 * len(data.labelled()) * (patches + 1) * width > MOST_KEPT:
        return _looked(*said)
    return _kept(*said)


@functools.lru_cache(maxsize=1)
def _kept(identity: str, places: str) -> Sequence[Seen]:
    return list(_looked(identity, places))


def _looked(said: str, where: str) -> Iterator[Seen]:
    identity, places = json.loads(said), json.loads(where)
    model = models.whole(identity, places).to(identity["device"])
    for images, _ in _batches(identity, data_of(identity, places)):
        yield look(model, images.to(identity["device"]))
