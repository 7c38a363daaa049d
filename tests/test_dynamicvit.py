"""DynamicViT again in plain torch, one image at a time: masked training, losses, gradients, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES, CLASSES, HEADS, PATCHES, WIDTH, build, draw_images
from test_oracles import Sequence, assert_near, begin, mlp, project, read_out, scaled, whole_block
from torch import Tensor, nn

from suite.measure.scores import Shown, score_facts
from suite.reduction.model import ReducedModel, reduce
from suite.tasks.classification.train import training_loss

NAMES = ("vit", "vit without class token", "vit with registers, average", "eva02 with layer scale")
REMOVED, EARLY = (9, 8, 8, 0), (9, 8, 0, 0)
TARGET = torch.arange(HEADS)


def dynamicvit(name: str, removed: tuple[int, ...] = REMOVED, fusion: str = "none", **settings: float) -> ReducedModel:
    """In training mode, without drop path, and with predictors that are of many minds."""
    backbone = build(name, drop_path_rate=0.0)
    model = reduce(backbone, "dynamicvit", removed, settings, fusion)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.method.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return model.train()


def probabilities(predictor: nn.Module, patches: Tensor, policy: Tensor) -> Tensor:
    """Logarithms of those to keep and to drop patches, (N, D), as (N, 2)."""
    norm, linear, _ = predictor.in_conv
    first, _, second, _, third = predictor.out_conv
    h = F.gelu(F.linear(F.layer_norm(patches, (WIDTH,), norm.weight, norm.bias, 1e-5), linear.weight, linear.bias))
    mean = sum(policy[n] * h[n, WIDTH // 2 :] for n in range(len(h))) / sum(policy)
    joined = torch.stack([torch.cat([one[: WIDTH // 2], mean]) for one in h])
    return third(F.gelu(second(F.gelu(first(joined))))).log_softmax(1)  # type: ignore[no-any-return]


def masked_block(block: nn.Module, tokens: Sequence, table: Tensor | None, policy: Tensor) -> Tensor:
    """The tokens after a block, (T, D), whose keys count by `policy`, (T,), as in the official code."""
    query, key, value = project(block, tokens, table)
    logits = query @ key.transpose(1, 2)
    count = torch.eye(len(policy)) + (1 - torch.eye(len(policy))) * policy
    exponential = (logits - logits.max(-1, keepdim=True).values).exp() * count
    weight = (exponential + 1e-6 / len(policy)) / (exponential.sum(-1, keepdim=True) + 1e-6)
    seen = block.attn.norm(torch.einsum("hqk,hkd->qhd", weight, value).flatten(1))
    x = tokens.x + scaled(block, block.attn.proj(seen), 1)
    return x + mlp(block, x)


@dataclass
class Trained:
    """What a forward pass in training gives of all images: logits, patches after the final norm, and each policy."""

    logits: Tensor
    patches: Tensor
    policies: list[Tensor]


def trained_again(model: ReducedModel, images: Tensor) -> Trained:
    """As the model trains, with the next numbers of torch's generator."""
    counts, backbone, predictors = model.method.counts, model.backbone, model.method.predictors
    noise = [-torch.empty(len(images), PATCHES, 2).exponential_().log() for count in counts if count]
    logits, normed, policies = [], [], []
    for i, image in enumerate(images):
        (tokens, tables), decisions, prefix = begin(backbone, image), [], backbone.num_prefix_tokens
        policy = torch.ones(len(tokens.x))
        for layer, (block, table, count) in enumerate(zip(backbone.blocks, tables, counts, strict=True)):
            tokens.x = masked_block(block, tokens, table, policy) if decisions else whole_block(block, tokens, table).x
            if count:
                soft = probabilities(predictors[str(layer)], tokens.x[prefix:], policy[prefix:])
                soft = (soft + noise[len(decisions)][i]).softmax(1)[:, 0]
                decision = (soft > 0.5).float() - soft.detach() + soft
                policy = torch.cat([policy[:prefix], policy[prefix:] * decision])
                decisions.append(policy[prefix:])
        policies.append(torch.stack(decisions))
        normed.append(backbone.norm(tokens.x)[prefix:])
        logits.append(masked_read_out(backbone, tokens, policy))
    return Trained(torch.stack(logits), torch.stack(normed), list(torch.stack(policies, 1)))


def masked_read_out(backbone: nn.Module, tokens: Sequence, policy: Tensor) -> Tensor:
    """Logits, (classes,); an average is over the patches that are left."""
    if backbone.global_pool == "token":
        return read_out(backbone, tokens)
    if not getattr(backbone, "pool_include_prefix", False):
        policy = torch.cat([torch.zeros(backbone.num_prefix_tokens), policy[backbone.num_prefix_tokens :]])
    x = backbone.norm(tokens.x)
    mean = sum(weight * one for weight, one in zip(policy, x, strict=True)) / sum(policy)
    return backbone.head(backbone.fc_norm(mean))  # type: ignore[no-any-return]


def gradients(model: ReducedModel, loss: Tensor) -> dict[str, Tensor]:
    """Of all weights that the loss reaches."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: one for name, one in zip(named, found, strict=True) if one is not None}


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_training_equals_the_formulas(name: str, weight: float) -> None:
    """Decisions, logits, the losses' sum and the gradient of every weight, with and without a teacher."""
    model = dynamicvit(name, distillation_weight=weight)
    images, teacher = draw_images(model.backbone), model.unpruned() if weight else None
    if teacher is not None:
        teacher.backbone.head.weight.mul_(0.5)
    torch.manual_seed(3)
    again = trained_again(model, images)
    loss = F.cross_entropy(again.logits, TARGET)
    left = [55, 47, 39]
    parts = [(policy.mean(1) - left[stage] / 64).square().mean() for stage, policy in enumerate(again.policies)]
    loss = loss + 2 * sum(parts) / 3
    if teacher is not None:
        reference = teacher.outputs(images)
        patches = teacher.backbone.forward_features(images)[:, model.backbone.num_prefix_tokens :]
        stays = again.policies[-1] > 0.5
        loss = loss + weight * (again.patches[stays] - patches[stays]).square().mean()
        student = again.logits.log_softmax(1)
        loss = loss + weight * F.kl_div(student, reference.logits.softmax(1), reduction="batchmean")
    torch.manual_seed(3)
    output = model.outputs(images)
    assert_near(output.logits, again.logits)
    for found, expected in zip(output.auxiliary, again.policies, strict=False):
        assert torch.equal(found > 0.5, expected > 0.5)
    assert 0 < again.policies[-1].sum() < again.policies[0].sum() < HEADS * PATCHES
    torch.manual_seed(3)
    total = training_loss(model, images, TARGET, F.cross_entropy, teacher)
    assert_near(total, loss)
    ours, theirs = gradients(model, total), gradients(model, loss)
    assert ours.keys() == theirs.keys()
    assert {name for name, _ in model.method.named_parameters()} == {
        name.removeprefix("method.") for name in ours if name.startswith("method.")
    }
    for key, gradient in ours.items():
        assert_near(gradient, theirs[key], 1e-4)


@pytest.mark.parametrize("fusion", ["none", "last-layer"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_evaluation_keeps_the_most_probable(name: str, fusion: str) -> None:
    """After a block, those of highest log-probability among the ones that are left; the mean is over these."""
    model = dynamicvit(name, EARLY, fusion).eval()
    images, prefix = draw_images(model.backbone), model.backbone.num_prefix_tokens
    for image, logits in zip(images, model(images), strict=True):
        (tokens, tables), left = begin(model.backbone, image), []
        for layer, (block, table, count) in enumerate(zip(model.backbone.blocks, tables, EARLY, strict=True)):
            if layer == len(EARLY) - 1 and fusion != "none":
                x, position = torch.cat([tokens.x, *(one.x for one in left)]), tokens.position
                position = position + [patch for one in left for patch in one.position]
                tokens = Sequence(x, position, [[]] * len(x), torch.ones(len(x)))
            tokens = whole_block(block, tokens, table)
            if count:
                patches = tokens.x[prefix:]
                score = probabilities(model.method.predictors[str(layer)], patches, torch.ones(len(patches)))[:, 0]
                order = (prefix + score.argsort(descending=True)).tolist()
                left.append(tokens.pick(order[-count:]))
                tokens = tokens.pick([*range(prefix), *order[:-count]])
        assert_near(logits, read_out(model.backbone, tokens))


def test_an_image_that_keeps_nothing() -> None:
    """Officially it is not a number; here the loss and all gradients are finite."""
    for name in ("vit", "vit without class token"):
        model = dynamicvit(name, EARLY, distillation_weight=0.5)
        with torch.no_grad():
            model.method.predictors["0"].out_conv[4].bias.copy_(torch.tensor([-100.0, 100.0]))
        images = draw_images(model.backbone)
        assert not any(policy.any() for policy in model.outputs(images).auxiliary[:2])
        loss = training_loss(model, images, TARGET, F.cross_entropy, model.unpruned())
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients(model, loss).values())


def test_shares_follow_a_curriculum() -> None:
    """Rho is what the counts of this epoch leave; blocks that remove nothing yet mask nothing and have no loss."""
    model = dynamicvit("vit", distillation_weight=1.0)
    images = draw_images(model.backbone)
    for counts, left in (((0, 0, 0, 0), ()), ((0, 4, 0, 0), (60,)), ((5, 0, 20, 0), (59, 39))):
        model.method.counts = counts
        torch.manual_seed(0)
        *policies, patches = model.outputs(images).auxiliary
        assert (len(policies), patches.shape) == (len(left), (HEADS, PATCHES, WIDTH))
        found = model.method.auxiliary_loss([*policies, patches], TARGET, F.cross_entropy)
        errors = [(one.mean(1) - share / 64).square().mean() for one, share in zip(policies, left, strict=True)]
        if found is not None:
            assert_near(found, 2 * torch.stack(errors).mean())
        assert (found is None) == (not left)
    model.method.counts = (0, 0, 0, 0)
    student, teacher = model.outputs(images), model.unpruned().outputs(images + 0.1)
    errors = (student.auxiliary[-1] - teacher.auxiliary[-1]).square().mean()
    divergence = F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="batchmean")
    assert_near(model.method.distillation_loss(student, teacher), errors + divergence)


@pytest.mark.parametrize("fusion", ["none", "last-layer", "concatenation"])
@torch.no_grad()
def test_dense_read_outs_in_training(fusion: str) -> None:
    """Of a masked patch: the nearest that is left, in turn for each removal; or itself, as it was when it left."""
    model = dynamicvit("vit", EARLY, fusion)
    images = draw_images(model.backbone)
    torch.manual_seed(5)
    steps = list(model.steps(images, track=True))
    found = model.read_dense(steps[-1]).features
    (first, second), normed = steps[-1].auxiliary, model.backbone.norm(steps[-1].patches)
    for i in range(HEADS):
        for patch in range(PATCHES):
            one = patch
            for policy in (first[i], second[i]) if fusion == "none" else ():
                left = [other for other in range(PATCHES) if policy[other] > 0]
                one = min(left, key=lambda other: ((one // 8 - other // 8) ** 2 + (one % 8 - other % 8) ** 2, other))
            assert torch.equal(found[i, patch], normed[i, one])
    for step, policy in ((0, first), (1, second)):
        masked = policy <= 0 if step == 0 else (policy <= 0) & (first > 0)
        stays = torch.equal(steps[2].patches[masked], steps[step].patches[masked])
        assert masked.any()
        assert stays == (fusion != "none")
    assert (steps[-1].policy is None) == (fusion == "last-layer")


def test_what_trains_it_is_not_a_head() -> None:
    """Tracked scores have its predictors' and nothing of auxiliary heads, of which it has none."""
    model = dynamicvit("vit").eval()
    facts = score_facts(model, Shown(draw_images(model.backbone), TARGET, torch.rand(HEADS, PATCHES)))
    assert facts.keys() == {
        f"{name}/{layer}"
        for name in ("position_share", "foreground_correlation", "foreground_kept")
        for layer in range(3)
    }


def test_a_pooling_that_would_read_masked_patches_is_refused() -> None:
    """Only average and token know which are masked."""
    model = reduce(BACKBONES["vit"](global_pool="map"), "dynamicvit", REMOVED).train()
    with pytest.raises(ValueError, match="global_pool 'map' would read masked patches; use 'avg' or 'token'"):
        model(draw_images(model.backbone))
    assert model.eval()(draw_images(model.backbone)).shape == (HEADS, CLASSES)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_training_in_half_precision(dtype: torch.dtype) -> None:
    """Decisions are made in single precision, whatever the weights are; under autocast too."""
    for autocast in (False, True):
        model = dynamicvit("vit without class token")
        model = model if autocast else model.to(dtype)
        images = draw_images(model.backbone).to(torch.float32 if autocast else dtype)
        with torch.autocast("cpu", dtype, enabled=autocast):
            loss = training_loss(model, images, TARGET, F.cross_entropy)
        assert loss.isfinite()
        assert all(one.isfinite().all() for one in gradients(model, loss).values())
        assert all(policy.dtype == torch.float32 for policy in model.outputs(images).auxiliary)


@pytest.mark.slow
def test_training_is_one_graph() -> None:
    """With a teacher, and with the losses of the eager model."""
    model = dynamicvit("vit", EARLY, distillation_weight=0.5)
    images, teacher = draw_images(model.backbone), model.unpruned()
    torch._dynamo.reset()
    compiled = torch.compile(model.outputs, fullgraph=True, backend="aot_eager")
    losses = []
    for outputs in (model.outputs, compiled):
        torch.manual_seed(0)
        losses.append(training_loss(model, images, TARGET, F.cross_entropy, teacher, outputs))
    assert_near(losses[1], losses[0])
