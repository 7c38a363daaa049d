"""The checks on which patch is which: through blocks that add nothing, every token must be what it claims to be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.contract.backbones import silence
from suite.contract.case import EARLY, EVERYWHERE, Broken, Case, Inapplicable, require_near
from suite.reduction.model import ReducedModel
from suite.reduction.tokens import Tokens


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

    Sizes and representatives are checked there too, as far as they can be.
    """
    for model in _silent(case):
        embedded = _embedded(model, case.images())[:, model.backbone.num_prefix_tokens :]
        for layer, tokens in enumerate(model.steps(case.images(), track=True)):
            wrong = int((~_is_what_it_claims(case, tokens, embedded)).sum())
            if wrong:
                raise Broken(
                    f"after block {layer}, {wrong} of {tokens.where.numel()} patches are not what was embedded at the "
                    "position that they claim"
                )
            _check_representatives(tokens, embedded, layer, case.settings.means_by_size)


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


def _is_what_it_claims(case: Case, tokens: Tokens, embedded: Tensor) -> Tensor:
    """For each patch, (B, N), whether it is the embedded one of its position; merged and fused ones are excused.

    Merged without sizes, also a patch that was merged with no other may be off by a rounding error.
    """
    position = tokens.where
    if position.shape != tokens.patches.shape[:2] or position.max() >= embedded.shape[1]:
        return torch.zeros(tokens.patches.shape[:2], dtype=torch.bool)
    claimed = embedded.gather(1, position.clamp(min=0).unsqueeze(-1).expand(-1, -1, embedded.shape[2]))
    off, allowed = (tokens.patches - claimed).abs().amax(-1), 0.0 if tokens.size is not None else case.rounding
    return (off <= allowed * claimed.abs().max()) | ~case.alone(tokens)


def _check_representatives(tokens: Tokens, embedded: Tensor, layer: int, by_size: bool) -> None:
    """Each original patch has a representative; a kept one is its own; a merged token the mean of those it stands for.

    By weights of the method's own, it lies between them.

    `embedded` are the original patches, (B, N0, D).
    """
    representative = tokens.representative
    if tokens.stashed is not None:
        return  # `rejoin` makes them anew
    assert representative is not None
    lost = int(((representative < 0) | (representative >= tokens.count)).sum())
    if lost:
        raise Broken(
            f"after block {layer}, {lost} of {representative.numel()} original patches are represented by a token that "
            "does not exist"
        )
    position = tokens.where
    itself = representative.gather(1, position.clamp(min=0)) == torch.arange(tokens.count)
    absent = torch.zeros_like(itself) if tokens.absent is None else tokens.absent
    wrong = int((~itself & (position >= 0) & ~absent).sum())
    if wrong:
        raise Broken(f"after block {layer}, {wrong} kept patches are represented by another token")
    if wrong := int(absent.gather(1, representative).sum()):
        raise Broken(f"after block {layer}, {wrong} original patches are represented by padding")
    if tokens.size is None:
        return
    total = float(tokens.size.sum(1).max())
    if total > embedded.shape[1] + 0.5:
        raise Broken(f"after block {layer}, sizes of an image add up to {total:g} patches of {embedded.shape[1]}")
    if (tokens.size.sum(1) < embedded.shape[1]).any():
        return  # it also drops, and dropped patches have representatives too
    members = nn.functional.one_hot(representative, tokens.count).to(embedded.dtype)
    wrong = int((members.sum(1) != tokens.size).sum())
    if wrong:
        raise Broken(f"after block {layer}, {wrong} tokens have another size than the number of patches they represent")
    if by_size:
        what, expected = "the mean of", torch.einsum("bij,bid->bjd", members, embedded) / tokens.size.unsqueeze(-1)
    else:
        alone, each, far = members.bool().unsqueeze(-1), embedded.unsqueeze(2), float("inf")
        least, largest = torch.where(alone, each, far).amin(1), torch.where(alone, each, -far).amax(1)
        what, expected = "a mean of", tokens.patches.clamp(least, largest)
    require_near(
        tokens.patches, expected, f"merged tokens after block {layer}, against {what} the patches they represent,"
    )
