"""Methods that choose which patches merge, again in loops over one image."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from backbones import draw_images
from sklearn.cluster import AgglomerativeClustering
from test_oracles import assert_near, reduced
from torch import Tensor

from baselines.atc import agglomerated
from suite.methods import attend, feed_forward
from suite.reduction.model import ReducedModel
from suite.reduction.projection import Projection
from suite.reduction.tokens import Tokens

REMOVED = (9, 8, 0, 0)
Partition = dict[int, list[int]]  # which patches each one that stays is made of, by where it was


def before_and_after(model: ReducedModel, layer: int = 1) -> tuple[Tokens, Projection, Tokens]:
    """Tokens between attention and MLP of a block, what they attended with, and what leaves the block."""
    steps = list(model.steps(draw_images(model.backbone), track=True))
    block = model.backbone.blocks[layer]
    proportional = model.method.settings.attends_by_size()
    return *attend(block, steps[layer - 1], proportional=proportional), steps[layer]


def cosines(x: Tensor) -> list[list[float]]:
    """Of all rows with all, (N, D), in double precision."""
    unit = [row / row.norm() for row in x.double()]
    return [[float(one @ other) for other in unit] for one in unit]


def assert_merged(model: ReducedModel, before: Tokens, after: Tokens, image: int, groups: Partition) -> None:
    """What leaves is what the block's MLP makes of the means, weighted by size, of these groups."""
    size = torch.ones(before.count) if before.size is None else before.size[image]
    x = torch.stack([(size[of, None] * before.patches[image, of]).sum(0) / size[of].sum() for of in groups.values()])
    expected = feed_forward(model.backbone.blocks[1], Tokens(x[None], 0, before.grid)).x[0]
    found = [int((after.where[image] == before.where[image, place]).nonzero()) for place in groups]
    assert sorted(found) == list(range(after.count))
    assert_near(after.patches[image, found], expected)
    assert after.size is not None
    assert after.size[image, found].tolist() == [float(size[of].sum()) for of in groups.values()]


@pytest.mark.parametrize("pairs_all", ["first half", "second half"])
@torch.no_grad()
def test_pitome_equals_loops(pairs_all: str) -> None:
    """Patches of high energy, in turn into A and B; of all, or of twice as many as leave, the best proposals merge."""
    model = reduced("vit", "pitome", REMOVED, pairs_all=pairs_all, margin=0.6)
    before, projection, after = before_and_after(model)
    for image in range(2):
        between = cosines(projection.key[image, :, before.prefix :].mean(0))
        past = [[cosine - 0.6 * (1 - 1 / 4) for cosine in row] for row in between]
        energy = [sum(x if x > 0 else math.exp(x) - 1 for x in row) for row in past]
        order = sorted(range(before.count), key=lambda i: -energy[i])
        if pairs_all == "second half":
            order = order[:16]
        in_a, in_b = order[::2], order[1::2]
        partner = {a: max(in_b, key=lambda b: between[a][b]) for a in in_a}
        sources = sorted(in_a, key=lambda a: -between[a][partner[a]])[:8]
        groups = {i: [i] for i in range(before.count) if i not in sources}
        for source in sources:
            groups[partner[source]].append(source)
        assert_merged(model, before, after, image, groups)


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
@torch.no_grad()
def test_atc_equals_agglomerative_clustering(linkage: str) -> None:
    """That of scikit-learn, one image at a time: of all patches, and of those that are means by then."""
    model = reduced("vit", "atc", (9, 30, 0, 0), linkage=linkage)
    before, projection, after = before_and_after(model)
    for image in range(2):
        distance = 1 - torch.tensor(cosines(projection.key[image, :, before.prefix :].mean(0)))
        clustering = AgglomerativeClustering(before.count - 30, metric="precomputed", linkage=linkage)
        labels = clustering.fit_predict(distance.numpy()).tolist()
        clusters = [[i for i, found in enumerate(labels) if found == label] for label in set(labels)]
        assert max(map(len, clusters)) > 2
        assert_merged(model, before, after, image, {cluster[0]: cluster for cluster in clusters})


def test_atc_forgets_sizes() -> None:
    """Then every token of a block weighs as much as any other in its merge, and nothing is left of sizes after it."""
    model = reduced("vit", "atc", REMOVED, keeps_size=False)
    assert all(tokens.size is None for tokens in model.steps(draw_images(model.backbone)))
    again = reduced("vit", "atc", REMOVED)
    images = draw_images(model.backbone)
    with torch.no_grad():
        assert (model(images) - again(images)).abs().max() > 1e-4


@pytest.mark.parametrize("merged", [(9, 0, 0, 0), (0, 8, 0, 0), (3, 5, 0, 0), None])
@torch.no_grad()
def test_diffrate_equals_loops(merged: tuple[int, ...] | None) -> None:
    """The last patches leave by attention, those before them join the most alike, and sizes grow by the cosine."""
    model = reduced("vit", "diffrate", REMOVED, merged=merged)
    before, projection, after = before_and_after(model)
    merges = 4 if merged is None else merged[1]
    for image in range(2):
        attention, size = projection.class_row()[image].tolist(), torch.ones(before.count)
        size = size if before.size is None else before.size[image]
        order = sorted(range(before.count), key=lambda i: -attention[i])[: before.count - 8 + merges]
        keep, sources = order[: before.count - 8], order[before.count - 8 :]
        between, x = cosines(before.patches[image]), before.patches[image].clone()
        total = size.clone()
        for source in sources:
            partner = max(keep, key=lambda i: between[source][i])
            total[partner] += size[source] * between[source][partner]
        for place in keep:
            joining = [source for source in sources if max(keep, key=lambda i: between[source][i]) == place]
            x[place] = before.patches[image, [place, *joining]].mean(0)
        expected = feed_forward(model.backbone.blocks[1], Tokens(x[keep][None], 0, before.grid)).x[0]
        found = [int((after.where[image] == before.where[image, place]).nonzero()) for place in keep]
        assert_near(after.patches[image, found], expected)
        assert after.size is not None or (merges == 0 and before.size is None)
        if after.size is not None:
            assert_near(after.size[image, found], total[keep])


@pytest.mark.parametrize("merged", [(9, 8, 0), (9, 9, 0, 0), (-1, 8, 0, 0)])
def test_diffrate_merges_no_more_than_leave(merged: tuple[int, ...]) -> None:
    """And says of each block how many do."""
    with pytest.raises(ValueError, match=r"merged must say for each of 4 blocks .* at most \[9, 8, 0, 0\]; found"):
        reduced("vit", "diffrate", REMOVED, merged=merged)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_atc_clusters_in_single_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under autocast too, where few digits would make ties of distances."""
    model = reduced("vit", "atc", (40, 0, 0, 0))
    images = draw_images(model.backbone)
    module, found = sys.modules[type(model.method).__module__], list[Tensor]()

    def watched(distance: Tensor, merges: int, linkage: str) -> Tensor:
        found.append(distance)
        return agglomerated(distance, merges, linkage)

    monkeypatch.setattr(module, "agglomerated", watched)
    with torch.autocast("cpu", dtype):
        assert model(images).isfinite().all()
    assert [one.dtype for one in found] == [torch.float32]
    assert found[0].unique().numel() > 0.9 * found[0].numel() / 2
