"""Run one cell: a model beside the unpruned one, image by image. Nothing here knows the scheduler."""

from __future__ import annotations

import functools
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch

from suite.data.preparation import Prepared, for_evaluation
from suite.kinds.off_the_shelf import models
from suite.kinds.off_the_shelf.schema import Pictures
from suite.kinds.off_the_shelf.scores import METRICS, Batch, Seen, look, of_images
from suite.measure.count import count
from suite.measure.tokens import check_tokens
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel
from suite.study.cells import Identity, Job, Result
from suite.study.provenance import device_name
from suite.tasks.classification.loader import Reader

MOST_KEPT = 2**30  # bytes of what the unpruned model says of all images, which is computed anew for each cell beyond
UNITS = {"macs_full": "MACs", "macs_linear": "MACs", "tokens_mlp": "tokens"}


def run_cell(job: Job) -> Result:
    """The result of a cell: what `store.Entry` has of it, `repetitions` with a value for each image by metric.

    A method that the backbone cannot have, or whose weights the file does not bring, is skipped with the reason.
    """
    began, identity = time.perf_counter(), job.identity
    if "impossible" in identity:
        return {"status": "skipped", "reason": identity["impossible"]}
    torch.set_num_threads(int(identity["threads"]))
    try:
        model = models.reduced(identity, job.places)
    except UnmetNeed as unmet:
        return {"status": "skipped", "reason": str(unmet)}
    result = _costs(model) | {"status": "done", "reason": ""}
    scores = _scores(model.to(identity["device"]), job)
    result["metrics"] |= {name: sum(values) / len(values) for name, values in scores.items()}
    result["units"] |= {name: METRICS[name].recorded for name in scores}
    result |= {"repetitions": scores, "seconds": time.perf_counter() - began}
    return result | {"origin": {"device": device_name(identity["device"])}}


def _costs(model: ReducedModel) -> Result:
    counted = count(model)
    check_tokens(model, counted.tokens)
    fewest = float(min(counted.tokens.mlp))
    metrics = {"macs_full": float(counted.macs.full), "macs_linear": float(counted.macs.linear), "tokens_mlp": fewest}
    return {"metrics": metrics, "units": dict(UNITS)}


def _scores(model: ReducedModel, job: Job) -> dict[str, list[float]]:
    """By metric, the values of all images in their order."""
    identity, found = job.identity, defaultdict[str, list[float]](list)
    data = data_of(identity, job.places)
    batches, references = _batches(identity, data), _references(identity, job.places, data)
    seed, device = int(identity.get("seed", 0)), identity["device"]
    for scores in of_images(model, batches, references, seed, labelled=data.labels, device=device):
        for name, values in scores.items():
            if not values.isfinite().all():
                number = len(found[name]) + int((~values.isfinite()).nonzero()[0])
                raise FloatingPointError(f"{name} of image {number} is not finite")
            found[name] += values.tolist()
    job.progress(1)
    return dict(found)


def data_of(identity: Identity, places: dict[str, str]) -> Pictures:
    """The images of a cell, where they are on this machine."""
    here = {name: places[name] for name in Pictures.PLACES & places.keys()}
    return Pictures.model_validate(identity["data"]["recipe"] | here)


def _batches(identity: Identity, data: Pictures) -> Iterable[Batch]:
    pictures, how = data.labelled(), data.cropping
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
