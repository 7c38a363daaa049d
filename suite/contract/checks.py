"""The checks on outputs, tokens, weights and gradients; each returns when it holds and raises `Broken` when not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from suite.contract.backbones import CLASSES, silence
from suite.contract.case import EARLY, EVERYWHERE, Broken, Case, Inapplicable, distance, require_near, seeded
from suite.measure.tokens import Ledger, check_ledger, token_ledger
from suite.reduction.model import ReducedModel
from suite.reduction.projection import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens

LABELS = torch.arange(4) % CLASSES
BF16 = 2.0**-5  # some rounding errors of 2**-8 each
FUSION = " with last-layer fusion; put patches aside with Tokens.set_aside, or refuse it: Settings.sets_aside() False"


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
def check_tokens(case: Case) -> None:
    """Tokens per block equal the schedule, read off the tensors, and the method does what its label says."""
    for fusion in case.fusions():
        model = case.model(EARLY if fusion == "last-layer" else EVERYWHERE, fusion)
        ledger = _keeps_to_schedule(model, case.images(), "" if fusion == "none" else FUSION)
        _trains_on_as_many(model.train(), case.images(), ledger)
        model.eval()
        if case.settings.reduces == "idles" and len(set(ledger.leaving)) > 1:
            raise Broken(f"its label says that it idles, but tokens leave the sequence: {list(ledger.leaving)}")
        changes = distance(seeded(model, case.images()), seeded(case.model(), case.images())) > 1e-5
        if case.settings.reduces == "nothing" and changes:
            raise Broken("its label says that it reduces nothing, but a schedule changes its outputs")
        if case.settings.reduces != "nothing" and not changes:
            raise Broken(f"its label says that it {case.settings.reduces}, but a schedule changes no output")


@torch.no_grad()
def check_prefix(case: Case) -> None:
    """Through blocks that add nothing, prefix tokens come out as they went in, to the bit."""
    for model in _silent(case):
        prefix = model.backbone.num_prefix_tokens
        if not prefix:
            raise Inapplicable("the backbone has no prefix tokens")
        embedded = _embedded(model, case.images())
        for layer, tokens in enumerate(model.steps(case.images())):
            if tokens.prefix != prefix:
                raise Broken(f"after block {layer} it says {tokens.prefix} prefix tokens instead of {prefix}")
            for place in range(prefix):
                if not torch.equal(tokens.x[:, place], embedded[:, place]):
                    raise Broken(f"after block {layer} prefix token {place} of {prefix} is not what was embedded")


@torch.no_grad()
def check_positions(case: Case) -> None:
    """Through blocks that add nothing, each patch is the one embedded at the position that it claims.

    Sizes and owners are checked there too, as far as they can be.
    """
    for model in _silent(case):
        embedded = _embedded(model, case.images())[:, model.backbone.num_prefix_tokens :]
        for layer, tokens in enumerate(model.steps(case.images(), track=True)):
            wrong = int((~_is_what_it_claims(tokens, embedded)).sum())
            if wrong:
                raise Broken(
                    f"after block {layer}, {wrong} of {tokens.where.numel()} patches are not what was embedded at the "
                    "position that they claim"
                )
            _check_books(tokens, embedded, layer)


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
    unless the method says so; and one of them reaches each weight of the method.
    """
    timm, model = case.timm().train(), case.model(EVERYWHERE).train()
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
    """Running, training and deploying change neither the keys nor the values of the backbone's `state_dict`."""
    checkpoint = case.timm().state_dict()
    model = case.model(EVERYWHERE)
    model.backbone.load_state_dict(checkpoint)
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


def _keeps_to_schedule(model: ReducedModel, images: Tensor, hint: str = "") -> Ledger:
    ledger = token_ledger(model, images)
    try:
        check_ledger(model, ledger)
    except RuntimeError as error:
        raise Broken(f"{error}{hint}") from error
    return ledger


def _trains_on_as_many(model: ReducedModel, images: Tensor, ledger: Ledger) -> None:
    """In training as many tokens leave each block as in evaluation, unless the method says that it masks there."""
    if model.method.settings.masks_in_training:
        return
    found = tuple(tokens.x.shape[1] for tokens in model.steps(images))
    if found != ledger.leaving:
        raise Broken(
            f"in training tokens {list(found)} leave the blocks instead of {list(ledger.leaving)}; set "
            "masks_in_training if that is meant"
        )


def _silent(case: Case) -> list[ReducedModel]:
    """Models whose blocks add nothing, with and without last-layer fusion."""
    models = []
    for fusion in case.fusions():
        model = case.model(EARLY if fusion == "last-layer" else EVERYWHERE, fusion)
        silence(model.backbone)
        models.append(model)
    return models


def _embedded(model: ReducedModel, images: Tensor) -> Tensor:
    """What the first block receives, by timm's own embedding."""
    backbone = model.backbone
    x = backbone._pos_embed(backbone.patch_embed(images))
    embedded: Tensor = backbone.norm_pre(x[0] if isinstance(x, tuple) else x)
    return embedded


def _is_what_it_claims(tokens: Tokens, embedded: Tensor) -> Tensor:
    """For each patch, (B, N), whether it is the embedded one of its position; merged and fused ones are excused."""
    position = tokens.where
    if position.shape != tokens.patches.shape[:2] or position.max() >= embedded.shape[1]:
        return torch.zeros(tokens.patches.shape[:2], dtype=torch.bool)
    claimed = embedded.gather(1, position.clamp(min=0).unsqueeze(-1).expand(-1, -1, embedded.shape[2]))
    equal = (tokens.patches == claimed).all(-1)
    excused = (position < 0) if tokens.size is None else (position < 0) | (tokens.size != 1)
    return equal | excused


def _check_books(tokens: Tokens, embedded: Tensor, layer: int) -> None:
    """Each patch has an owner that exists; patches that stayed own themselves; merged ones are means of what they own.

    `embedded` are the first patches, (B, N0, D).
    """
    owner = tokens.owner
    assert owner is not None
    lost = int(((owner < 0) | (owner >= tokens.count)).sum())
    if lost:
        raise Broken(
            f"after block {layer}, {lost} of {owner.numel()} first patches are spoken for by a token that does not "
            "exist"
        )
    position = tokens.where
    itself = owner.gather(1, position.clamp(min=0)) == torch.arange(tokens.count)
    disowned = int((~itself & (position >= 0)).sum())
    if disowned:
        raise Broken(f"after block {layer}, {disowned} patches that stayed are spoken for by another token")
    if tokens.size is None:
        return
    total = float(tokens.size.sum(1).max())
    if total > embedded.shape[1] + 0.5:
        raise Broken(f"after block {layer}, sizes of an image add up to {total:g} patches of {embedded.shape[1]}")
    if (tokens.size.sum(1) < embedded.shape[1]).any():
        return  # it also drops, and what was dropped is spoken for by others
    members = nn.functional.one_hot(owner, tokens.count).to(embedded.dtype)
    wrong = int((members.sum(1) != tokens.size).sum())
    if wrong:
        raise Broken(f"after block {layer}, {wrong} tokens are not of the size of what they speak for")
    means = torch.einsum("bij,bid->bjd", members, embedded) / tokens.size.unsqueeze(-1)
    require_near(tokens.patches, means, f"merged tokens after block {layer}, against the mean of what they speak for,")


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
