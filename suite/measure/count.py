"""Tokens and multiply-accumulates of a model, block by block and part by part: `count`.

A copy of the model without weights runs once, on the meta device, while torch counts every matrix product and every
convolution. Each product is attributed to a part by the parameter that takes part in it.

Two conventions are in use, and a column must name its own: `full` counts every matrix product and convolution; `linear`
leaves out the two products of the fused attention (Q K^T and its product with V), as counters do that cannot see fused
kernels. Neither counts norms, softmax, activations, rotations, LayerScale, sorting or moving tokens.

Some counters add operations of norms. fvcore takes 5 for each value that enters a LayerNorm, 4 if it has no weights,
and one for a multiply-accumulate (facebookresearch/fvcore, `fvcore/nn/jit_handles.py`, `norm_flop_counter`). Figures of
ToMe, EViT and timm fit to the last digit only so. It knows no RMSNorm, so that one costs nothing here either.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from suite.errors import UserError
from suite.measure.calls import call
from suite.measure.tokens import TokenCounts, token_counters
from suite.reduction.fusion import CrossAttention
from suite.reduction.method import Method
from suite.reduction.model import ReducedModel, unpruned
from suite.reduction.tokens import Tokens
from suite.tasks.task import ReadOut, itself

INPUT, FUSION, READ_OUT = "input", "fusion", "read-out"  # places besides the blocks
PROJECTION, PRODUCTS, OUTPUT, MLP = "queries, keys, values", "attention products", "output projection", "MLP"
PATCHES, METHOD, HEAD = "patch embedding", "method", "head"
HEADS, CROSS = "heads of removed patches", "projections"
BY_PARAMETER = {  # place (None: the block that runs) and part of a product, by the name of a parameter in it
    r"backbone\.patch_embed\.": (INPUT, PATCHES),
    r"backbone\.blocks\.\d+\.attn\.(qkv|q_proj|k_proj|v_proj|gate)\.": (None, PROJECTION),
    r"backbone\.blocks\.\d+\.attn\.proj\.": (None, OUTPUT),
    r"backbone\.blocks\.\d+\.mlp\.": (None, MLP),
    r"backbone\.head": (READ_OUT, HEAD),
    r"fusion\.heads\.": (FUSION, HEADS),
    r"fusion\.": (FUSION, CROSS),
}


class Macs(NamedTuple):
    """Multiply-accumulates of one image in both conventions."""

    full: float
    linear: float


class Part(NamedTuple):
    """Multiply-accumulates of one image, by place (`input`, `block 0` and so on, `fusion`, `read-out`) and by what."""

    place: str
    what: str
    macs: int


@dataclass(frozen=True)
class Count:
    """What a deployed model computes for one image: its parts in order, and operations of norms."""

    tokens: TokenCounts
    parts: tuple[Part, ...]
    norms: int

    def __str__(self) -> str:
        """Tokens that enter the MLP of each block, and multiply-accumulates."""
        full, linear = (macs / 1e9 for macs in self.macs)
        tokens = " ".join(map(str, self.tokens.mlp))
        return f"tokens: {tokens}\nGMACs: {full:.3g} (full), {linear:.3g} (linear)"

    @property
    def macs(self) -> Macs:
        """Multiply-accumulates in both conventions, `full` and `linear`."""
        return total(self.parts)

    @property
    def conventions(self) -> dict[str, float]:
        """Multiply-accumulates in all four conventions; `with_norms`, operations of norms are added to them."""
        plain = self.macs._asdict()
        return plain | {f"{name}_with_norms": macs + self.norms for name, macs in plain.items()}


def total(parts: Iterable[Part]) -> Macs:
    """The sum of parts in both conventions."""
    entries = list(parts)
    full = sum(part.macs for part in entries)
    return Macs(full, full - sum(part.macs for part in entries if part.what == PRODUCTS))


@torch.inference_mode()
def count(model: nn.Module, read_out: ReadOut = itself, *, training: bool = False) -> Count:
    """Count tokens and multiply-accumulates of a model for one image, (1, 3, height, width) as the model takes it.

    The model is left as it is. It is counted deployed: what only training needs does not count.

    Args:
        model: a timm model or a `ReducedModel`, with weights or on the meta device.
        read_out: what is counted of a reduced model, see `Task.read_out`; by default the model, which classifies.
        training: count what it computes forward in training instead, with what only that needs.

    Returns:
        `.tokens.attention`, `.tokens.mlp` and `.tokens.leaving`, tokens of each block, prefix included; `.macs.full`
        and `.macs.linear`, multiply-accumulates (not FLOPs) in both conventions; `.parts`, these by place and product;
        `.norms`, operations of norms as fvcore counts them. `print` shows tokens of the MLPs, and GMACs.

    Raises:
        TypeError: for a backbone that is not supported.
        UserError: if the method runs an operator that torch cannot count and does not state it in `uncounted_macs`, or
            states one without running any.

    >>> import timm
    >>> found = count(timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=2))
    >>> found.tokens.mlp
    (65, 65)
    >>> print(found)
    tokens: 65 65
    GMACs: 0.0615 (full), 0.0583 (linear)
    """
    reduced = _on_meta(model, training)
    reduced.method = watched = _Watched(reduced.method)
    attribution = _Attribution(reduced, watched)
    with token_counters(reduced) as (attention, mlp), attribution:
        read_out(reduced)(_image(reduced))
    parts = attribution.parts()
    tokens = TokenCounts(tuple(attention), tuple(mlp), tuple(watched.leaving))
    return Count(tokens, parts, attribution.norms)


def _on_meta(model: nn.Module, training: bool) -> ReducedModel:
    """A copy on the meta device, deployed or in training; no weight is copied, nor a backbone that is there already."""
    reduced = model if isinstance(model, ReducedModel) else unpruned(model)
    tensors: list[Tensor] = [*reduced.parameters(), *reduced.buffers()]
    known: dict[int, Any] = {id(tensor): _shape_of(tensor) for tensor in tensors if not tensor.is_meta}
    if not (known or training or reduced.backbone.training):
        known[id(reduced.backbone)] = reduced.backbone
    copied = copy.deepcopy(reduced, known)
    return copied.train() if training else copied.deploy()


def _shape_of(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


class _Watched(Method):
    """A method that knows in which block it is, what left each, and what it states that no counter sees."""

    def __init__(self, method: Method) -> None:
        super().__init__(method.context, method.settings)
        self.method = method
        self.place = INPUT
        self.leaving: list[int] = []
        self.stated: dict[str, int] = {}

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        self.place = f"block {layer}"
        self.stated[self.place] = self.method.uncounted_macs(tokens.count, layer)
        tokens = self.method.forward_block(block, tokens, layer)
        self.leaving.append(tokens.x.shape[1])
        self.place = READ_OUT
        return tokens


class _Attribution(TorchFunctionMode):
    """Attributes what each call of a torch function computes to the part that made the call."""

    def __init__(self, model: ReducedModel, method: _Watched) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.fuses = isinstance(model.fusion, CrossAttention)
        self.method = method
        self.norms = 0
        self.macs: Counter[tuple[str, str]] = Counter()
        self.unknown: dict[str, str] = {}  # by place, an operator that the counter does not know

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = call(func, args, kwargs or {})
        self.norms += made.norms
        if made.flops:
            self.macs[self._part(func, (*args, *(kwargs or {}).values()))] += made.flops // 2
        elif isinstance(func, OpOverload | OpOverloadPacket) and not str(func).startswith("aten."):
            self.unknown[self.method.place] = str(func)
        return made.result

    def parts(self) -> tuple[Part, ...]:
        """What was counted, and what the method stated besides."""
        name, macs = type(self.method.method).__name__, self.macs.copy()
        for place, stated in self.method.stated.items():
            operator = self.unknown.get(place)
            if operator and not stated:
                raise UserError(
                    f"{place}: torch cannot count the operator {operator}; {name}.uncounted_macs must state its "
                    "multiply-accumulates, or torch.utils.flop_counter.register_flop_formula how to count it"
                )
            if stated and not operator:
                raise UserError(
                    f"{place}: {name}.uncounted_macs states {stated:,} multiply-accumulates, but torch counts every "
                    "operator that it runs there; let it return 0"
                )
            if stated:
                macs[place, METHOD] += stated
        return tuple(sorted((Part(*key, number) for key, number in macs.items()), key=_position))

    def _part(self, func: Any, args: Any) -> tuple[str, str]:
        here = self.method.place
        name = next((self.names[id(argument)] for argument in args if id(argument) in self.names), "")
        for pattern, (place, what) in BY_PARAMETER.items():
            if re.match(pattern, name):
                return place or here, what
        if func is F.scaled_dot_product_attention:
            return FUSION if here == READ_OUT and self.fuses else here, PRODUCTS
        return here, {INPUT: PATCHES, READ_OUT: HEAD}.get(here, METHOD)


def _position(part: Part) -> int:
    """Where a part stands: input, blocks, fusion, read-out."""
    return {INPUT: 0, FUSION: 2, READ_OUT: 3}.get(part.place, 1)


def _image(model: ReducedModel) -> Tensor:
    """One image of the size that the model takes, (1, channels, height, width); its values decide nothing."""
    embedding = model.backbone.patch_embed
    kernel = next(weight for weight in embedding.parameters() if weight.dim() == 4)
    return torch.zeros(1, kernel.shape[1], *embedding.img_size, device="meta", dtype=kernel.dtype)
