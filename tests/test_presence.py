"""When each patch left, against the schedule and against loops over single images."""

from __future__ import annotations

import pytest
import torch
from backbones import PATCHES, draw_images
from test_oracles import cropr_model, cropr_score, ranked_again, reduced, variance_of

from suite.measure.watched import left_after, presence
from suite.reduction.mixing import MixingMethod
from suite.reduction.registry import modules

METHODS = sorted(modules())
REMOVED = (9, 8, 8, 0)


@pytest.mark.parametrize("method", METHODS)
def test_as_many_are_present_as_the_schedule_leaves(method: str) -> None:
    """Block by block; EViT's fused token and mixed ones are nobody's own; idling methods compute what others leave."""
    model = reduced("vit", method, REMOVED)
    present = presence(model, draw_images(model.backbone))
    schedule = model.method.context.schedule
    expected = torch.tensor(
        {"none": (PATCHES,) * 4, "idlevit": schedule.entering, "evo-vit": schedule.entering}.get(
            method, schedule.leaving
        )
    )
    counts = present.sum(2)
    if isinstance(model.method, MixingMethod):
        assert (counts == torch.tensor((0, 0, 0, 0))).all()
    elif method == "evit":  # every block that fuses adds one token that is nobody's own; it may be fused again
        fused = expected - counts
        assert (fused >= 1).all()
        assert (fused <= torch.tensor([1, 2, 3, 3])).all()
    elif method == "ats":  # how many depends on the image
        assert (counts <= expected).all()
        assert (counts > 0).all()
        assert counts[:, 0].unique().numel() > 1
    else:
        assert (counts == expected).all()


@pytest.mark.parametrize("fusion", ["none", "last-layer"])
@pytest.mark.parametrize("name", ["vit", "eva02"])
@pytest.mark.parametrize("method", ["variance", "cropr"])
@torch.no_grad()
def test_who_left_when(method: str, name: str, fusion: str) -> None:
    """The very patches that an independent loop removes after each block, also where they come back in the end."""
    removed = (9, 8, 0, 0)
    model = cropr_model(name, removed, fusion) if method == "cropr" else reduced(name, method, removed, fusion)
    images = draw_images(model.backbone)
    found = left_after(presence(model, images))
    for image, blocks in zip(images, found, strict=True):
        expected = torch.full((PATCHES,), 4)
        for block in (1, 0):  # who is gone when the schedule stops after this block
            short = (*removed[: block + 1], *[0] * (3 - block))
            score = cropr_score(model) if method == "cropr" else variance_of
            again, _, _ = ranked_again(model.backbone, image, short, score, fusion=False)
            kept = [patch for patch in again.position if patch is not None]
            gone = torch.ones(PATCHES, dtype=torch.bool)
            gone[kept] = False
            expected[gone] = block
        assert torch.equal(blocks, expected)


def test_idle_patches_left_when_they_idled_first() -> None:
    """Presence of an idling method says in which blocks a patch was computed; it may be present again later."""
    model = reduced("vit", "idlevit", (30, 10, 0, 0))
    present = presence(model, draw_images(model.backbone))
    assert present[:, 0].all()
    came_back = (~present[:, 1] & present[:, 2]).any()
    assert came_back
    left = left_after(present)
    assert (left[~present[:, 1]] == 1).all()
