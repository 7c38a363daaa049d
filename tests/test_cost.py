"""Costs as counted: by hand, against a closed formula in every part, and what `suite flops` makes of them."""

from __future__ import annotations

import functools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import BACKBONES, FEW, WIDTH, build, draw_images
from cost_oracle import Oracle, count_macs
from timm.layers import RmsNorm
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.measure.calls import FREE, RULES, by_torch, call
from suite.measure.count import MLP, OUTPUT, PRODUCTS, PROJECTION, Count, Macs, Part, count, total
from suite.measure.tokens import TokenCounts, count_tokens, expected_tokens
from suite.reduction.backbone import create_backbone
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens
from suite.tasks.segmentation.pixels import PixelModel
from suite.tasks.task import itself

METHODS = sorted(modules())
KINDS = ("cropr", "evit", "idlevit", "tome")  # all that add multiply-accumulates, but for a score by attention
REMOVED = (9, 8, 0, 0)
TASKS = {
    "classification": ("none", "last-layer"),
    "segmentation": ("none", "last-layer", "concatenation", "logits", "cross-attention"),
}
NO_CLASS_TOKEN = [name for name in BACKBONES if BACKBONES[name]().cls_token is None]


@functools.cache
def on_meta(name: str) -> nn.Module:
    """A tiny backbone without weights; models may share it."""
    with torch.device("meta"):
        return BACKBONES[name]().eval()


def deployed(
    name: str, method: str, fusion: str = "none", removed: tuple[int, ...] = REMOVED, **settings: object
) -> ReducedModel:
    """A deployed model on the meta device."""
    with torch.device("meta"):
        return reduce(on_meta(name), method, removed, settings, fusion).deploy()


def parts(model: nn.Module, dense: bool = False) -> dict[tuple[str, str], int]:
    """Multiply-accumulates of each part, as counted."""
    return {(part.place, part.what): part.macs for part in count(model, PixelModel if dense else itself).parts}


def assert_exact(model: ReducedModel, dense: bool = False) -> Count:
    """Counter and formula are equal, to the last product, in each part, and in norms; tokens are the schedule's."""
    found, oracle = count(model, PixelModel if dense else itself), Oracle(model, dense)
    assert {(part.place, part.what): part.macs for part in found.parts} == oracle.parts()
    assert found.norms == oracle.norms()
    layers = range(oracle.depth)
    assert found.tokens == expected_tokens(model)
    columns = found.tokens.attention, found.tokens.mlp, found.tokens.leaving
    assert list(zip(*columns, strict=True)) == [oracle.tokens(layer) for layer in layers]
    return found


# ---------------------------------------------------------------- by hand


def test_a_tiny_vit_by_hand() -> None:
    """Two blocks of width 8 on 4 patches of 4 x 4 pixels and a class token; 2 patches leave after the first block.

    Patch embedding 4 * 48 * 8. Block of T tokens: T * 8 * 24, 2 T^2 * 8, T * 8 * 8, 2 T * 8 * 16; T is 5, then 3.
    """
    options = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "mlp_ratio": 2}
    model = reduce(create_backbone("vit_tiny_patch16_224", options, classes=3), "random", (2, 0))
    found = count(model)
    assert list(found.parts) == [
        Part("input", "patch embedding", 1536),
        Part("block 0", "queries, keys, values", 960),
        Part("block 0", "attention products", 400),
        Part("block 0", "output projection", 320),
        Part("block 0", "MLP", 1280),
        Part("block 1", "queries, keys, values", 576),
        Part("block 1", "attention products", 144),
        Part("block 1", "output projection", 192),
        Part("block 1", "MLP", 768),
        Part("read-out", "head", 24),
    ]
    assert found.macs == total(found.parts) == Macs(6200, 5656)
    assert found.norms == 5 * 8 * (5 + 5 + 3 + 3 + 3)
    assert tuple(found.conventions.values()) == (6200, 5656, 6200 + 760, 5656 + 760)
    assert count(model, PixelModel).parts[-1] == Part("read-out", "head", 4 * 24)


def test_a_gated_mlp_by_hand() -> None:
    """EVA-02's SwiGLU has three matrices of width times hidden channels: 65 * 48 * 96 * 3 in an unpruned block."""
    assert [macs for (_, what), macs in parts(deployed("eva02", "none")).items() if what == MLP] == [
        65 * 48 * 96 * 3
    ] * 4


def test_what_each_method_adds_by_hand() -> None:
    """In block 0, which 64 patches and a class token enter and 9 patches leave; width 48, 4 heads."""
    added = {method: parts(deployed("vit", method)).get(("block 0", "method"), 0) for method in METHODS}
    expected = {
        "none": 0,
        "random": 0,
        "variance": 0,
        "idlevit": 0,  # nothing is idle yet
        "cropr": 65 * 48,
        "attention-topk": 65 * 48,
        "ats": 65 * 48 * 4,
        "evit": 65 * 48 + 10 * 48,  # 10 patches become the fused token
        "tome": 32 * 32 * 12,
    }
    assert {method: added[method] for method in expected} == expected
    sampled = parts(deployed("vit", "ats"))
    assert sampled["block 0", PROJECTION] == 65 * 48 * 3 * 48  # of those that leave too
    assert sampled["block 0", PRODUCTS] == 2 * 56 * 65 * 48
    idle = parts(deployed("vit", "idlevit"))
    assert idle["block 1", "method"] == (48 + 48 + 65) * 48  # the class token's query, folded keys, and scores
    assert idle["block 1", PROJECTION] == 56 * 48 * 3 * 48
    assert idle["block 1", OUTPUT] == 56 * 48 * 48
    rotated = parts(deployed("eva02", "idlevit"))
    assert rotated["block 1", "method"] == 65 * 48  # keys are rotated, so they must be there
    assert rotated["block 1", PROJECTION] == 65 * 48 * 3 * 48  # of idle tokens too


def test_norms_by_hand() -> None:
    """Two norms in each of 4 blocks of width 48 and one after them, on 65 tokens, or on 56, 48, 48 and 48 of them.

    EVA-02 has a norm of 96 channels inside its MLP, and its last norm takes one vector. Without weights a norm has four
    operations a value; an RMSNorm is none that fvcore knows.
    """
    left = 56 + 48 + 48 + 48
    assert count(deployed("vit", "random", stage="pre")).norms == 5 * 48 * (2 * left + 48)
    assert count(deployed("vit", "none")).norms == 5 * 48 * (2 * 4 * 65 + 65)
    assert count(deployed("eva02", "none")).norms == 5 * (4 * 65 * (2 * 48 + 96) + 48)
    assert count(build("vit", norm_layer=functools.partial(nn.LayerNorm, elementwise_affine=False))).norms == (
        4 * 48 * 9 * 65
    )
    assert count(build("vit", norm_layer=RmsNorm)).norms == 0


TOKENS = {  # of a schedule (9, 8, 8, 0), class token included
    "ENTERING": (65, 56, 48, 40),
    "LEAVING": (56, 48, 40, 40),
    "ALL": (65,) * 4,
}


@pytest.mark.parametrize(
    ("method", "places"),
    [
        ("ats", "LEAVING LEAVING LEAVING"),
        ("attention-topk", "ENTERING ENTERING LEAVING"),
        ("cropr", "ENTERING ENTERING LEAVING"),
        ("evit", "ENTERING LEAVING LEAVING"),
        ("idlevit", "ENTERING ENTERING ALL"),
        ("none", "ALL ALL ALL"),
        ("random", "ENTERING ENTERING LEAVING"),
        ("tome", "ENTERING LEAVING LEAVING"),
        ("variance", "ENTERING ENTERING LEAVING"),
    ],
)
def test_tokens_by_hand(method: str, places: str) -> None:
    """Every method computes on as many tokens as its schedule says, in the places its paper says."""
    model = reduce(build("vit"), method, (9, 8, 8, 0))
    expected = TokenCounts(*(TOKENS[place] for place in places.split()))
    assert count_tokens(model, draw_images(model.backbone)) == count(model).tokens == expected


# ---------------------------------------------------------------- against the formula


RUNS = [
    pytest.param(name, method, task, marks=[pytest.mark.slow] * (name not in FEW and method not in KINDS))
    for name in BACKBONES
    for method in METHODS
    for task in TASKS
]


@pytest.mark.parametrize(("name", "method", "task"), RUNS)
def test_the_counter_equals_the_formula(name: str, method: str, task: str) -> None:
    """On every backbone, of every method, with every fusion that it can have, by class and by pixel."""
    if name in NO_CLASS_TOKEN and method in ("ats", "attention-topk", "evit", "idlevit"):
        pytest.skip("needs a class token")
    counted = 0
    for fusion in TASKS[task]:
        try:
            model = deployed(name, method, fusion)
        except ValueError as error:
            assert re.search("fusion (needs|learns from) removed patches", str(error))  # noqa: PT017
            continue
        if task == "segmentation" and name == "deit distilled":
            assert parts(model, True) == Oracle(model, True).parts()
        else:
            assert_exact(model, task == "segmentation")
        counted += 1
    assert counted >= (1 if task == "classification" else 2)


@pytest.mark.parametrize("stage", ["pre", "mid", "post"])
@pytest.mark.parametrize("action", ["prune", "fuse"])
def test_the_counter_equals_the_formula_at_every_stage(action: str, stage: str) -> None:
    """Who scores attention before a block projects and normalises all tokens once more."""
    for name in ("vit", "vit with registers", "vit with query and key norm", "vit post-norm"):
        for method in ("attention-topk", "evit", "random", "variance", *(["cropr"] if action == "prune" else [])):
            assert_exact(deployed(name, method, stage=stage, action=action))
    projected = parts(deployed("vit", "attention-topk", stage=stage, action=action))["block 0", PROJECTION]
    assert projected == (65 + 56 if stage == "pre" else 65) * 3 * WIDTH**2


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("tome", {"weighted_pooling": True}),
        ("tome", {"weighted_pooling": False, "proportional_attention": False}),
        ("cropr", {"queries": 64, "heads": 4, "projections": ("query", "key", "value"), "pre_norm": True}),
        ("evit", {"fuse_single": (2,)}),
    ],
)
def test_the_counter_equals_the_formula_with_settings(method: str, settings: dict[str, object]) -> None:
    """Merged tokens weigh in average pooling; deployed queries and projections are one vector; a patch fuses alone."""
    for name in ("vit", "vit with registers, average"):
        assert_exact(deployed(name, method, **settings))


# ---------------------------------------------------------------- the function `count`


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_change_no_count(name: str) -> None:
    """A timm model with weights is counted as the unpruned model on the meta device, and left as it is."""
    backbone = BACKBONES[name]().train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert count(backbone) == count(deployed(name, "none"))
    assert backbone.training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)


X, MATRIX, VECTOR = _meta(2, 5, 8), _meta(3, 8), _meta(8)
QUERY, KEY = _meta(2, 4, 5, 8), _meta(2, 4, 7, 8)
CALLS = [
    (F.linear, (X, MATRIX, _meta(3))),
    (F.linear, (VECTOR, MATRIX)),
    (F.layer_norm, (X, (8,), VECTOR, VECTOR)),
    (F.layer_norm, (X.transpose(0, 1), (8,))),
    (F.scaled_dot_product_attention, (QUERY, KEY, KEY, _meta(2, 1, 1, 7))),
    (F.scaled_dot_product_attention, (QUERY, KEY, _meta(2, 4, 7, 6))),
    (F.gelu, (X.transpose(1, 2),)),
    (F.dropout, (X, 0.5, False)),
    (F.normalize, (X,)),
    (Tensor.square, (X,)),
    (Tensor.add, (X, _meta(5, 1))),
    (Tensor.add, (_meta(4, dtype=torch.int64), 0.5)),
    (Tensor.sub, (_meta(4, dtype=torch.float16), _meta(4))),
    (Tensor.mul, (X, 2)),
    (Tensor.mul, (VECTOR, X)),
    (Tensor.div, (_meta(4, dtype=torch.int64), 2)),
]


KEYWORDS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (F.linear, (X,), {"weight": MATRIX, "bias": _meta(3)}),
    (F.linear, (X, MATRIX), {"bias": None}),
    (F.layer_norm, (X,), {"normalized_shape": (8,)}),
    (F.layer_norm, (X, (8,)), {"weight": VECTOR}),
    (F.gelu, (), {"input": X}),
    (F.normalize, (), {"input": X, "dim": -1}),
    (F.scaled_dot_product_attention, (QUERY,), {"key": KEY, "value": KEY}),
]


@pytest.mark.parametrize(("func", "args", "kwargs"), [*((*one, {}) for one in CALLS), *KEYWORDS])
def test_rules_find_what_torch_does(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Shape, type, operations, however arguments are given; these stay what they were."""
    with torch.inference_mode():
        own, torchs = call(func, args, kwargs), by_torch(func, args, kwargs)
    assert own[1:] == torchs[1:]
    assert (own.result.shape, own.result.dtype) == (torchs.result.shape, torchs.result.dtype)
    assert own.result.is_meta
    assert all(own.result is not one for one in (*args, *kwargs.values()))


@pytest.mark.parametrize(
    ("func", "args", "macs"),
    [
        (torch.dot, (_meta(8), _meta(8)), 8),
        (torch.vdot, (_meta(8), _meta(8)), 8),
        (torch.mv, (_meta(3, 8), _meta(8)), 24),
        (torch.addmv, (_meta(3), _meta(3, 8), _meta(8)), 24),
        (torch.addbmm, (_meta(3, 5), _meta(4, 3, 8), _meta(4, 8, 5)), 480),
    ],
)
def test_products_that_torch_has_no_formula_for(func: Any, args: tuple[Any, ...], macs: int) -> None:
    """By hand."""
    assert call(func, args, {}).flops == 2 * macs


def test_rules_are_all_tried_and_refuse_what_torch_refuses() -> None:
    """A product of other widths, or a sum of other lengths, is an error on the meta device too."""
    assert {func for func, _ in CALLS} == set(RULES)
    assert not FREE & set(RULES)
    refused: list[tuple[Any, tuple[Any, ...]]] = [
        (F.linear, (X, _meta(3, 7))),
        (F.linear, (X, MATRIX, _meta(4))),
        (F.layer_norm, (X, (7,))),
        (F.layer_norm, (X, (8,), _meta(7))),
        (F.scaled_dot_product_attention, (QUERY, _meta(2, 4, 7, 5), _meta(2, 4, 7, 5))),
        (Tensor.add, (X, _meta(3))),
    ]
    for func, args in refused:
        with pytest.raises(RuntimeError):
            call(func, args, {})
    here = torch.ones(2, 8)
    assert torch.equal(call(F.linear, (here, torch.ones(3, 8)), {}).result, torch.full((2, 3), 8.0))


def test_a_backbone_without_weights_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Because to copy it takes longer than to count; one with weights, or of training, is."""
    copied = list[bool]()
    monkeypatch.setattr(type(on_meta("vit")), "__deepcopy__", lambda self, memo: copied.append(True), raising=False)
    found = count(deployed("vit", "tome"))
    assert not copied
    monkeypatch.undo()
    assert found == count(reduce(build("vit"), "tome", REMOVED).deploy())


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("method", ["ats", "cropr", "evit", "idlevit", "none", "tome"])
def test_a_model_that_runs_costs_as_much(method: str, dense: bool) -> None:
    """`count_macs` and `count_tokens` say the same of images that run through it; it need not be deployed."""
    model = reduce(build("vit"), method, REMOVED).train()
    found = assert_exact(model, dense)
    assert model.training
    model.deploy()
    images = draw_images(model.backbone)
    assert count_macs(PixelModel(model) if dense else model, images) == found.macs
    assert count_tokens(model, images) == found.tokens


@pytest.mark.parametrize(
    ("name", "place"),
    [("vit_base_r50_s16_224", "patch embedding"), ("vit_base_patch16_siglip_224", "head")],
)
def test_what_the_formula_does_not_know_is_counted(name: str, place: str) -> None:
    """A convolutional stem and attention pooling, as `count_macs` counts them in the untouched model."""
    with torch.device("meta"):
        backbone = create_backbone(name, {}, classes=3).eval().requires_grad_(False)
    found = count(backbone)
    assert found.macs.full == count_macs(backbone, torch.zeros(1, 3, 224, 224, device="meta")).full
    assert max((part for part in found.parts if "block" not in part.place), key=lambda part: part.macs).what == place


# ---------------------------------------------------------------- what torch cannot count


@torch.library.custom_op("cropr_suite_tests::inner", mutates_args=())
def inner(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Products of all rows, (B, N, M), by an operator that no counter knows."""
    return x @ y.transpose(1, 2)


@inner.register_fake
def _(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0], x.shape[1], y.shape[1])


class Visible(ScoringMethod):
    """score_n = sum over patches of x_n . x_m."""

    def score(self, tokens: Tokens, projection: object, layer: int) -> torch.Tensor:
        return (tokens.patches @ tokens.patches.transpose(1, 2)).sum(-1)


class Invisible(Visible):
    """The same, by an operator that no counter knows."""

    def score(self, tokens: Tokens, projection: object, layer: int) -> torch.Tensor:
        return inner(tokens.patches, tokens.patches).sum(-1)


class Stated(Invisible):
    """The same, and it says so."""

    def uncounted_macs(self, patches: int, layer: int) -> int:
        return patches**2 * self.context.width if self.counts[layer] else 0


class Twice(Visible):
    """States what torch counts."""

    uncounted_macs = Stated.uncounted_macs


def of(kind: type[ScoringMethod]) -> ReducedModel:
    """A model under a method of these."""
    like = deployed("vit", "random")
    return ReducedModel(like.backbone, kind(like.method.context, like.method.settings)).deploy()


def test_uncounted_products_are_stated_where_they_are_and_nowhere_else() -> None:
    """A stated operator costs what the visible product costs; hidden or stated twice, it is refused by name."""
    assert parts(of(Stated)) == parts(of(Visible))
    with pytest.raises(UserError, match=r"block 0: torch cannot count the operator cropr_suite_tests.inner.*Invisible"):
        count(of(Invisible))
    with pytest.raises(UserError, match=r"block 0: Twice.uncounted_macs states 196,608 multiply-accumulates, but"):
        count(of(Twice))


# ---------------------------------------------------------------- suite flops


def flops(*arguments: str) -> tuple[int, str]:
    """Exit code, and what `suite flops` says, on one line."""
    result = CliRunner().invoke(app, ["flops", *arguments])
    said = result.output + (str(result.exception) if isinstance(result.exception, UserError) else "")
    return result.exit_code, " ".join(said.split())


SHOWN: dict[str, tuple[str, list[str]]] = {
    "ViT-L/16 with Cropr's R=8 and last-layer fusion, which has the tokens of the training log": (
        "vit_large_patch16_224 --method cropr --schedule '{constant: 8, blocks: 0-21, extra_first: 1}' "
        "--fusion last-layer",
        [
            "196 patches and 1 prefix tokens, 24 blocks of width 1024, 1000 classes",
            *("block 0 197 197 2.559 2.479", "block 22 20 20", "block 23 197 197"),
            *("full 34.67 69.33 56.3 % linear 33.91 67.81 56.8 %", "MLP 22.5 64.9 %"),
        ],
    ),
    "ToMe's ViT-H/14, published as 167.4, which only the reading with norms gives": (
        "vit_huge_patch14_224",
        ["full 167.3 334.6", "as fvcore counts them): full 167.402, linear 161.991 GMACs"],
    ),
    "a schedule without a method removes nothing": (
        "deit_tiny_patch16_224 --method none --schedule '{constant: 8, blocks: 0-3}'",
        [f"none, patches removed per block: {' '.join('0' * 12)} "],
    ),
    "EViT's fused token counts: of 140, 100 and 72 tokens the first two become multiples of 8": (
        "deit_small_patch16_224 --method evit --schedule "
        "\"{keep_rate: 0.7, blocks: '3,6,9', fused: true, multiple_of: 8}\"",
        [
            "removed per block: 0 0 0 53 0 0 40 0 0 32 0 0",
            *("block 3 197 144", "block 6 144 104", "block 9 104 72"),
        ],
    ),
    "a dense model, which takes seconds because it has no weights": (
        "eva02_large_patch14_224 --option img_size=512 --option patch_size=16 --classes 150 --task segmentation",
        ["1024 patches and 1 prefix tokens", "read-out: head 0.1573"],
    ),
}


@pytest.mark.parametrize("what", SHOWN)
def test_what_flops_shows(what: str) -> None:
    """Numbers known from elsewhere."""
    arguments, sentences = SHOWN[what]
    code, said = flops(*shlex.split(arguments))
    assert code == 0, said
    assert [sentence for sentence in sentences if sentence not in said] == []


def test_flops_of_a_model_without_a_head() -> None:
    """There is no read-out to count."""
    code, said = flops("deit_tiny_patch16_224", "--classes", "0")
    assert code == 0, said
    assert ", 0 classes" in said
    assert "read-out" not in said


def test_flops_as_json() -> None:
    """The same numbers, for programs."""
    rule = ("--method", "random", "--schedule", "{removed: '9,8,0,0,0,0,0,0,0,0,0,0'}")
    result = CliRunner().invoke(app, ["flops", "deit_tiny_patch16_224", *rule, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["tokens"]["mlp"] == [197, 188, *[180] * 10]
    assert found["macs"]["full"] == sum(part["macs"] for part in found["parts"]) < found["unpruned"]["full"]


EVIT = "deit_tiny_patch16_224 --method evit --schedule "
LATER = '''"""Removes after the block and does not say so."""

from torch import arange

from suite.reduction import blocks
from suite.reduction.method import Method
from suite.reduction.settings import MethodSettings


class Settings(MethodSettings):
    """None of its own."""


class Later(Method):
    """Keeps the first patches."""

    def forward_block(self, block, tokens, layer):
        tokens = blocks.run(block, tokens)
        kept = arange(tokens.count - self.counts[layer], device=tokens.x.device)
        return tokens.select(kept.expand(len(tokens.x), -1))
'''


def test_flops_always_compares_tokens(tmp_path: Path) -> None:
    """Shown tokens are those that the model computes on, or the command fails; once the method says it, they agree."""
    file = tmp_path / "later.py"
    file.write_text(LATER)
    model = ("deit_tiny_patch16_224", "--method", str(file), "--schedule", "{constant: 20, blocks: [3]}")
    code, said = flops(*model)
    assert code == 1
    wrong = "block 3: its MLP computes on 197 tokens, and by schedule and Settings.removal_stage it should be 177"
    assert wrong in said
    (tmp_path / "honest.py").write_text(
        LATER.replace('own."""\n', 'own."""\n\n    def removal_stage(self):\n        return \'post\'\n')
    )
    code, said = flops(*(str(tmp_path / "honest.py") if word == str(file) else word for word in model))
    assert code == 0, said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("resnet50", "ResNet is not supported"),
        ("deit_tiny_patch16_224 --method evit", "a schedule is needed for evit"),
        (EVIT + "'{blocks: [3]}'", "a schedule needs exactly one of removed, constant"),
        (EVIT + "'{constant: 3, blocks: [12]}'", r"some of the blocks 0 to 11, found \[12\]"),
        (EVIT + "'{keep_rate: 0.7}'", "^schedule: keep_rate needs blocks, such as blocks: 0-11"),
        (EVIT + "'{linear: 2}' --fusion lastlayer", "^fusion: unknown value 'lastlayer'; did you mean last-layer?"),
        (EVIT + "'{linear: 2}' --fusion last-layer", "this method fuses them"),
        ("deit_tiny_patch16_224 --option pretrained=true", "pretrained would load weights"),
        ("deit_tiny_patch16_224 --option num_classes=0", "num_classes is none of its options; say classes instead"),
        ("deit_tiny_patch16_224 --option img_size=7", "an image of 7 x 7 pixels is smaller than a patch of 16 x 16"),
    ],
)
def test_what_flops_refuses(arguments: str, sentence: str) -> None:
    """With a sentence for the user and no traceback."""
    result = CliRunner().invoke(app, ["flops", *shlex.split(arguments)])
    assert isinstance(result.exception, UserError), result.output
    with pytest.raises(UserError, match=sentence):
        raise result.exception
