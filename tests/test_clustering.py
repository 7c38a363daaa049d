"""Methods that cluster or mix all patches, again in loops over one image; and what SiT trains besides."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES, PATCHES, WIDTH, build, draw_images
from test_oracles import assert_near, reduced
from torch import Tensor

from baselines.dpc_knn import clusters
from baselines.k_medoids import cheapest, far_apart, nearest
from baselines.tofu import preserving_norms
from suite.methods import attend, feed_forward
from suite.reduction.method import Output
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.projection import Projection
from suite.reduction.tokens import Tokens

REMOVED = (0, 20, 0, 0)
KEPT = PATCHES - 20
LAYER = "1"


def around(model: ReducedModel) -> tuple[Tokens, Tokens, Tensor]:
    """Tokens that leave block 1 as timm has it, what the method makes of them, and attention in it, (B, H, T, T)."""
    first, second, *_ = model.steps(draw_images(model.backbone), track=True)
    tokens, projection = attend(model.backbone.blocks[1], first)
    logits = projection.query @ projection.key.transpose(2, 3) * projection.scale
    return feed_forward(model.backbone.blocks[1], tokens), second, logits.softmax(-1)


def distances(x: Tensor) -> list[list[float]]:
    """Of all patches of one image, (N, D), in double precision."""
    return [[(one - other).norm().item() for other in x.double()] for one in x.double()]


@pytest.mark.parametrize("equal_weight", [False, True])
@torch.no_grad()
def test_k_medoids_equals_loops(equal_weight: bool) -> None:
    """Medoids and who represents whom; each medoid is its own."""
    model = reduced("vit", "k-medoids", REMOVED, equal_weight=equal_weight, first_medoid=5)
    before, after, attention = around(model)
    for image in range(2):
        x = before.patches[image]
        between, received = distances(x), attention[image, :, :, before.prefix :].sum((0, 1)).tolist()
        weight = [1.0] * PATCHES if equal_weight else received
        medoids = sorted(range(PATCHES), key=lambda i: -received[i])[:KEPT]
        if equal_weight:
            medoids = [5]
            while len(medoids) < KEPT:
                left = [i for i in range(PATCHES) if i not in medoids]
                medoids.append(max(left, key=lambda i: max(between[i][m] for m in medoids)))
        cost = [weight[i] * sum(between[i]) for i in range(PATCHES)]
        owner = assigned(between, medoids)
        for _ in range(3):
            medoids = [min((i for i in range(PATCHES) if owner[i] == c), key=lambda i: cost[i]) for c in range(KEPT)]
            owner = assigned(between, medoids)
        assert after.where[image].tolist() == medoids
        assert torch.equal(after.patches[image], x[medoids])
        assert after.representative is not None
        assert after.representative[image].tolist() == owner


def assigned(between: list[list[float]], centres: list[int]) -> list[int]:
    """For each patch the place of its nearest centre; a centre is its own."""
    return [
        centres.index(i) if i in centres else min(range(len(centres)), key=lambda c: between[i][centres[c]])
        for i in range(len(between))
    ]


def test_repeated_patches_leave_no_cluster_empty() -> None:
    """With four patches equal in pairs each medoid is in its own cluster, and they stay different ones."""
    x = torch.tensor([[[0.0], [0.0], [3.0], [3.0], [9.0]]])
    distance = torch.cdist(x, x)
    owner = nearest(distance, torch.tensor([[0, 1, 2]]))
    assert owner.tolist() == [[0, 1, 2, 2, 2]]
    assert cheapest(torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]]), owner, 3).tolist() == [[0, 1, 4]]
    assert far_apart(distance, 2, 5).tolist() == [[2, 4, 0, 1, 3]]


def test_equally_dense_patches_are_not_all_centres() -> None:
    """Of pairs that are each other's only neighbours, one patch is a centre, as with the official noise."""
    x = torch.tensor([[[place + step] for place in (0.0, 20.0, 50.0, 90.0) for step in (0.0, 1.0)]])
    centres, owner = clusters(x, 4, neighbours=2)
    assert sorted(centre // 2 for centre in centres[0].tolist()) == [0, 1, 2, 3]
    assert owner[0, ::2].tolist() == owner[0, 1::2].tolist()


@pytest.mark.parametrize("equal_weight", [False, True])
@torch.no_grad()
def test_dpc_knn_equals_loops(equal_weight: bool) -> None:
    """Centres in the order of density times distance, and weighted means of who is nearest."""
    torch.manual_seed(0)
    model = reduced("vit", "dpc-knn", REMOVED, equal_weight=equal_weight)
    before, after, _ = around(model)
    for image in range(2):
        x = before.patches[image]
        between = [[far / math.sqrt(WIDTH) for far in row] for row in distances(x)]
        density = [math.exp(-sum(far**2 for far in sorted(row)[:5]) / 5) for row in between]
        largest = max(map(max, between))
        delta = [
            min([between[i][j] for j in range(PATCHES) if density[j] > density[i]] or [largest]) for i in range(PATCHES)
        ]
        centres = sorted(range(PATCHES), key=lambda i: -density[i] * delta[i])[:KEPT]
        owner = assigned(between, centres)
        score = torch.ones(PATCHES) if equal_weight else model.method.weights[LAYER](x)[:, 0].exp()  # type: ignore[index, operator]
        for place, centre in enumerate(centres):
            of = [i for i in range(PATCHES) if owner[i] == place]
            mean = (score[of, None] * x[of]).sum(0) / (score[of].sum() + 1e-6)
            assert after.where[image, place] == centre
            assert_near(after.patches[image, place], mean)
        assert after.representative is not None
        assert after.representative[image].tolist() == owner


@pytest.mark.parametrize("method", ["patchmerger", "sinkhorn", "sit"])
@torch.no_grad()
def test_mixing_equals_formulas(method: str) -> None:
    """One image and one new token at a time; who represents a patch is the token that it gives most."""
    torch.manual_seed(0)
    model = reduced("vit", method, REMOVED)
    before, after, _ = around(model)
    mixer = model.method.mixers[LAYER]  # type: ignore[index]
    for image in range(2):
        x = before.patches[image]
        if method == "patchmerger":
            source = F.layer_norm(x, (WIDTH,), mixer.norm.weight, mixer.norm.bias, 1e-5)
            weight = torch.stack([(source @ query).softmax(0) for query in mixer.queries])
        elif method == "sit":
            source = x
            norm, up, _, down = mixer.weight
            hidden = F.gelu(up(F.layer_norm(x, (WIDTH,), norm.weight, norm.bias, 1e-5)))
            weight = torch.stack(
                [(hidden @ row + bias).softmax(0) for row, bias in zip(down.weight, down.bias, strict=True)]
            )
        else:
            source = x / x.norm(dim=1, keepdim=True)
            weight = torch.exp(mixer.v / mixer.v.norm(dim=1, keepdim=True) @ source.T)
            for _ in range(3):  # rows, then columns, so that the columns add up to one in the end
                weight = weight / weight.sum(1, keepdim=True)
                weight = weight / weight.sum(0, keepdim=True)
        assert_near(after.patches[image], torch.stack([(row[:, None] * source).sum(0) for row in weight]))
        assert after.representative is not None
        assert after.representative[image].tolist() == weight.argmax(0).tolist()
    assert (after.where == -1).all()


def test_sit_scales_its_maps() -> None:
    """The learned scale is inside the softmax."""
    torch.manual_seed(0)
    mixer = reduced("vit", "sit", REMOVED).method.mixers[LAYER]  # type: ignore[index]
    x = torch.randn(1, PATCHES, WIDTH)
    with torch.no_grad():
        mixer.scale.fill_(0.0)
    assert_near(mixer(x)[0], torch.full((1, KEPT, PATCHES), 1 / PATCHES))


def test_tofu_preserves_norms_in_loops() -> None:
    """The mean of destination and sources, longer by the largest norm over the destination's; others to the bit."""
    patches, sources = torch.randn(1, 4, 3), torch.randn(1, 3, 3)
    found = preserving_norms(patches, sources, torch.tensor([[2, 0, 2]]))[0]
    for place, of in enumerate(([1], [], [0, 2], [])):
        group = torch.stack([patches[0, place], *(sources[0, i] for i in of)])
        longest = max(one.norm() for one in group)
        assert_near(found[place], group.mean(0) / group[0].norm() * longest)
    assert torch.equal(found[[1, 3]], patches[0, [1, 3]])


@torch.no_grad()
def test_tofu_prunes_first_and_merges_later() -> None:
    """The pairs are ToMe's; up to `prunes_until` destinations stay as they are, and no token has a size."""
    for until, changed in ((0, True), (1, False), (None, False), (-1, True)):
        model = reduced("vit", "tofu", REMOVED, prunes_until=until)
        first, second, *_ = model.steps(draw_images(model.backbone), track=True)
        whole = feed_forward(model.backbone.blocks[1], attend(model.backbone.blocks[1], first)[0])
        kept = whole.patches.gather(1, second.where.unsqueeze(2).expand_as(second.patches))
        assert ((second.patches - kept).abs().max() > 0.01) == changed
        assert second.size is None
        pairs = list(reduced("vit", "tome", REMOVED).steps(draw_images(model.backbone), track=True))[1]
        assert torch.equal(second.where, pairs.where)
        assert second.representative is not None
        assert torch.equal(second.representative, pairs.representative)


def test_non_salient_keeps_what_cropr_removes() -> None:
    """With the same weights the scores are turned around, deployed too."""
    models = []
    for method in ("cropr", "non-salient"):
        torch.manual_seed(0)
        models.append(reduce(BACKBONES["vit"](), method, (0, PATCHES // 2, 0, 0)).eval())
    models[1].load_state_dict(models[0].state_dict())
    for _ in range(2):
        kept = [list(model.steps(draw_images(model.backbone), track=True))[1].is_kept() for model in models]
        assert torch.equal(kept[0], ~kept[1])
        for model in models:
            model.deploy()


def test_sit_learns_to_restore_what_the_unpruned_model_has() -> None:
    """Patches before the first slimming as they are, restored ones after it; and the divergence of logits."""
    torch.manual_seed(0)
    weights = {"reconstruction_weight": 2.0, "distillation_weight": 3.0}
    model = reduce(build("vit"), "sit", REMOVED, weights).train()
    images = draw_images(model.backbone)
    student, teacher = model.outputs(images), model.unpruned().outputs(images)
    assert [restored.shape for restored in student.auxiliary] == [(len(images), PATCHES, WIDTH)] * 4
    pairs = zip(student.auxiliary, teacher.auxiliary, strict=True)
    errors = [(restored - patches).square().mean() for restored, patches in pairs]
    assert errors[0] == 0 < errors[1]
    divergence = F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="batchmean")
    found = model.method.distillation_loss(student, teacher)
    torch.testing.assert_close(found, 3 * divergence + 2 * sum(errors) / 4)
    found.backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert {f"method.reverse.{layer}.mlp1.0.weight" for layer in (1, 2, 3)} <= reached
    assert "method.mixers.1.scale" in reached
    deployed = model.deploy()
    assert not any("reverse" in name for name in deployed.state_dict())
    assert deployed.outputs(images).auxiliary == ()


def test_sit_without_a_reconstruction_has_no_reverse_modules() -> None:
    """Distillation alone reads logits only."""
    model = reduce(build("vit"), "sit", REMOVED, {"distillation_weight": 1.0}).train()
    images = draw_images(model.backbone)
    output = model.outputs(images)
    assert output.auxiliary == ()
    assert not any("reverse" in name for name in model.state_dict())
    reference = Output(output.logits + torch.arange(output.logits.shape[1]), output.feature, ())
    assert model.method.distillation_loss(output, reference) > 0


@pytest.mark.parametrize("length", [1, 2])
@torch.no_grad()
def test_evo_vit_chooses_by_attention_over_blocks(length: int) -> None:
    """The patches that change in a block are those of largest running attention at the last choice, image by image."""
    model = reduced("vit", "evo-vit", (0, 20, 0, 0), length=length, tradeoff=0.25)
    steps = list(model.steps(draw_images(model.backbone), track=True))
    first = replace(steps[0], carried=())
    before, running, chosen = steps[1], torch.zeros(0), torch.zeros(0)
    for layer in (1, 2, 3):
        block, tokens = model.backbone.blocks[layer], steps[layer - 1]
        if layer == 1:  # all are at work
            _, projection = attend(block, first)
            running = class_attention(projection)
            continue
        if layer == 2 or length == 1:
            chosen = running.argsort(1, descending=True)[:, :KEPT].sort(1).values
        changed = (steps[layer].patches != tokens.patches).any(2)
        assert torch.equal(changed.nonzero()[:, 1].view(len(changed), KEPT), chosen)
        seen = class_attention(attend(block, tokens.select(chosen))[1])
        for image, patches in enumerate(chosen):
            running[image, patches] = 0.75 * running[image, patches] + 0.25 * seen[image]
    assert before.x.shape == steps[3].x.shape


def class_attention(projection: Projection) -> Tensor:
    """Of the class token to the patches, mean over heads, (B, N)."""
    logits = projection.query[:, :, 0, None] @ projection.key.transpose(2, 3) * projection.scale
    return logits.softmax(-1)[:, :, 0, projection.prefix :].mean(1)
