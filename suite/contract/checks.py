"""The checks on outputs, tokens, weights and gradients; each returns when it holds and raises `Broken` when not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from suite.contract.backbones import CLASSES
from suite.contract.case import EARLY, EVERYWHERE, NOT_LAST, Broken, Case, Inapplicable, distance, require_near, seeded
from suite.measure.tokens import TokenCounts, check_tokens, count_tokens
from suite.reduction.method import Method
from suite.reduction.model import ReducedModel
from suite.reduction.projection import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens

LABELS = torch.arange(4) % CLASSES
BF16 = 2.0**-5  # some rounding errors of 2**-8 each
FUSION = " with last-layer fusion; stash patches with Tokens.stash, or refuse it: Settings.can_stash() False"


@torch.no_grad()
def check_parity(case: Case) -> None:
    """At zero reduction logits, in both modes, and dense features are those of the untouched timm model."""
    for mode in (False, True):
        backbone, model = (build(drop_path_rate=0.3).train(mode) for build in (case.timm, case.model))
        found, expected = (seeded(part, case.images()) for part in (model, backbone))
        require_near(found, expected, f"logits at zero reduction in {'training' if mode else 'evaluation'} mode")
    backbone = case.timm()
    expected = backbone.forward_features(case.images())[:, backbone.num_prefix_tokens :]
    require_near(case.model().dense(case.images()), expected, "dense features at zero reduction")


@torch.no_grad()
def check_schedule(case: Case) -> None:
    """Tokens per block equal the schedule, read off the tensors, and the method does what it declares."""
    for fusion in case.fusions():
        model = case.model(EARLY if fusion == "last-layer" else EVERYWHERE, fusion)
        counts = _keeps_to_schedule(model, case.images(), "" if fusion == "none" else FUSION)
        _trains_on_as_many(model.train(), case.images(), counts)
        model.eval()
        if any(tokens.padded for tokens in model.steps(case.images())) != case.settings.is_adaptive:
            raise Broken("Settings.is_adaptive must say whether it pads images that keep fewer patches than others")
        if case.settings.reduces == "idles" and len(set(counts.leaving)) > 1:
            raise Broken(f"it declares that it idles, but tokens leave the sequence: {list(counts.leaving)}")
        changes = distance(seeded(model, case.images()), seeded(case.model(), case.images())) > 1e-5
        if case.settings.reduces == "nothing" and changes:
            raise Broken("it declares that it reduces nothing, but a schedule changes its outputs")
        if case.settings.reduces != "nothing" and not changes:
            raise Broken(f"it declares that it {case.settings.reduces}, but a schedule changes no output")


@torch.no_grad()
def check_batch(case: Case) -> None:
    """An image has the same outputs alone, with other mates and in another order; drawn scores are supplied.

    In training mode too, where drop path is off; a method that draws only there is checked in evaluation mode.
    """
    draws = case.draws()
    if draws and not isinstance(case.model().method, ScoringMethod):
        raise Inapplicable("it draws, and it is no ScoringMethod whose scores could be supplied")
    for fusion in case.fusions():
        for mode in ("evaluation", "training"):
            model = case.model(EARLY if fusion == "last-layer" else EVERYWHERE, fusion).train(mode == "training")
            images = case.images()
            if not draws and not torch.equal(seeded(model, images, 1), seeded(model, images, 2)):
                continue
            supply = _supply_scores(model) if draws else lambda _: None
            together = model(images)
            for rows in map(torch.tensor, ([0], [3], [1, 2], [3, 2, 1, 0], [2, 2, 0])):
                supply(rows)
                what = f"outputs in {mode} of images {rows.tolist()} by themselves, against those within all 4,"
                require_near(model(images[rows]), together[rows], what)


def check_gradients(case: Case) -> None:
    """Gradients reach what should learn and nothing else.

    The main loss reaches each weight of the backbone that it reaches in the untouched model; the auxiliary loss none,
    unless the method says so; and one of them reaches each weight of the method. All are finite.
    """
    timm, model = case.timm().train(), case.model(EVERYWHERE).train()
    if type(model.method).auxiliary_loss is Method.auxiliary_loss and case.settings.removal_stage() == "post":
        model = case.model(NOT_LAST).train()
    nn.functional.cross_entropy(timm(case.images()), LABELS).backward()
    reached = _reached(timm)
    torch.manual_seed(0)
    outputs = model.outputs(case.images())
    extra = model.method.auxiliary_loss(outputs.auxiliary, LABELS, nn.CrossEntropyLoss())
    if extra is not None:
        extra.backward(retain_graph=True)
        leaked = [key for key, weight in model.backbone.named_parameters() if weight.grad is not None]
        if leaked and not case.settings.auxiliary_trains_backbone:
            raise Broken(
                f"the auxiliary loss reaches {_listed(leaked)} of the backbone; detach what it reads, or set "
                "auxiliary_trains_backbone if that is meant"
            )
        model.backbone.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(outputs.logits, LABELS).backward()
    broken = [
        key for key, weight in model.named_parameters() if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    if broken:
        raise Broken(f"gradients of {_listed(broken)} are not finite")
    missed = [key for key in reached if key not in _reached(model.backbone)]
    if missed:
        raise Broken(f"the main loss does not reach {_listed(missed)} of the backbone")
    learning = [key for key, weight in model.method.named_parameters() if weight.requires_grad]
    missed = [key for key in learning if key not in _reached(model.method)]
    if missed:
        raise Broken(f"neither the main nor the auxiliary loss reaches {_listed(missed)} of the method")


@torch.no_grad()
def check_bf16(case: Case) -> None:
    """In bfloat16, and under autocast, it runs, keeps type and schedule, and equals timm's at zero reduction."""
    for autocast in (False, True):
        where = "under autocast to bfloat16" if autocast else "in bfloat16"
        kind = torch.float32 if autocast else torch.bfloat16
        timm, whole, model = (part.to(kind) for part in (case.timm(), case.model(), case.model(EVERYWHERE)))
        images = case.images().to(kind)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            expected, found = seeded(timm, images), seeded(model, images)
            if found.dtype != expected.dtype:
                raise Broken(f"{where} logits are {found.dtype} instead of {expected.dtype}")
            if not found.isfinite().all():
                raise Broken(f"{where} {int((~found.isfinite()).sum())} of {found.numel()} logits are not finite")
            require_near(seeded(whole, images), expected, f"logits at zero reduction {where}", BF16)
            _keeps_to_schedule(model, images)


def check_keys(case: Case) -> None:
    """Running, training and deploying change neither the keys nor the values of the backbone's `state_dict`.

    Running changes none of the method's weights either; its buffers may count in training.
    """
    checkpoint = case.timm().state_dict()
    model = case.model(EVERYWHERE)
    model.backbone.load_state_dict(checkpoint)
    own = {key: weight.clone() for key, weight in model.method.state_dict().items()}
    for step in ("evaluation", "training", "deploying"):
        model.train(step == "training")
        if step == "deploying":
            model.deploy()
        model(case.images())
        found = model.backbone.state_dict()
        if list(found) != list(checkpoint):
            raise Broken(
                f"after {step} the backbone's keys differ by {_listed(sorted(found.keys() ^ checkpoint.keys()))}"
            )
        changed = [key for key, value in checkpoint.items() if not torch.equal(found[key], value)]
        if changed:
            raise Broken(f"{step} changes {_listed(changed)} of the backbone's weights")
        now = own if step == "deploying" else model.method.state_dict()
        counted = {key for key, _ in model.method.named_buffers() if step == "training"}  # such as running means
        changed = [key for key, value in own.items() if key not in counted and not torch.equal(now[key], value)]
        if changed:
            raise Broken(f"{step} changes {_listed(changed)} of the method's weights")


@torch.no_grad()
def check_deploy(case: Case) -> None:
    """`deploy()` leaves the outputs in evaluation mode as they were, and the model in that mode."""
    for fusion in case.fusions():
        model = case.model(EARLY if fusion == "last-layer" else EVERYWHERE, fusion)
        before = seeded(model, case.images())
        deployed = model.deploy()
        if deployed.training:
            raise Broken("a deployed model is in training mode")
        require_near(seeded(deployed, case.images()), before, "outputs after deploy(), against those before,")


def _keeps_to_schedule(model: ReducedModel, images: Tensor, hint: str = "") -> TokenCounts:
    counts = count_tokens(model, images)
    try:
        check_tokens(model, counts)
    except RuntimeError as error:
        raise Broken(f"{error}{hint}") from error
    return counts


def _trains_on_as_many(model: ReducedModel, images: Tensor, counts: TokenCounts) -> None:
    """In training as many tokens leave each block as in evaluation, unless the method says that it masks there."""
    if model.method.settings.masks_in_training:
        return
    found = tuple(tokens.x.shape[1] for tokens in model.steps(images))
    if found != counts.leaving:
        raise Broken(
            f"in training tokens {list(found)} leave the blocks instead of {list(counts.leaving)}; set "
            "masks_in_training if that is meant"
        )


def _supply_scores(model: ReducedModel) -> Callable[[Tensor], None]:
    """Record the scores of the next run; a call with rows then supplies those rows of them instead of drawing."""
    method = model.method
    recorded: dict[int, Tensor] = {}
    chosen: list[Tensor] = []
    assert isinstance(method, ScoringMethod)
    original = method.score

    def score(tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        if chosen:
            return recorded[layer][chosen[-1]]
        recorded[layer] = original(tokens, projection, layer)
        return recorded[layer]

    vars(method)["score"] = score
    return chosen.append


def _reached(module: nn.Module) -> list[str]:
    """Names of the weights that have a gradient other than zero."""
    graded = {key: weight.grad for key, weight in module.named_parameters()}
    return [key for key, gradient in graded.items() if gradient is not None and gradient.any()]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
