"""The closed formula against torch's counter, part by part, on the same deployed model; meta tensors are enough."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from suite.measure import cost
from suite.measure.cost import Part, account
from suite.measure.macs import MISSING
from suite.measure.tokens import count_tokens, expected_tokens
from suite.reduction.method import Method
from suite.reduction.model import ReducedModel
from suite.reduction.tokens import Tokens
from suite.tasks.segmentation.pixels import PixelModel

TOLERANCE = 0.005  # of a part may stay unexplained
BY_PARAMETER = {  # whose product it is, by the name of the parameter that takes part in it
    r"backbone\.patch_embed\.": (cost.INPUT, cost.PATCHES),
    r"backbone\.blocks\.\d+\.attn\.(qkv|q_proj|k_proj|v_proj|gate)\.": (None, cost.PROJECTION),
    r"backbone\.blocks\.\d+\.attn\.proj\.": (None, cost.OUTPUT),
    r"backbone\.blocks\.\d+\.mlp\.": (None, cost.MLP),
    r"backbone\.head": (cost.READ_OUT, cost.HEAD),
    r"fusion\.heads\.": (cost.FUSION, cost.HEADS),
    r"fusion\.": (cost.FUSION, cost.CROSS),
}


@dataclass(frozen=True)
class Compared:
    """One part of a model: multiply-accumulates for one image by formula and as torch counts them."""

    place: str
    what: str
    formula: int
    counted: int

    @property
    def unexplained(self) -> float:
        """Difference as a share of the greater one."""
        return abs(self.formula - self.counted) / max(self.formula, self.counted, 1)


def compare(model: ReducedModel, dense: bool = False) -> list[Compared]:
    """Every part that formula or counter knows, in the order of the model, which must be deployed."""
    formula = {(part.place, part.what): part.macs for part in account(model, dense)}
    counted = {(part.place, part.what): part.macs for part in count_parts(model, dense)}
    return [Compared(*key, formula.get(key, 0), counted.get(key, 0)) for key in dict.fromkeys([*formula, *counted])]


def disagreements(model: ReducedModel, compared: Iterable[Compared]) -> list[str]:
    """A sentence for every block on other tokens than its schedule says, and every part off by over 0.5 %."""
    found, expected = count_tokens(model, _image(model)), expected_tokens(model)
    says = {"attention": "its attention computes on", "mlp": "its MLP computes on", "leaving": "it is left by"}
    sentences = [
        f"block {layer}: {what} {now} tokens, and by schedule and Settings.leaves it should be {wanted}"
        for name, what in says.items()
        for layer, (now, wanted) in enumerate(zip(getattr(found, name), getattr(expected, name), strict=True))
        if now != wanted
    ]
    for part in compared:
        if part.unexplained > TOLERANCE:
            cure = "; the method must say in own_cost what it computes" if part.what == cost.METHOD else ""
            sentences.append(
                f"{part.place}, {part.what}: {part.formula:,} MACs by formula, {part.counted:,} counted by torch, "
                f"{100 * part.unexplained:.2g} % apart{cure}"
            )
    return sentences


@torch.inference_mode()
def count_parts(model: ReducedModel, dense: bool = False) -> list[Part]:
    """What torch counts while the model runs on one image, each product put down to its part."""
    counter = FlopCounterMode(display=False, custom_mapping=MISSING)
    watched = _Watched(model.method)
    copy = ReducedModel(model.backbone, watched)
    copy.fusion = model.fusion
    run: Callable[[Tensor], Tensor] = PixelModel(copy) if dense else copy
    attribution = _Attribution(copy, watched, counter)
    copy.eval()
    with counter, attribution:
        run(_image(model))
    return [Part(*key, macs) for key, macs in attribution.macs.items()]


class _Watched(Method):
    """A method that knows in which block it is."""

    def __init__(self, method: Method) -> None:
        super().__init__(method.context, method.settings)
        self.method = method
        self.place = cost.INPUT

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        self.place = f"block {layer}"
        tokens = self.method.forward_block(block, tokens, layer)
        self.place = cost.READ_OUT
        return tokens


class _Attribution(TorchFunctionMode):
    """Puts down what a counter counts during each call of a torch function to the part that made the call."""

    def __init__(self, model: ReducedModel, method: _Watched, counter: FlopCounterMode) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.method, self.counter = method, counter
        self.macs: Counter[tuple[str, str]] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.counter.get_total_flops()
        result = func(*args, **(kwargs or {}))
        flops = self.counter.get_total_flops() - before
        if flops:
            self.macs[self._part(func, args)] += flops // 2
        return result

    def _part(self, func: Any, args: Any) -> tuple[str, str]:
        here = self.method.place
        name = next((self.names[id(argument)] for argument in args if id(argument) in self.names), "")
        for pattern, (place, what) in BY_PARAMETER.items():
            if re.match(pattern, name):
                return place or here, what
        if func is F.scaled_dot_product_attention:
            return here if here.startswith("block") else cost.FUSION, cost.PRODUCTS
        return here, cost.METHOD if here.startswith("block") else cost.HEAD


def _image(model: ReducedModel) -> Tensor:
    """One image where the model's weights are; its values decide nothing."""
    embedding = model.backbone.patch_embed
    weight: Tensor = embedding.proj.weight
    return weight.new_zeros(1, weight.shape[1], *embedding.img_size)
