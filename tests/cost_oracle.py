"""Multiply-accumulates and operations of norms of a deployed model by closed formula; nothing runs.

A block of T tokens that attend and M that enter its MLP, of widths D, Q (queries), K (keys and values), G (gate) and F
(hidden), costs

    T D (Q + 2K + G)  queries, keys, values          2 T^2 Q   attention products, Q K^T and its product with V
    T Q D             output projection              2 M D F   MLP; 3 M D F if gated, as SwiGLU

and what its method adds. Norms take 5 operations for each value that enters a LayerNorm, 4 if it has no weights:

    before the blocks      (P + N0) D, if the backbone has a norm there
    block                  (T + M) D; T (Q + K) for norms of queries and keys, T Q inside the attention, M F in the MLP
    after the blocks       T D before pooling, D after it; for every pixel N0 D instead

in values, with P prefix tokens and N0 patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from suite.measure.calls import MISSING
from suite.measure.count import Macs

POST_NORM = ("ResPostBlock", "EvaBlockPostNorm")
IDLING = ("IdleViT", "EvoViT")
STASHING = ("last-layer", "concatenation", "logits")
SIZED = ("ToMe", "PiToMe", "ATC", "DiffRate", "MCTF")  # merged tokens count by size
BEFORE_MLP = (*SIZED, "ToFu")
BEFORE_ATTENTION = ("ATS", "MCTF")


class Added(NamedTuple):
    """What a method adds to a block: products, tokens projected and tokens normalised besides those that attend."""

    macs: int = 0
    projected: int = 0
    normed: int = 0


class Oracle:
    """The formula for one model, whose attributes it reads as numbers."""

    def __init__(self, model: Any, dense: bool = False) -> None:
        self.model, self.backbone, self.dense = model, model.backbone, dense
        self.method = {"NonSalient": "Cropr"}.get(name := type(model.method).__name__, name)
        self.settings, self.fusion = model.method.settings, model.method.context.fusion
        self.counts = model.method.context.schedule.removed if self.method != "NoReduction" else (0,) * self.depth
        rows, columns = self.backbone.patch_embed.grid_size
        self.patches, self.prefix = rows * columns, self.backbone.num_prefix_tokens
        self.width = self.backbone.embed_dim

    @property
    def depth(self) -> int:
        return len(self.backbone.blocks)

    def entering(self, layer: int) -> int:
        """Patches in the sequence before a block."""
        whole = self.method in IDLING or (self.fusion == "last-layer" and layer == self.depth - 1)
        return self.patches - (0 if whole else sum(self.counts[:layer]))

    def tokens(self, layer: int) -> tuple[int, int, int]:
        """Tokens that attend in a block, that enter its MLP and that leave it."""
        before = self.entering(layer)
        if self.method in IDLING:
            active = self.prefix + before - sum(self.counts[:layer])
            return active, active, self.prefix + before
        stage = "pre" if self.method in BEFORE_ATTENTION else "mid" if self.method in BEFORE_MLP else "post"
        stage = getattr(self.settings, "stage", stage)
        after = before - self.counts[layer]
        attending, mlp = after if stage == "pre" else before, before if stage == "post" else after
        return self.prefix + attending, self.prefix + mlp, self.prefix + after

    def added(self, layer: int) -> Added:
        """What the method computes in a block beyond the block itself."""
        count, patches, block = self.counts[layer], self.entering(layer), self.backbone.blocks[layer]
        every, (query, key, _) = self.prefix + patches, widths(block.attn)
        if self.method == "EvoViT":  # the class token's attention
            return Added((every - sum(self.counts[:layer])) * query)
        if self.method == "IdleViT":
            idle = sum(self.counts[:layer])
            if not idle:
                return Added()
            if self._folds(block.attn, query, key):  # the class token's query, the keys folded into it, and scores
                normed = 0 if type(block).__name__ in POST_NORM else every
                return Added(2 * self.width * query + every * self.width, normed=normed)
            return Added(every * query, idle)
        if self.method in ("ToMe", "ToFu"):
            in_a = len(range(self.prefix % 2, patches, 2))
            return Added(in_a * (patches - in_a) * query // block.attn.num_heads if count else 0)
        if not count and layer not in getattr(self.settings, "fuse_single", ()):
            return Added()
        if self.method == "MCTF":  # both products of the attention are not fused
            in_a, left = len(range(self.prefix % 2, patches, 2)), every - count
            macs = in_a * (patches - in_a) * self.width + (every**2 + left**2) * query
            macs += 0 if block.attn.qkv is None else self._ahead(block, every, left)
            return Added(macs, count, 0 if type(block).__name__ in POST_NORM else left)
        if self.method == "ATS":  # the class token's attention, zeros included; those that leave are keys all the same
            return Added(every * query * block.attn.num_heads, count)
        one_head = query // block.attn.num_heads
        if self.method in (merging := self._of_all_patches(patches, patches - count, every * every * query, one_head)):
            return merging[self.method]
        reads = self.method in ("EViT", "AttentionTopK")
        scores = every * (query if reads else self.width if self.method == "Cropr" else 0)
        fuses = self.settings.action == "fuse" and self.fusion not in STASHING and count
        fused = (count + 1) * self.width if fuses else 0  # to scale a single patch is no matrix product
        own = every if self.method == "Cropr" and self.settings.pre_norm else 0
        return Added(scores + fused, every if reads and self.settings.stage == "pre" else 0, own)

    def _ahead(self, block: Any, every: int, merged: int) -> int:
        """Projections of MCTF: queries and keys of all tokens, and values of those that are left."""
        query, key, _ = widths(block.attn)
        return self.width * (every * (query + key) + merged * key)

    def _of_all_patches(self, n: int, k: int, attention: int, one_head: int) -> dict[str, Added]:
        """Of methods that look at all N patches to leave K tokens; `attention` is a product Q K^T of all heads."""
        d, hidden = self.width, int(self.width * getattr(self.settings, "hidden_ratio", 0))
        learned = not getattr(self.settings, "equal_weight", False)
        return {
            "DPCKNN": Added(n * n * d + n * d * learned),
            "KMedoids": Added(n * n * d + attention * learned),
            "PiToMe": Added(n * n * one_head),
            "ATC": Added(n * n * one_head),
            "DiffRate": Added(attention // (self.prefix + n) + (n - k + 1) // 2 * k * d),
            "PatchMerger": Added(2 * k * n * d, normed=n),
            "Sinkhorn": Added(2 * k * n * d),
            "DynamicViT": Added(n * (d * d + d * (d // 2) + (d // 2) * (d // 4) + d // 4 * 2), normed=n),
            "SiT": Added(n * hidden * (d + k) + k * n * d, normed=n),
        }

    def _folds(self, attention: Any, query: int, key: int) -> bool:
        """Whether keys are neither normalised, nor rotated, nor shared."""
        rotated = type(self.backbone).__name__ == "Eva" and self.backbone.rope is not None
        rotated = rotated and type(attention).__name__ in ("EvaAttention", "AttentionRope")
        return isinstance(attention.k_norm, nn.Identity) and not rotated and query == key

    def parts(self) -> dict[tuple[str, str], int]:
        """Multiply-accumulates of each part that has any."""
        return {(place, what): macs for place, what, macs in self._parts() if macs}

    def _parts(self) -> Iterator[tuple[str, str, int]]:
        yield "input", "patch embedding", self.patches * self.backbone.patch_embed.proj.weight[0].numel() * self.width
        for layer, block in enumerate(self.backbone.blocks):
            place, added, (attending, mlp, _) = f"block {layer}", self.added(layer), self.tokens(layer)
            query, key, gate = widths(block.attn)
            gated = type(block.mlp).__name__ != "Mlp"
            projected, ahead = attending + added.projected, self.method == "MCTF" and bool(self.counts[layer])
            if not ahead:
                yield place, "queries, keys, values", projected * self.width * (query + 2 * key + gate)
            elif block.attn.qkv is None:
                yield (
                    place,
                    "queries, keys, values",
                    self._ahead(block, projected, attending) + attending * self.width * gate,
                )
            else:  # a part of a joint projection is the method's
                yield place, "queries, keys, values", attending * self.width * gate
            keys = projected if self.method == "ATS" else attending
            yield place, "attention products", 0 if ahead else 2 * attending * keys * query
            yield place, "output projection", attending * query * self.width
            yield place, "MLP", mlp * self.width * block.mlp.fc2.in_features * (3 if gated else 2)
            yield place, "method", added.macs
        last = self.tokens(self.depth - 1)[2]
        if self.fusion == "logits" and self.method != "NoReduction":
            yield "fusion", "heads of removed patches", sum(self.counts) * self.width * self.backbone.num_classes
        if self.fusion == "cross-attention" and self.dense:
            yield "fusion", "projections", (2 * last + self.patches) * self.width**2
            yield "fusion", "attention products", 2 * self.patches * last * self.width
        yield "read-out", "head", self._read_out(last)

    def _read_out(self, last: int) -> int:
        """Heads, and average pooling where it is a sum weighted by the sizes of `last` tokens."""
        head = self.backbone.head
        classes = head.out_features if isinstance(head, nn.Linear) else 0
        if self.dense:
            return self.patches * self.width * classes
        heads = 2 if type(self.backbone).__name__ == "VisionTransformerDistilled" else 1
        sizes = any(self.counts) and (
            (self.method in SIZED and getattr(self.settings, "weighted_pooling", True))
            or (self.method == "ATS" and self.fusion != "last-layer")
        )
        pooled = last * self.width if sizes and self.backbone.global_pool == "avg" else 0
        return heads * self.width * classes + pooled

    def norms(self) -> int:
        """Operations of all norms."""
        backbone, whole = self.backbone, self.prefix + self.patches
        found = operations(backbone.patch_embed.norm, self.patches * self.width)
        found += operations(backbone.norm_pre, whole * self.width)
        for layer, block in enumerate(backbone.blocks):
            found += self._norms_of(layer, block)
        last = self.tokens(self.depth - 1)[2]
        back = self.dense and self.fusion in ("concatenation", "logits")
        found += operations(backbone.norm, (whole if back else last) * self.width)
        found += operations(backbone.fc_norm, (self.patches if self.dense else 1) * self.width)
        if self.fusion == "logits" and self.method != "NoReduction":
            found += 5 * sum(self.counts) * self.width
        return found

    def _norms_of(self, layer: int, block: Any) -> int:
        (query, key, _), (attending, mlp, _), added = widths(block.attn), self.tokens(layer), self.added(layer)
        projected = attending + added.projected
        before = attending if type(block).__name__ in POST_NORM else projected
        return (
            operations(block.norm1, before * self.width)
            + operations(block.attn.q_norm, projected * query)
            + operations(block.attn.k_norm, projected * key)
            + operations(block.attn.norm, attending * query)
            + operations(block.norm2, mlp * self.width)
            + operations(block.mlp.norm, mlp * block.mlp.fc2.in_features)
            + 5 * added.normed * self.width
        )


def widths(attention: Any) -> tuple[int, int, int]:
    """Channels of queries, of keys, and of a gate, of all heads."""
    gate = 0 if attention.gate is None else attention.gate.out_features
    if attention.qkv is None:
        return attention.q_proj.out_features, attention.k_proj.out_features, gate
    return attention.qkv.out_features // 3, attention.qkv.out_features // 3, gate


def operations(norm: Any, values: int) -> int:
    """Operations of a norm that so many values enter; 0 where there is none, or another than a LayerNorm."""
    if not isinstance(norm, nn.LayerNorm):
        return 0
    return values * (4 if norm.weight is None else 5)


@torch.inference_mode()
def count_macs(model: nn.Module, images: Tensor) -> Macs:
    """What torch counts in a forward pass, divided by the number of images; the model runs as it is."""
    counter = FlopCounterMode(display=False, custom_mapping=MISSING)
    with counter:
        model(images)
    by_operator = counter.get_flop_counts()["Global"]
    full = sum(by_operator.values())
    attention = sum(flops for operator, flops in by_operator.items() if "scaled_dot_product" in str(operator))
    return Macs(full / 2 / len(images), (full - attention) / 2 / len(images))
