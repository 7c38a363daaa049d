"""Costs by closed formula: by hand, against torch's counter in every part; and the cross-check finds what is wrong."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from backbones import BACKBONES, WIDTH, build, draw_images
from timm.layers import RmsNorm
from torch import nn
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.measure import cost
from suite.measure.cost import Part, account, total
from suite.measure.crosscheck import Compared, compare, disagreements
from suite.measure.macs import Macs, count_macs
from suite.measure.norms import counts, norm_operations
from suite.reduction import shape
from suite.reduction.backbone import create_backbone
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules
from suite.reduction.settings import MethodSettings
from suite.tasks.segmentation.pixels import PixelModel

METHODS = sorted(modules())
REMOVED = (9, 8, 0, 0)
EVERY = ("vit", "deit distilled", "vit with registers", "eva02")  # backbones that see every method and fusion
TASKS = {
    "classification": ("none", "last-layer"),
    "segmentation": ("none", "last-layer", "concatenation", "logits", "cross-attention"),
}


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


def assert_exact(model: ReducedModel, dense: bool = False) -> None:
    """Formula and counter are equal, to the last product, in each part; tokens are those of the schedule."""
    compared = compare(model, dense)
    assert compared
    assert [part for part in compared if part.formula != part.counted] == []
    assert disagreements(model, compared) == []


# ---------------------------------------------------------------- by hand


def test_a_tiny_vit_by_hand() -> None:
    """Two blocks of width 8 on 4 patches of 4 x 4 pixels and a class token; 2 patches leave after the first block.

    Patch embedding 4 * 48 * 8. Block of T tokens: T * 8 * 24, 2 T^2 * 8, T * 8 * 8, 2 T * 8 * 16; T is 5, then 3.
    """
    options = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "mlp_ratio": 2}
    model = reduce(create_backbone("vit_tiny_patch16_224", options, classes=3), "random", (2, 0)).deploy()
    assert account(model) == [
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
    assert total(account(model)) == Macs(6200, 5656)
    assert account(model, dense=True)[-1] == Part("read-out", "head", 4 * 24)


def test_a_gated_mlp_by_hand() -> None:
    """EVA-02's SwiGLU has three matrices of width times hidden channels: 65 * 48 * 96 * 3 in an unpruned block."""
    mlp = [part.macs for part in account(deployed("eva02", "none")) if part.what == cost.MLP]
    assert mlp == [65 * 48 * 96 * 3] * 4


def test_what_each_method_adds_by_hand() -> None:
    """In block 0, which 64 patches and a class token enter and 9 patches leave; width 48, 4 heads."""
    added = {
        method: sum(p.macs for p in account(deployed("vit", method)) if p.place == "block 0" and p.what == cost.METHOD)
        for method in METHODS
    }
    expected = {
        "none": 0,
        "random": 0,
        "variance": 0,
        "idlevit": 0,  # nobody is idle yet
        "cropr": 65 * 48,
        "attention-topk": 65 * 48,
        "evit": 65 * 48 + 10 * 48,  # 10 patches become the fused token
        "tome": 32 * 32 * 12,
    }
    assert {method: added[method] for method in expected} == expected
    idle = {p.what: p.macs for p in account(deployed("vit", "idlevit")) if p.place == "block 1"}
    assert idle[cost.METHOD] == (48 + 48 + 65) * 48  # the class token's query, the keys folded into it, and scores
    assert idle[cost.PROJECTION] == 56 * 48 * 3 * 48
    assert idle[cost.OUTPUT] == 56 * 48 * 48
    turned = {p.what: p.macs for p in account(deployed("eva02", "idlevit")) if p.place == "block 1"}
    assert turned[cost.METHOD] == 65 * 48  # keys are rotated, so they must be there
    assert turned[cost.PROJECTION] == 65 * 48 * 3 * 48  # of idle tokens too


# ---------------------------------------------------------------- against torch's counter


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("method", METHODS)
def test_formula_equals_the_counter(method: str, name: str, task: str) -> None:
    """Of every method, with every fusion that it can have, read out by class and by pixel, exactly in every part."""
    counted = 0
    for fusion in TASKS[task]:
        try:
            model = deployed(name, method, fusion)
        except ValueError as error:
            assert "fusion needs removed patches to be stashed" in str(error)  # noqa: PT017
            continue
        assert_exact(model, task == "segmentation")
        counted += 1
    assert counted >= (1 if task == "classification" else 2)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in EVERY])
def test_formula_equals_the_counter_on_every_backbone(name: str) -> None:
    """Gates, grouped queries, fused and separate projections, norms, scales and rotary tables of every kind."""
    for method in ("none", "cropr", "idlevit", "tome"):
        if method == "idlevit" and on_meta(name).cls_token is None:
            continue
        assert_exact(deployed(name, method))


@pytest.mark.parametrize("stage", ["pre", "mid", "post"])
@pytest.mark.parametrize("action", ["prune", "fuse"])
def test_formula_equals_the_counter_at_every_stage(action: str, stage: str) -> None:
    """Who scores attention before a block projects all tokens once more."""
    for method in ("attention-topk", "evit", "random", "variance", *(["cropr"] if action == "prune" else [])):
        assert_exact(deployed("vit with registers", method, stage=stage, action=action))
    again = {
        spot: account(deployed("vit", "attention-topk", stage=spot, action=action))[1].macs for spot in ("pre", "post")
    }
    assert again["pre"] == (65 + 56) * 3 * WIDTH**2
    assert again["post"] == 65 * 3 * WIDTH**2


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("tome", {"weighted_pooling": True}),
        ("tome", {"weighted_pooling": False, "proportional_attention": False}),
        ("cropr", {"queries": 64, "heads": 4, "projections": ("query", "key", "value"), "pre_norm": True}),
        ("evit", {"fuse_single": (2,)}),
    ],
)
def test_formula_equals_the_counter_with_settings(method: str, settings: dict[str, object]) -> None:
    """Merged tokens weigh in average pooling; deployed queries and projections are one vector; a patch fuses alone."""
    for name in ("vit", "vit with registers, average"):
        assert_exact(deployed(name, method, **settings))
    pooled = account(deployed("vit with registers, average", "tome"))[-1].macs
    assert pooled - account(deployed("vit with registers", "tome"))[-1].macs == (4 + 1 + 64 - 17) * WIDTH


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("method", ["cropr", "evit", "idlevit", "none", "tome"])
def test_formula_equals_the_counter_on_real_tensors(method: str, dense: bool) -> None:
    """On a processor, whose fused kernel is another one, with weights; `count_macs` says the same of four images."""
    model = reduce(build("vit"), method, REMOVED).deploy()
    assert_exact(model, dense)
    run = PixelModel(model) if dense else model
    assert count_macs(run, draw_images(model.backbone)) == total(account(model, dense))


# ---------------------------------------------------------------- norms


@torch.inference_mode()
def operations_seen(model: ReducedModel, dense: bool = False) -> int:
    """Five for each value that enters a LayerNorm of the running model, four if it has no weights."""
    seen: list[int] = []
    hooks = [
        norm.register_forward_pre_hook(
            lambda norm, inputs: seen.append(inputs[0].numel() * (4 if norm.weight is None else 5))
        )
        for norm in model.modules()
        if isinstance(norm, nn.LayerNorm)
    ]
    try:
        (PixelModel(model) if dense else model)(torch.zeros(1, 3, *model.backbone.patch_embed.img_size, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(seen)


def test_norms_by_hand() -> None:
    """Two norms in each of 4 blocks of width 48 and one after them, on 65 tokens, or on 56, 48, 48 and 48 of them.

    EVA-02 has a norm of 96 channels inside its MLP, and its last norm takes one vector.
    """
    left = 56 + 48 + 48 + 48
    assert norm_operations(deployed("vit", "random", stage="pre")) == 5 * 48 * (2 * left + 48)
    assert norm_operations(deployed("vit", "none")) == 5 * 48 * (2 * 4 * 65 + 65)
    assert norm_operations(deployed("eva02", "none")) == 5 * (4 * 65 * (2 * 48 + 96) + 48)
    full, linear, with_norms, linear_with_norms = counts(deployed("vit", "none"))
    assert (full, linear) == total(account(deployed("vit", "none")))
    assert with_norms - full == linear_with_norms - linear == 5 * 48 * 9 * 65


@pytest.mark.parametrize("name", BACKBONES)
def test_norms_are_those_of_the_running_model(name: str) -> None:
    """Before, in and after the blocks of every backbone; idle tokens pass the first norm of a block as well."""
    for method in ("none", "cropr", "idlevit", "tome"):
        if method == "idlevit" and on_meta(name).cls_token is None:
            continue
        model = deployed(name, method)
        assert norm_operations(model) == operations_seen(model) > 0, method


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("method", ["cropr", "evit", "idlevit", "none", "tome", "variance"])
def test_norms_of_every_read_out(method: str, name: str) -> None:
    """With every fusion that a method can have: removed patches may be back, and logits of them have own norms."""
    counted = 0
    for task, fusions in TASKS.items():
        for fusion in fusions:
            dense = task == "segmentation"
            if dense and name == "deit distilled":
                continue
            try:
                model = deployed(name, method, fusion)
            except ValueError as error:
                assert "fusion needs removed patches to be stashed" in str(error)  # noqa: PT017
                continue
            assert norm_operations(model, dense) == operations_seen(model, dense), (task, fusion)
            counted += 1
    assert counted >= 1


@pytest.mark.parametrize("stage", ["pre", "mid", "post"])
def test_norms_at_every_stage(stage: str) -> None:
    """Who scores attention before a block normalises all tokens once more."""
    for name in ("vit", "vit with query and key norm", "vit post-norm"):
        for method, settings in (("attention-topk", {}), ("evit", {"action": "fuse"}), ("cropr", {})):
            model = deployed(name, method, stage=stage, **settings)
            assert norm_operations(model) == operations_seen(model), (name, method)


def test_norms_without_weights_and_other_norms() -> None:
    """Four operations where nothing is scaled; an RMSNorm is none that fvcore knows."""
    plain = build("vit", norm_layer=functools.partial(nn.LayerNorm, elementwise_affine=False))
    assert norm_operations(reduce(plain, "none").deploy()) == 4 * 48 * 9 * 65
    assert norm_operations(reduce(build("vit", norm_layer=RmsNorm), "none").deploy()) == 0


# ---------------------------------------------------------------- the cross-check can fail


def sentences(model: ReducedModel) -> list[str]:
    """What the cross-check says."""
    return disagreements(model, compare(model))


def test_a_method_that_hides_what_it_costs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores are a thousandth of the model, and still the part is named."""
    model = deployed("vit", "cropr")
    monkeypatch.setattr(type(model.method), "score_macs", lambda self, patches, block: 0)
    found = sentences(model)
    assert [sentence.split(":")[0] for sentence in found] == ["block 0, method", "block 1, method"]
    assert found[0].endswith(
        "0 MACs by formula, 3,120 counted by torch, 1e+02 % apart; the method must say in own_cost what it computes"
    )


def test_a_wrong_formula_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gated MLP taken for a plain one lacks a third of its products in every block."""
    monkeypatch.setattr(shape, "GATED", dict.fromkeys(shape.GATED, False))
    found = sentences(deployed("eva02", "none"))
    assert [sentence.split(":")[0] for sentence in found] == [f"block {layer}, MLP" for layer in range(4)]
    assert "599,040 MACs by formula, 898,560 counted by torch, 33 % apart" in found[0]


def test_patches_that_leave_elsewhere_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """ToMe merges between attention and MLP; were it said to merge after the block, its MLP would have more tokens."""
    model = deployed("vit", "tome")
    monkeypatch.setattr(MethodSettings, "leaves", lambda self: "post")
    found = sentences(model)
    wanted = "block 0: its MLP computes on 56 tokens, and by schedule and Settings.leaves it should be 65"
    assert found[0] == wanted
    assert any(sentence.startswith("block 0, MLP: ") for sentence in found)


@pytest.mark.parametrize(("counted", "count"), [(1000, 0), (1005, 0), (995, 0), (1006, 1), (994, 1), (0, 1)])
def test_half_a_percent_may_stay_unexplained(counted: int, count: int) -> None:
    """Of each part, not only of the whole."""
    model = deployed("vit", "none")
    assert len(disagreements(model, [Compared("block 0", cost.MLP, 1000, counted)])) == count
    assert len(disagreements(model, [Compared("block 0", cost.MLP, counted, 1000)])) == count


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("vit_base_r50_s16_224", {}, "the cost of patch embedding HybridEmbed is not known; known: PatchEmbed"),
        ("vit_base_patch16_siglip_224", {}, "the cost of attention pooling is not known; choose another: --option"),
    ],
)
def test_unknown_parts_are_refused(name: str, options: dict[str, object], sentence: str) -> None:
    """By name, rather than left out of the sum."""
    with torch.device("meta"):
        backbone = create_backbone(name, options, classes=3)
        model = reduce(backbone, "none")
    with pytest.raises(UserError, match=sentence):
        account(model)


# ---------------------------------------------------------------- suite flops


def flops(*arguments: str) -> tuple[int, str]:
    """Exit code, and what `suite flops` says, on one line."""
    result = CliRunner().invoke(app, ["flops", *arguments])
    said = result.output + (str(result.exception) if isinstance(result.exception, UserError) else "")
    return result.exit_code, " ".join(said.split())


def test_flops_of_a_published_model() -> None:
    """ViT-L/16 with Cropr's R=8 and last-layer fusion: 61.55 GMACs in full unpruned, and the tokens of the log."""
    rule = ("--constant", "8", "--blocks", "0-21", "--extra-first", "1")
    code, said = flops("vit_large_patch16_224", "--method", "cropr", *rule, "--fusion", "last-layer", "--cross-check")
    assert code == 0, said
    assert "196 patches and 1 prefix tokens, 24 blocks of width 1024, 1000 classes" in said
    assert "block 0 197 197 2.559 2.479" in said
    assert "block 22 20 20" in said
    assert "block 23 197 197" in said
    assert "full 34.67 69.33 56.3 % linear 33.91 67.81 56.8 %" in said
    assert "agree within 0.5 % in each of 120 parts" in said


def test_flops_with_norms_of_a_published_model() -> None:
    """ToMe's ViT-H/14 is published as 167.4, which only the reading with norms gives."""
    code, said = flops("vit_huge_patch14_224")
    assert code == 0, said
    assert "full 167.3 334.6" in said
    assert "as fvcore counts them): full 167.402, linear 161.991 GMACs" in said


def test_flops_of_what_removes_nothing() -> None:
    """A schedule without a method removes nothing, and the line says so; a head may be missing."""
    rule = ("--constant", "8", "--blocks", "0-3")
    code, said = flops("deit_tiny_patch16_224", "--method", "none", *rule)
    assert code == 0, said
    assert f"none, patches removed per block: {' '.join('0' * 12)} " in said
    code, said = flops("deit_tiny_patch16_224", "--classes", "0", "--cross-check")
    assert code == 0, said
    assert ", 0 classes" in said
    assert "read-out" not in said


def test_flops_of_a_fusing_method_in_multiples() -> None:
    """EViT's fused token counts: of 140, 100 and 72 tokens the first two become multiples of 8, and torch agrees."""
    rule = ["--keep-rate", "0.7", "--blocks", "3,6,9", "--fused", "--multiple-of", "8"]
    code, said = flops("deit_small_patch16_224", "--method", "evit", *rule, "--cross-check")
    assert code == 0, said
    assert "removed per block: 0 0 0 53 0 0 40 0 0 32 0 0" in said
    for block, tokens in (("3", "197 144"), ("6", "144 104"), ("9", "104 72")):
        assert f"block {block} {tokens}" in said


def test_flops_of_a_dense_model() -> None:
    """EVA-02-L at 512 pixels takes seconds, because it has no weights."""
    sizes = ("--option", "img_size=512", "--option", "patch_size=16", "--classes", "150")
    code, said = flops("eva02_large_patch14_224", *sizes, "--task", "segmentation", "--cross-check")
    assert code == 0, said
    assert "1024 patches and 1 prefix tokens" in said
    assert "read-out: head 0.1573 0.1573 +0 %" in said


METHOD = '''"""Scores by a product that it does not own up to."""

from suite.reduction.scoring import ScoringMethod
from suite.reduction.settings import ScoringSettings


class Settings(ScoringSettings):
    """None of its own."""


class Secretive(ScoringMethod):
    """score_n = sum over patches of x_n . x_m."""

    def score(self, tokens, projection, layer):
        return (tokens.patches @ tokens.patches.transpose(1, 2)).sum(-1)
'''


def test_flops_fails_on_a_miscount(tmp_path: Path) -> None:
    """Exit code 1 and a sentence that names the part; without the cross-check nothing is claimed."""
    file = tmp_path / "secretive.py"
    file.write_text(METHOD)
    model = ("deit_tiny_patch16_224", "--method", str(file), "--constant", "20", "--blocks", "3")
    code, said = flops(*model)
    assert (code, "--cross-check compares it with torch's counter" in said) == (0, True)
    code, said = flops(*model, "--cross-check")
    assert code == 1
    assert "formula and model disagree: block 3, method: 0 MACs by formula, 7,375,872 counted by torch" in said


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
    model = ("deit_tiny_patch16_224", "--method", str(file), "--constant", "20", "--blocks", "3")
    code, said = flops(*model)
    assert code == 1
    assert "block 3: its MLP computes on 197 tokens, and by schedule and Settings.leaves it should be 177" in said
    (tmp_path / "honest.py").write_text(
        LATER.replace('own."""\n', 'own."""\n\n    def leaves(self):\n        return \'post\'\n')
    )
    code, said = flops(*(str(tmp_path / "honest.py") if word == str(file) else word for word in model), "--cross-check")
    assert code == 0, said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("deit_smal_patch16_224", "timm has no model 'deit_smal_patch16_224'; did you mean"),
        ("resnet50", "ResNet is not supported"),
        ("deit_tiny_patch16_224 --method evitt --constant 3", "unknown method 'evitt'; did you mean evit"),
        ("deit_tiny_patch16_224 --method evit", "evit removes nothing without a schedule; give one of --removed"),
        ("deit_tiny_patch16_224 --method evit --blocks 3", "a schedule needs exactly one of removed, constant"),
        ("deit_tiny_patch16_224 --method evit --constant 3 --blocks 12", "some of the blocks 0 to 11, found \\[12\\]"),
        ("deit_tiny_patch16_224 --method evit --constant 3 --blocks 9-x", "'9-x' is neither a number nor a range"),
        ("deit_tiny_patch16_224 --method evit --removed 3,4", "2 counts for a backbone of 12 blocks"),
        (
            "deit_tiny_patch16_224 --method evit --linear 2 --setting stag=after",
            "stag: unknown key; did you mean stage",
        ),
        ("deit_tiny_patch16_224 --method evit --linear 2 --setting stage", "--setting 'stage' is not NAME=VALUE"),
        ("deit_tiny_patch16_224 --method evit --linear 2 --fusion last-layer", "this method fuses them"),
        ("deit_tiny_patch16_224 --method cropr --linear 2 --fusion logits", "fusion logits is for segmentation"),
        ("deit_tiny_patch16_224 --option pretrained=true", "pretrained would load weights"),
        ("deit_tiny_patch16_224 --option num_classes=0", "num_classes is none of its options; say classes instead"),
        ("deit_tiny_patch16_224 --option img_size=7", "an image of 7 x 7 pixels is smaller than a patch of 16 x 16"),
        ("deit_tiny_patch16_224 --option depht=3", "unexpected keyword argument 'depht'"),
        ("deit_tiny_patch16_224 --task detection", "task: Input should be 'classification' or 'segmentation'"),
    ],
)
def test_what_flops_refuses(arguments: str, sentence: str) -> None:
    """With a sentence for the user and no traceback."""
    result = CliRunner().invoke(app, ["flops", *arguments.split()])
    assert isinstance(result.exception, UserError), result.output
    with pytest.raises(UserError, match=sentence):
        raise result.exception
