"""Run one cell, in whatever process the scheduler chose. Nothing here knows the scheduler."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from suite.data.dataset import SPLITS
from suite.errors import UserError
from suite.kinds.speed.cell import time_cell
from suite.kinds.training.cells import known_weights, which_weights
from suite.kinds.training.checks import DURATION, MEMORY, OWN_RATE, RATE, TRAINING_MACS
from suite.kinds.training.identity import Identity
from suite.kinds.training.kept import keep
from suite.measure import numerics
from suite.measure.count import Count, count
from suite.measure.examples import EXAMPLES, as_read, example
from suite.measure.padding import IMAGES, Unpadded, unpadded
from suite.measure.scores import probe
from suite.measure.tokens import check_tokens
from suite.reduction.backbone import create_backbone, fitted
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import code_digest
from suite.run import several
from suite.seeds import seed_for
from suite.study.cells import Job, Result, id_of
from suite.study.images import packed
from suite.study.provenance import device_name
from suite.study.records import known_digest
from suite.study.store import kept_file, unfinished
from suite.tasks import processes
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.resume import Saved
from suite.tasks.task import Epoch, Task, Training

UNITS = {RATE: "images/s", MEMORY: "bytes", DURATION: "s"}


def run_cell(job: Job) -> Result:
    """The result of a cell: what `store.Entry` has of it, a base cell also `weights`.

    Its `origin` is what its provenance says besides: the `device` that it ran on. A speed cell that cannot be measured
    here has failed.
    """
    began, identity = time.perf_counter(), Identity.model_validate(job.identity)
    count = identity.recipe.get("processes", 1)
    if count > 1 and processes.count() == 1:
        return several.run(run_cell, job, count, identity.device)
    torch.set_num_threads(identity.threads)
    numerics.check(identity.numerics)
    seed_everything(identity)
    run = {"base": run_base, "accuracy": run_accuracy, "speed": run_speed}[identity.kind]
    try:
        found = run(job, identity)
    except UnmetNeed as unmet:
        found = {"status": "skipped", "reason": str(unmet)}
    result: Result = {"status": "done", "reason": ""} | found
    result["seconds"] = found.get("seconds", 0.0) + time.perf_counter() - began
    if result["status"] != "failed":  # else there may be no such device
        here = {"device": device_name(identity.device), "numerics": numerics.facts()}
        result["origin"] = here | result.get("origin", {})
    return result


def seed_everything(identity: Identity) -> None:
    """Seed every default generator from the cell, because a worker process runs many cells after one another."""
    seed = seed_for("cell", identity.kind, identity.task, identity.seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (libraries may draw from the old global generator)
    torch.manual_seed(seed)
    # It costs time, so not where time is measured; on cuda the metric's histogram has no deterministic form.
    torch.use_deterministic_algorithms(identity.kind != "speed" and identity.device == "cpu")


def run_base(job: Job, identity: Identity) -> Result:
    """Train the model that all other cells start from."""
    model, weights = reduced(job, identity), io.BytesIO()
    result = _train(model, job, identity)
    torch.save(model.cpu().backbone.state_dict(), weights)
    return result | {"weights": weights.getvalue()}


def run_accuracy(job: Job, identity: Identity) -> Result:
    """Fine-tune one method from the weights it starts from, then measure its tokens and MACs as deployed."""
    model, task = reduced(job, identity), identity.goal
    if job.weights is not None:
        model.backbone.load_state_dict(torch.load(job.weights, weights_only=True, map_location="cpu"))
    elif "start" in job.places:
        start, which = Path(job.places["start"]), which_weights(identity.start)
        if (found := known_weights(start, which)) != identity.start:
            raise UserError(
                f"{start} is not the file that this study was planned with ({found}, planned: {identity.start}); put "
                "that one back, on every node, or run the study again to plan it with this one"
            )
        fitted(model.backbone, Checkpoint.read(start, which)).load_into(model.backbone)
    result, own = _train(model, job, identity), identity.training.method_learning_rate
    if own is not None and len(list(model.parameters())) > len(list(model.backbone.parameters())):
        result["metrics"][OWN_RATE], result["units"][OWN_RATE] = own, "1"
    counted = _add_costs(result, model.cpu(), task)
    data, adaptive = identity.data_set(job.places), model.method.settings.is_adaptive
    images, _ = task.examples(data, IMAGES if adaptive else EXAMPLES)
    normalisation = data.cropping.normalisation if data.cropping else "inception"
    result["details"]["example"] = example(model, images[:EXAMPLES], task, normalisation)
    if adaptive:
        _add_unpadded(result, unpadded(model, (as_read(model, image, normalisation) for image in images), counted))
    return result


def run_speed(job: Job, identity: Identity) -> Result:
    """Compare the deployed method with the untouched timm model; weights and images are random."""
    model, task = reduced(job, identity).deploy(), identity.goal
    unpruned = task.read_out_unpruned(model.backbone)
    result = time_cell(job.identity, task.read_out(model), unpruned, model.backbone.patch_embed.img_size)
    job.progress(1)
    return result


def reduced(job: Job, identity: Identity) -> ReducedModel:
    """The model of a cell, with random weights.

    Raises:
        UnmetNeed: if the backbone lacks what the method needs.
        UserError: if the code of a method is not that of the plan.
    """
    drop_path = identity.recipe.get("drop_path", 0.0)
    backbone = create_backbone(
        identity.backbone.name, identity.backbone.options, classes=identity.classes, drop_path=drop_path
    )
    identity.goal.prepare(backbone)
    method = job.places.get("method", identity.method)
    model = reduce(backbone, method, identity.removed or None, identity.settings, identity.fusion)
    if identity.code and (found := code_digest(Path(method))) != identity.code:
        raise UserError(
            f"{method} is not the code that this study was planned with ({found}, planned: {identity.code}); put that "
            "one back, on every node, or run the study again to plan it with this one"
        )
    return model


def _train(model: ReducedModel, job: Job, identity: Identity) -> Result:
    task, data = identity.goal, identity.data_set(job.places)
    scratch = Path(job.places["scratch"]) if "scratch" in job.places else None
    look = probe(model, data, task) if identity.track_scores else lambda _model: {}
    headline, cell = task.headline, id_of(job.identity)
    start = known_digest(job.weights) if job.weights else ""
    saved = Saved(unfinished(scratch.parent, cell) if scratch else None, job.how.checkpoint_minutes, start=start)

    def scored(model: ReducedModel, epoch: Epoch) -> None:
        saved.facts.append({headline.name: epoch.scores[headline.name], **look(model)})
        scores = [found[headline.name] for found in saved.facts]
        if (
            scratch
            and processes.rank() == 0
            and identity.kind == "accuracy"
            and _is_kept(job.how.keep, scores, identity.training)
        ):
            keep(model, identity, data, kept_file(scratch.parent, cell), epoch.epoch + 1, job.places)

    def report(epoch: Epoch) -> None:
        if len(saved.facts) == epoch.epoch:  # the task did not say which model it scored
            scored(model, epoch)
        job.progress(epoch.epoch + 1)

    epochs = task.train(model, Training(data, identity.training, identity.seed, report, scratch, scored, saved))
    last = epochs[-1]
    scores = [epoch.scores[headline.name] for epoch in epochs]
    kept, cost = {"images": packed(last.images)} if last.images else {}, _cost(saved)
    units = {metric.last: metric.unit for metric in task.metrics} | {headline.best: headline.unit}
    pixels = {split: digest for split in SPLITS if (digest := data.open(split).digest())}
    return {
        "metrics": {metric.last: last.scores[metric.name] for metric in task.metrics}
        | {headline.best: max(scores), **last.parts}
        | cost,
        "units": units | dict.fromkeys(last.parts, headline.unit) | {name: UNITS[name] for name in cost},
        "curves": {
            "loss": [epoch.loss for epoch in epochs],
            headline.name: scores,
            "learning_rate": [epoch.learning_rate for epoch in epochs],
        }
        | {name: [found[name] for found in saved.facts] for name in saved.facts[-1]},
        "details": {"pixels": pixels} if pixels else {},  # of a folder's the digest of the data set knows
        "seconds": saved.spent,  # of those that were stopped
    } | kept


def _cost(saved: Saved) -> dict[str, float]:
    """What a training took: seconds with its scoring, images per second of its updates, memory of its GPU."""
    found = {RATE: rate} if (rate := saved.pace.rate) else {}
    found |= {MEMORY: float(saved.pace.memory)} if saved.pace.memory else {}
    return found | {DURATION: saved.seconds_so_far}


def _is_kept(keep: str, scores: Sequence[float], recipe: TrainingRecipe) -> bool:
    """Whether the weights of the last of these epochs are to be kept, for all that is known by then.

    The best is looked for where a curriculum has reached the whole schedule, with which the weights are used.
    """
    whole = scores[0 if recipe.curriculum == "none" else recipe.epochs // 2 :]
    return bool(keep == "best" and whole and whole[-1] == max(whole)) or (
        keep == "last" and len(scores) == recipe.epochs
    )


def _add_costs(result: Result, model: ReducedModel, task: Task) -> Count:
    training = float(_training_macs(model, task))
    model.deploy()
    counted = count(model, task.read_out)
    tokens, (full, linear) = counted.tokens, map(float, counted.macs)
    check_tokens(model, tokens)
    metrics = {"tokens_attention": tokens.attention, "tokens_mlp": tokens.mlp, "tokens_leaving": tokens.leaving}
    macs = {"macs_full": full, "macs_linear": linear, TRAINING_MACS: training}
    result["metrics"] |= {"tokens_fewest": min(tokens.mlp), **macs}
    result["units"] |= {"tokens_fewest": "tokens", **dict.fromkeys(macs, "MACs")}
    result["units"] |= dict.fromkeys(metrics, "tokens")
    result["repetitions"] = {name: list(counts) for name, counts in metrics.items()}
    return counted


def _add_unpadded(result: Result, found: Unpadded) -> None:
    macs = {f"macs_{name}_unpadded": value for name, value in found.macs._asdict().items()}
    result["metrics"] |= macs
    result["units"] |= {"tokens_unpadded": "tokens", **dict.fromkeys(macs, "MACs")}
    result["repetitions"]["tokens_unpadded"] = list(found.tokens)


def _training_macs(model: ReducedModel, task: Task) -> float:
    """Multiply-accumulates of one image forward in training, with auxiliary heads and a teacher where there are any."""
    own = count(model, task.read_out, training=True).macs.full
    return own + (count(model.backbone).macs.full if model.method.settings.learns_from_teacher() else 0)
