"""Checkpoints of a comparison of token reduction methods on one DeiT, each trained at several rates.

github JoakimHaurum/TokenReduction (88fe07e), arXiv 2308.04657. Stage s keeps floor(rate ** (s + 1) * first patches).
Most methods reduce the residual stream before a block, which is after the one before it here; so none can before the
first. Top-k and EViT take shares of 14 x 14 patches, whatever there are. DynamicViT's own DeiT (github
raoyongming/DynamicViT, 1322e62) has the same names and counts, and so has ATC (github JoakimHaurum/ATC, 227c94b).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from baselines.official._vit import not_plain, plain_vit, without_class_token
from baselines.official.evit import counts
from suite.official import Layout, Options
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.schedule import clamped

HOLDERS = ("cluster_layers.", "score_predictor.")


@dataclass(frozen=True)
class Official:
    """One of the official methods.

    Attributes:
        method: what it is called here.
        options: official options, and the settings that they are here.
        settings: others, which it always has.
        modules: what holds its weights here.
        tensor: one of them, which no other method has.
        has_fixed_counts: whether that tensor has a row for each token that stays.
        inside: whether it reduces inside a block, instead of before it.
        several: what several rates are.
        samples: whether a count is one more than that of sample points, of which the last is left out.
        first: shares are of so many patches, whatever there are.
    """

    method: str
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    modules: str = ""
    tensor: str = ""
    has_fixed_counts: bool = False
    inside: bool = False
    several: Literal["shares", "counts"] = "counts"
    first: int | None = None
    samples: bool = False


MEDOIDS = {"cluster_iters": "iterations", "equal_weight": "equal_weight", "first_medoid": "first_medoid"}
DENSITY = {"k_neighbors": "neighbours", "equal_weight": "equal_weight"}
CLUSTERS = {"linkage": "linkage", "proportional_attn": "keeps_size"}
TRANSPORT = {"sinkhorn_eps": "eps", "cluster_iters": "iterations"}
METHODS = {
    "kmedoids": Official("k-medoids", MEDOIDS),
    "dpcknn": Official("dpc-knn", DENSITY, modules="weights", tensor="score.weight"),
    "patchmerger": Official("patchmerger", modules="mixers", tensor="queries", has_fixed_counts=True),
    "sit": Official("sit", modules="mixers", tensor="weight.3.weight", has_fixed_counts=True),
    "sinkhorn": Official("sinkhorn", TRANSPORT, modules="mixers", tensor="v", has_fixed_counts=True),
    "dyvit": Official("dynamicvit", modules="predictors", tensor="out_conv.4.weight", several="shares"),
    "ats": Official("ats", settings={"reading": "comparison"}, inside=True, samples=True),
    "topk": Official("attention-topk", settings={"stage": "mid"}, inside=True, several="shares", first=196),
    "evit": Official("evit", settings={"action": "fuse"}, inside=True, several="shares", first=196),
    "tome": Official("tome", inside=True),
    "atc": Official("atc", CLUSTERS, {"keeps_size": False, "weighted_pooling": False}, inside=True),
}
OWN = ("cluster_iters", "k_neighbors", "equal_weight", "sinkhorn_eps", "first_medoid", "linkage", "proportional_attn")


class TokenReduction(Layout):
    """Plain ViT weights with a class token; methods that learn have `cluster_layers.*` or `score_predictor.*` too."""

    name = "token-reduction"
    source = "github JoakimHaurum/TokenReduction (88fe07e)"

    class options(Options):  # noqa: N801
        """The official arguments; `method` is what the names of models begin with, blocks count from 0.

        `keep_rate`: one for all stages, or one for each of `reduction_loc`: shares of the first patches for dyvit, topk
        and evit, counts for the others. Left out, it is read off the weights of patchmerger, sit and sinkhorn.
        `cluster_iters`: of kmedoids and sinkhorn, 3. `equal_weight`: of kmedoids, false, and dpcknn, as in the weights.
        `k_neighbors`: of dpcknn, 5. `sinkhorn_eps`: 1. `first_medoid`: of kmedoids with equal weights, the first patch;
        officially a random one. `linkage`: of atc, average; `proportional_attn`: of atc, false.
        """

        method: Literal[
            "kmedoids", "dpcknn", "patchmerger", "sit", "sinkhorn", "dyvit", "ats", "topk", "evit", "tome", "atc"
        ]
        reduction_loc: tuple[int, ...] = (3, 6, 9)
        keep_rate: float | tuple[float, ...] | None = None
        cluster_iters: int | None = None
        k_neighbors: int | None = None
        equal_weight: bool | None = None
        sinkhorn_eps: float | None = None
        first_medoid: int | None = None
        linkage: Literal["average", "complete", "single"] | None = None
        proportional_attn: bool | None = None

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        plain = _plain(checkpoint)
        foreign = not_plain(plain) or without_class_token(plain)
        return foreign or ("has fc_norm, which DeiT does not" if "fc_norm.weight" in plain else None)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        arguments = checkpoint.arguments
        if "base_rate" in arguments and _own(checkpoint):  # of DynamicViT's own repository
            return {"method": "dyvit", "keep_rate": arguments["base_rate"]}
        if "reduction_loc" not in arguments:
            return {}
        same = {name: arguments.get(name) for name in ("reduction_loc", *OWN)}
        same["keep_rate"] = arguments.get("keep_rate", arguments.get("reduction_ratio"))  # as ATC calls it
        return same | {"method": str(arguments.get("model", "")).partition("_")[0] or None}

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        seen = next(
            (name for name, one in METHODS.items() if one.tensor and f"0.{one.tensor}" in _own(checkpoint)), None
        )
        return super().defaults(checkpoint) | ({} if seen is None else {"method": seen})

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        official, own = METHODS[options.method], _own(checkpoint)
        backbone = plain_vit(_plain(checkpoint), options)
        blocks, patches = _blocks(official, options.reduction_loc, checkpoint.depth), backbone.patch_embed.num_patches
        _check(options.method, own, len(blocks))
        kept = _kept(official, options.keep_rate, len(blocks), patches, own)
        removed, places = _schedule(official, dict(zip(blocks, kept, strict=True)), patches, checkpoint.depth)
        model = reduce(backbone, official.method, removed, _settings(official, options, bool(own)) | places)
        renamed = {_renamed(key, official, blocks): value for key, value in own.items()}
        Checkpoint(checkpoint.name, renamed, {}).load_into(model.method)
        return model


def _plain(checkpoint: Checkpoint) -> Checkpoint:
    for holder in HOLDERS:
        checkpoint = checkpoint.without(holder)
    return checkpoint


def _own(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Weights of the method, by stage and name."""
    return {key.partition(".")[2]: x for key, x in checkpoint.weights.items() if key.startswith(HOLDERS)}


def _blocks(official: Official, places: tuple[int, ...], depth: int) -> list[int]:
    """Blocks that reduce, as they are counted here."""
    first = 0 if official.inside else 1
    if not places or list(places) != sorted(set(places)) or not first <= places[0] <= places[-1] < depth:
        raise ValueError(
            f"reduction_loc must be some of the blocks {first} to {depth - 1} in order, found {list(places)}"
            + ("; a reduction before the first block is not supported" if 0 in places else "")
        )
    return [place - first for place in places]


def _check(method: str, own: Mapping[str, Tensor], blocks: int) -> None:
    """Refuse weights of another method, or of another number of reductions."""
    official, stages = METHODS[method], {key.partition(".")[0] for key in own}
    if own and (not official.tensor or not any(key.endswith(f".{official.tensor}") for key in own)):
        raise ValueError(f"the weights are of another method than {method}: they have {min(own)}")
    if stages != {str(stage) for stage in range(blocks)} and (own or official.has_fixed_counts):
        raise ValueError(f"the weights have {len(stages)} modules that reduce, but reduction_loc names {blocks} blocks")


def _kept(
    official: Official, rates: float | tuple[float, ...] | None, stages: int, patches: int, own: Mapping[str, Tensor]
) -> list[int]:
    """Patches that stay in each stage."""
    if official.has_fixed_counts and rates is None:
        return [own[f"{stage}.{official.tensor}"].shape[0] for stage in range(stages)]
    if rates is None:
        raise ValueError("the weights do not say how many patches stay; give keep_rate")
    if isinstance(rates, float) or len(rates) == 1:
        rate = rates if isinstance(rates, float) else rates[0]
        return _shares(official, [rate ** (stage + 1) for stage in range(stages)], patches)
    if len(rates) != stages:
        raise ValueError(f"keep_rate has {len(rates)} values for {stages} blocks in reduction_loc; give one for each")
    if official.several == "shares":
        return _shares(official, rates, patches)
    if not all(count.is_integer() for count in rates):
        raise ValueError(f"several values of keep_rate are counts of patches, found {list(rates)}")
    return [int(count) for count in rates]


def _shares(official: Official, shares: Sequence[float], patches: int) -> list[int]:
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"a keep_rate must be above 0 and at most 1, found shares of {list(shares)}")
    kept = [patches if share == 1 else int(share * (official.first or patches)) for share in shares]
    return [count + official.samples for count in kept]


def _schedule(
    official: Official, kept: dict[int, int], patches: int, depth: int
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Patches removed in each block, of what stays in some; and settings that name blocks."""
    highest = tuple(block for block, count in kept.items() if official.samples and _points(count) == count)
    asked = [kept.get(block) for block in range(depth)]
    if official.samples:
        asked = [count and _points(count) for count in asked]
    removed, singles = counts(patches, (1.0,) * depth, tuple(asked), official.settings.get("action") == "fuse")
    idle = [block for block in kept if official.samples and not removed[block]]
    if idle:
        raise ValueError(f"there is a sample point for each patch that enters block {idle[0]}; give a lower keep_rate")
    named = {"fuse_single": singles, "with_highest": highest}
    removed = clamped(patches, removed).removed if official.method == "tome" else removed
    return removed, {name: blocks for name, blocks in named.items() if blocks}


def _points(count: int) -> int:
    """Of `count` sample points those that are there: without the last, where rounding errors do not keep it."""
    return math.ceil(((2 * count - 1) / (2 * count) - 1 / (2 * count)) / (2 / (2 * count)))


def _settings(official: Official, options: Any, has_weights: bool) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in OWN if getattr(options, name) is not None}
    foreign = sorted(given.keys() - official.options.keys())
    if foreign:
        raise ValueError(f"{options.method} has no {foreign[0]}; leave it out")
    read = {"equal_weight": not has_weights} if official.method == "dpc-knn" else {}
    return {**official.settings, **read, **{official.options[name]: value for name, value in given.items()}}


def _renamed(key: str, official: Official, blocks: Sequence[int]) -> str:
    stage, _, name = key.partition(".")
    return f"{official.modules}.{blocks[int(stage)]}.{name.removeprefix('score.')}"
