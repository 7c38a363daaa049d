"""A timm backbone whose blocks run under a token-reduction method."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from suite.errors import named
from suite.reduction import blocks
from suite.reduction.attention import TimmModule
from suite.reduction.fusion import CrossAttention, ExitHeads, build_fusion
from suite.reduction.method import Context, Method, Output
from suite.reduction.registry import build_method
from suite.reduction.schedule import Schedule
from suite.reduction.settings import FUSIONS, Fusion, MethodSettings
from suite.reduction.tokens import Tokens


class Dense(NamedTuple):
    """What a dense task reads.

    Attributes:
        features: normalised, of every original patch, (B, N0, D).
        is_kept: which patches are tokens after the last block, (B, N0).
        predicted: logits of removed patches, (B, N0, classes), 0 for kept ones; None except with fusion `logits`.
        auxiliary: outputs of the method that only training needs.
    """

    features: Tensor
    is_kept: Tensor
    predicted: Tensor | None
    auxiliary: tuple[Tensor, ...]


class ReducedModel(nn.Module):
    """A backbone, a method, and the loop between them.

    The backbone stays an ordinary timm model with its own `state_dict` keys, so any timm checkpoint loads into
    `model.backbone`.

    Attributes:
        class_names: of its outputs in their order, where the file says them that it was loaded from.
    """

    class_names: tuple[str, ...] = ()
    backbone: TimmModule
    method: Method

    def __init__(self, backbone: nn.Module, method: Method) -> None:
        super().__init__()
        blocks.check_supported(backbone)
        self.backbone = backbone
        self.method = method
        self.fusion = build_fusion(method.context)
        self.deployed = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, classes), of images, (B, 3, height, width)."""
        return blocks.finish(self.backbone, self.tokens(images))[0]

    def outputs(self, images: Tensor) -> Output:
        """Logits together with the feature they were read from and the outputs that only training needs."""
        tokens = self.method.observe_last(blocks.normed(self.backbone, self.tokens(images)))
        return Output(*blocks.read(self.backbone, tokens), tokens.auxiliary)

    def dense(self, images: Tensor) -> Tensor:
        """Normalised features of every original patch, (B, N0, D), from the token that represents it."""
        return self.dense_outputs(images).features

    def dense_outputs(self, images: Tensor) -> Dense:
        """As `dense`, with the predictions for removed patches and what only training needs."""
        return self.read_dense(self.tokens(images, track=True))

    def read_dense(self, tokens: Tokens) -> Dense:
        """As `dense_outputs`, of the tokens after the last block, which must have been tracked."""
        is_kept, predicted = tokens.is_kept(), None
        if tokens.stashed_logits is not None and tokens.stashed_position is not None:
            blank = tokens.x.new_zeros(*is_kept.shape, tokens.stashed_logits.shape[2])
            rows = tokens.stashed_position.unsqueeze(-1).expand_as(tokens.stashed_logits)
            predicted = blank.to(tokens.stashed_logits.dtype).scatter(1, rows, tokens.stashed_logits)
        if self.method.context.fusion in ("concatenation", "logits"):
            tokens = tokens.rejoin()
        tokens = blocks.normed(self.backbone, tokens)
        features = tokens.dense()
        if isinstance(self.fusion, CrossAttention):
            features = torch.where(is_kept.unsqueeze(-1), features, self.fusion(tokens))
        return Dense(features, is_kept, predicted, tokens.auxiliary)

    def tokens(self, images: Tensor, track: bool = False) -> Tokens:
        """Tokens after the last block."""
        *_, last = self.steps(images, track)
        return last

    def steps(self, images: Tensor, track: bool = False) -> Iterator[Tokens]:
        """Tokens after each block; with last-layer fusion, removed patches are back before the last."""
        return self.walk(*blocks.embed(self.backbone, images, track))

    def walk(self, tokens: Tokens, rotary: tuple[Tensor | None, ...]) -> Iterator[Tokens]:
        """As `steps`, from embedded tokens and the rotary table of each block."""
        last = len(rotary) - 1
        for layer, block in enumerate(self.backbone.blocks):
            if layer == last and self.method.context.fusion == "last-layer":
                tokens = tokens.rejoin()
            before = replace(tokens, rotary=rotary[layer])
            tokens = self.method.forward_block(block, before, layer)
            if isinstance(self.fusion, ExitHeads):
                tokens = self.fusion(before, tokens, layer)
            yield tokens

    def no_weight_decay(self) -> set[str]:
        """Parameters that the backbone keeps from weight decay; timm's optimizer factory asks for them."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def unpruned(self) -> ReducedModel:
        """A frozen copy of the backbone as it is now, without reduction, in evaluation mode."""
        return ReducedModel(copy.deepcopy(self.backbone), self.method.teacher()).eval().requires_grad_(False)

    def deploy(self) -> ReducedModel:
        """Drop what only training needs and switch to evaluation mode; outputs stay as they were."""
        if not self.deployed:
            self.method.deploy()
            self.deployed = True
        return self.eval()


def reduce(
    backbone: TimmModule,
    name: str,
    removed: tuple[int, ...] | None = None,
    settings: dict[str, Any] | None = None,
    fusion: Fusion = "none",
) -> ReducedModel:
    """Put a backbone under the method `name`, removing `removed[i]` patches in block i (by default none).

    UserError for an unknown method or fusion; TypeError for a backbone that is not supported; ValueError for a schedule
    or settings the method cannot honour; UnmetNeed if the backbone lacks what the method needs.
    """
    blocks.check_supported(backbone)
    context = _context(backbone, removed, fusion)
    return ReducedModel(backbone, build_method(name, context, settings or {}))


def unpruned(backbone: TimmModule) -> ReducedModel:
    """The backbone itself, which every block runs unchanged; TypeError for a backbone that is not supported."""
    blocks.check_supported(backbone)
    return ReducedModel(backbone, Method(_context(backbone, None, "none"), MethodSettings()))


def _context(backbone: TimmModule, removed: tuple[int, ...] | None, fusion: Fusion) -> Context:
    grid = backbone.patch_embed.grid_size
    depth = len(backbone.blocks)
    schedule = Schedule(grid[0] * grid[1], (0,) * depth if removed is None else removed)
    if schedule.depth != depth:
        raise ValueError(f"the schedule has {schedule.depth} counts but the backbone has {depth} blocks")
    return Context(
        depth=depth,
        width=backbone.embed_dim,
        heads=backbone.blocks[0].attn.num_heads,
        prefix=backbone.num_prefix_tokens,
        grid=grid,
        has_class_token=backbone.cls_token is not None,
        classes=backbone.num_classes,
        schedule=schedule,
        fusion=named(fusion, FUSIONS, "fusion"),
    )
