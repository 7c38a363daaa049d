"""ATS again, one image and one point at a time; and images that keep different numbers of patches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from backbones import PATCHES, draw_images
from test_oracles import (
    WITH_CLASS_TOKEN,
    Sequence,
    assert_near,
    attended,
    begin,
    dense_read_out,
    mlp,
    project,
    read_out,
    reduced,
    whole_block,
)
from tiny_study import RUN, here, rows_of, write
from torch import Tensor, nn

from baselines.ats import ATS, not_nearest
from suite.measure.count import Macs, count
from suite.measure.padding import unpadded
from suite.reduction.blocks import embed
from suite.reduction.model import ReducedModel
from suite.reduction.tokens import Tokens

REMOVED = (9, 8, 8, 0)
READINGS = ("paper", "comparison", "official")


def sampled_again(attention: Tensor, value: Tensor, points: int, reading: str) -> set[int]:
    """Patches sampled by attention, (H, N), and values, (H, N, d), with a look at every point."""
    heads, patches = attention.shape
    if reading == "official":
        score = [(attention[:, n].sum() * value[:, n].norm()).item() for n in range(patches)]
    else:
        score = [sum((attention[h, n] * value[h, n].norm()).item() for h in range(heads)) for n in range(patches)]
    order = sorted(range(patches), key=lambda n: score[n]) if reading == "official" else list(range(patches))
    whole, sums, seen = sum(score), [], 0.0
    for patch in order:
        seen += score[patch] / whole
        sums.append(seen)
    if reading == "official":
        least = min(sums)
        sums = [(value - least) / (max(sums) - least) for value in sums]
        first = min(value for value in sums if value > 0)
        wanted = [first + (1 - first) * j / (points - 1) for j in range(points)]
    else:
        every = points + (reading == "comparison")
        wanted = [(j + 0.5) / every for j in range(points)]
    return {order[min(range(patches), key=lambda i: abs(sums[i] - point))] for point in wanted}


def ats_again(model: nn.Module, image: Tensor, reading: str) -> Sequence:
    """ATS with loops and without padding: sampled queries attend to all keys, and the others leave."""
    tokens, tables = begin(model, image)
    prefix, most = model.num_prefix_tokens, PATCHES
    for block, table, removed in zip(model.blocks, tables, REMOVED, strict=True):
        most -= removed
        if not removed:
            tokens = whole_block(block, tokens, table)
            continue
        query, key, value = project(block, tokens, table)
        logits = query @ key.transpose(1, 2)
        stays = sampled_again(logits.softmax(-1)[:, 0, prefix:], value[:, prefix:], most, reading)
        rows = [*range(prefix), *(prefix + patch for patch in sorted(stays))]
        left = [token for token in range(prefix, len(tokens.x)) if token not in rows]
        attending = attended(block, logits[:, rows], value)
        before, tokens = tokens, tokens.pick(rows)
        for token in left:
            nearest = min(range(prefix, len(rows)), key=lambda i: apart(tokens.position[i], before.position[token]))
            tokens.members[nearest] = tokens.members[nearest] + before.members[token]
        x = tokens.x + attending
        tokens.x = x + mlp(block, x)
    return tokens


def apart(one: int | None, other: int | None) -> int:
    """Squared distance of two patches in a grid of 8 x 8."""
    assert one is not None
    assert other is not None
    return int((one // 8 - other // 8) ** 2 + (one % 8 - other % 8) ** 2)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
@torch.no_grad()
def test_ats_equals_loops(name: str, reading: str) -> None:
    """Logits, how many patches stay, and who represents whom, of each image by itself."""
    model = reduced(name, "ats", REMOVED, reading=reading)
    images = draw_images(model.backbone)
    again = [ats_again(model.backbone, image, reading) for image in images]
    tokens = model.tokens(images, track=True)
    assert tokens.lengths.tolist() == [len(one.x) for one in again]
    assert len(set(tokens.lengths.tolist())) > 1
    assert_near(model(images), torch.stack([read_out(model.backbone, one) for one in again]))
    expected = torch.stack([dense_read_out(model.backbone, one) for one in again])
    found = model.dense(images)
    equal = (found - expected).abs().amax(-1) <= 1e-5 * expected.abs().max()
    kept = model.dense_outputs(images).is_kept
    assert equal[kept].all()
    assert equal.float().mean() > 0.9  # of equally near patches another may represent


@pytest.mark.parametrize(
    ("values", "divisions", "points", "expected"),
    [
        ([0.1, 0.3, 0.6, 1.0], 2, 2, [1, 2]),  # 0.25 and 0.75
        ([0.1, 0.3, 0.6, 1.0], 3, 2, [0, 2]),  # the highest of 1/6, 3/6 and 5/6 is missing
        ([0.1, 0.3, 0.6, 1.0], 3, 3, [0, 2, 3]),
        ([0.9, 0.95, 1.0], 3, 3, [0]),  # all at one patch
        ([0.2, 0.2, 1.0], 5, 5, [0, 1, 2]),  # of equal values, one from below and one from above
    ],
)
def test_points_by_hand(values: list[float], divisions: int, points: int, expected: list[int]) -> None:
    """Middles of the shares of as many divisions; the nearest values are sampled."""
    gone = not_nearest(torch.tensor([values]), 0.5, torch.tensor([[2 / divisions]]), points)
    assert (~gone[0]).nonzero().flatten().tolist() == expected


def test_the_highest_point_is_there_in_some_blocks() -> None:
    """Where it is, the comparison samples as the paper does; where it is not, otherwise."""

    def sampled(**settings: object) -> list[Tensor]:
        model = reduced("vit", "ats", (40, 20, 0, 0), **settings)
        return [tokens.is_kept() for tokens in model.steps(draw_images(model.backbone), track=True)][:2]

    paper, without = sampled(), sampled(reading="comparison")
    assert not torch.equal(without[0], paper[0])
    for block in (0, 1):
        found = sampled(reading="comparison", with_highest=(block,))
        assert torch.equal(found[0], (paper if block == 0 else without)[0])
        assert not torch.equal(found[1], without[1])
    assert all(map(torch.equal, sampled(reading="comparison", with_highest=(0, 1)), paper))


# ---------------------------------------------------------------- padding


class Poisoned(ATS):
    """After every block, padding holds what would show anywhere."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = super().forward_block(block, tokens, layer)
        if tokens.absent is None:
            return tokens
        assert tokens.absent.any()
        return tokens.with_patches(tokens.patches.masked_fill(tokens.absent.unsqueeze(-1), 1e4))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("fusion", ["none", "cross-attention"])
@pytest.mark.parametrize("name", ["vit", "vit with registers, average", "eva02"])
@torch.no_grad()
def test_nothing_reads_padding(name: str, fusion: str, reading: str) -> None:
    """Not later blocks, nor pooling, nor the read-out of patches, nor cross-attention."""
    model = reduced(name, "ats", REMOVED, fusion, reading=reading)
    poisoned = ReducedModel(model.backbone, Poisoned(model.method.context, model.method.settings)).eval()
    poisoned.fusion = model.fusion
    images = draw_images(model.backbone)
    assert torch.equal(poisoned(images), model(images))
    assert torch.equal(poisoned.dense(images), model.dense(images))


def test_other_poolings_are_refused() -> None:
    """The maximum over patches would be that over padding too."""
    model = reduced("vit", "ats", REMOVED)
    model.backbone.global_pool = "max"
    with pytest.raises(ValueError, match="global_pool 'max' would read padding; use 'avg' or 'token'"):
        model(draw_images(model.backbone))


@torch.no_grad()
def test_padding_rejoins_as_it_left() -> None:
    """With last-layer fusion all patches are there again, each as it entered the block in which it left."""
    model = reduced("vit", "ats", (9, 8, 0, 0), "last-layer")
    embedded, rotary = embed(model.backbone, draw_images(model.backbone), track=True)
    steps, entered = [embedded], list[Tensor]()
    model.backbone.blocks[-1].norm1.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    steps += model.walk(embedded, rotary)
    last, padded = steps[-1], steps[2].absent
    assert last.absent is None
    assert last.is_kept().all()
    assert padded is not None
    assert padded.any()
    for before, after in pairwise(steps[:3]):
        for image, patch in (before.is_kept() & ~after.is_kept()).nonzero().tolist():
            now, then = (int((tokens.where[image] == patch).nonzero()) for tokens in (last, before))
            assert torch.equal(entered[0][image, last.prefix + now], before.patches[image, then])


# ---------------------------------------------------------------- what it costs


@pytest.mark.parametrize("fusion", ["none", "last-layer"])
def test_an_image_costs_what_a_schedule_of_its_own_does(fusion: str) -> None:
    """Tokens and multiply-accumulates without padding, of each image by itself, and of several the mean."""
    model = reduced("vit", "ats", (9, 8, 0, 0), fusion)
    images, counted, alone = draw_images(model.backbone), count(model), list[Macs]()
    for image in images:
        found = unpadded(model, [image[None]], counted)
        left = [1 + PATCHES, *map(int, found.tokens)]
        own = tuple(max(before - after, 0) for before, after in pairwise(left))
        assert sum(own) > 17
        assert found.macs == pytest.approx(count(reduced("vit", "ats", own, fusion)).macs)
        alone.append(found.macs)
    together = unpadded(model, images.split(3), counted)
    assert together.macs.full == pytest.approx(sum(macs.full for macs in alone) / len(alone))
    assert together.macs.full < counted.macs.full
    assert len({macs.full for macs in alone}) > 1


def test_a_study_records_tokens_with_and_without_padding(tmp_path: Path) -> None:
    """Of a method that adapts, per block; of others there is no padding to leave out."""
    write(tmp_path, methods=["ats", "random"], seeds=[0], speed=None, schedules=[{"removed": [1, 1, 1, 0]}])
    assert here(tmp_path, *RUN).returncode == 0
    rows = rows_of(tmp_path)
    tokens = {
        metric: [float(row["value"]) for row in rows if (row["row"], row["metric"]) == ("ats", metric)]
        for metric in ("tokens_leaving", "tokens_unpadded", "macs_full", "macs_full_unpadded")
    }
    assert tokens["tokens_leaving"] == [16, 15, 14, 14]
    assert 1 < tokens["tokens_unpadded"][-1] < 14
    assert tokens["macs_full_unpadded"] < tokens["macs_full"]
    assert not any("unpadded" in row["metric"] for row in rows if row["row"] == "random")
