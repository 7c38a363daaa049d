"""The contract: every method on every backbone of the matrix, and planted bugs that every check must find."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
import torch._inductor.config
from _pytest.mark import ParameterSet
from backbones import FEW
from rich.console import Console

from suite.cli import app as cli
from suite.contract import compiled
from suite.contract.backbones import MATRIX
from suite.contract.run import CHECKS, EVERY, ONE_BACKBONE, SLOW, Result, examine, judge
from suite.contract.show import show
from suite.reduction import registry
from suite.reduction.registry import modules

METHODS = sorted(modules())
PLANTED = Path(__file__).parent / "planted"
QUICK = [check for check in CHECKS if check not in SLOW]
RECORDED = json.loads((Path(__file__).parent / "method_versions.json").read_text())
COMPILED = "cropr", "vit", "compile"  # of what has not changed, the one that is compiled in the tests that are not slow


def is_changed(method: str) -> bool:
    """Whether the code of a method is another than that which is recorded to hold on every backbone."""
    file = Path(registry.load(method).__file__ or "")
    return registry.code_digest(file) != RECORDED.get(method, {}).get("checked")


def runs(changed: Collection[str]) -> list[ParameterSet]:
    """Every method on every backbone by every check; slow on most backbones, unless the method has changed."""

    def is_slow(method: str, backbone: str, check: str) -> bool:
        quick = backbone in FEW and (check not in SLOW or (method, backbone, check) == COMPILED)
        return method not in changed and not quick

    return [
        pytest.param(method, backbone, check, marks=[pytest.mark.slow] * is_slow(method, backbone, check))
        for method in METHODS
        for check in CHECKS
        for backbone in (["vit"] if check in ONE_BACKBONE else MATRIX)
    ]


def test_a_changed_method_is_tried_on_every_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one without a record; the others on one backbone for each kind of attention."""
    monkeypatch.setitem(RECORDED, "tome", RECORDED["tome"] | {"checked": "another"})
    monkeypatch.delitem(RECORDED, "evit")
    changed = {method for method in METHODS if is_changed(method)}
    assert changed == {"evit", "tome"}
    fast = [run.values for run in runs(changed) if not run.marks]
    assert {backbone for method, backbone, _ in fast if method == "tome"} == set(MATRIX)
    assert {backbone for method, backbone, _ in fast if method == "cropr"} == set(FEW)
    kinds = {(type(MATRIX[name]().blocks[0].attn).__name__, MATRIX[name]().blocks[0].attn.qkv is None) for name in FEW}
    assert len(kinds) == len(FEW)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # inductor's own import
@pytest.mark.parametrize(("method", "backbone", "check"), runs({name for name in METHODS if is_changed(name)}))
def test_method_keeps_the_contract(method: str, backbone: str, check: str) -> None:
    """Each method, on each backbone, holds each check; a skip carries its reason."""
    result = judge(method, backbone, check)
    if result.status == "skipped":
        pytest.skip(result.reason)
    assert result.status == "holds", result.reason


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_what_is_skipped_and_why(method: str) -> None:
    """For these reasons only; no method is skipped on every backbone."""
    results = list(examine(method, ["prefix", "kept"]))
    assert not any(result.status == "fails" for result in results)
    reasons = {result.reason for result in results if result.status == "skipped"}
    known = r".* needs a class token and the backbone has none|the backbone has no prefix tokens"
    known += r"|it removes nothing"
    assert all(re.fullmatch(known, reason) for reason in reasons), reasons


# ---------------------------------------------------------------- planted bugs

WITH_LAYER_SCALE = {"deit3", "dinov2"}  # dinov3's block is another type, which the method leaves alone
WITH_PREFIX = set(MATRIX) - {"vit without class token"}
ROTARY = {"dinov3", "eva02"}
ENOUGH = {  # a backbone where the bug shows, and where there is one, another where it does not
    "drops_layer_scale": ("deit3", "vit"),
    "prunes_class_token": ("vit", "vit without class token"),
    "gathers_rope_wrongly": ("dinov3", "vit"),
}

# method -> its own check, where it fails, and what fails too, with the reason why
BUGS: dict[str, tuple[str, set[str], dict[str, str]]] = {
    "drops_layer_scale": (
        "parity",
        WITH_LAYER_SCALE,
        {
            "kept": "timm's block, which is the reference there, has LayerScale",
            "gradients": "LayerScale's weights are not used, so no loss reaches them",
            "bf16": "parity again, in bfloat16",
        },
    ),
    "prunes_class_token": (
        "prefix",
        WITH_PREFIX,
        {"kept": "a patch in the class token's place is not what timm's block makes of the class token"},
    ),
    "gathers_rope_wrongly": ("kept", ROTARY, {}),
    "leaks_across_batch": ("batch", set(MATRIX), {}),
    "removes_one_too_few": ("tokens", set(MATRIX), {"bf16": "the schedule is read off the tensors there too"}),
    "auxiliary_trains_backbone": ("gradients", set(MATRIX), {}),
    "merges_without_weights": ("positions", set(MATRIX), {}),
    "keeps_a_patch_twice": ("positions", set(MATRIX), {"kept": "two tokens claim one place of the grid"}),
    "changes_weights_in_evaluation": ("keys", set(MATRIX), {}),
    "padding_attends": ("batch", set(MATRIX), {"kept": "where patches leave, timm's blocks have all others masked"}),
    "masks_with_a_logarithm": ("kept", set(MATRIX), {"gradients": "that of a logarithm is not finite at 0"}),
}


def test_there_is_a_planted_bug_of_each_kind() -> None:
    """Each file is tried, and each has a check of its own or what it does is told apart by what else fails."""
    assert {path.stem for path in PLANTED.glob("*.py")} == set(BUGS)
    assert len({(own, *further) for own, _, further in BUGS.values()}) == len(BUGS)


@pytest.mark.parametrize("all_backbones", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_fails_its_own_check(name: str, all_backbones: bool) -> None:
    """Everywhere where the bug can show, and besides that only what is listed."""
    own, where, further = BUGS[name]
    backbones = tuple(MATRIX) if all_backbones else ENOUGH.get(name, ("vit",))
    where = where & set(backbones)
    results = list(examine(str(PLANTED / f"{name}.py"), QUICK, backbones))
    failed = {check: {r.backbone for r in results if r.check == check and r.status == "fails"} for check in QUICK}
    assert where
    assert failed == {check: where if check in {own, *further} else set() for check in QUICK}
    assert all(not result.reason.startswith("it raises") for result in results)
    assert judge(str(PLANTED / f"{name}.py"), "vit", "compile").status == "holds"


# ---------------------------------------------------------------- every check can fail, in every way

METHOD = '''"""A method with one bug."""

from dataclasses import replace

import torch
from torch import nn

from suite.reduction import blocks
from suite.reduction.method import Method, UnmetNeed
from suite.reduction.settings import MethodSettings
from suite.reduction.tokens import Tokens


class Settings(MethodSettings):
    """Last-layer fusion is refused unless the label says otherwise."""

    {label}


class Buggy(Method):
    """Patches of small norm leave after the block."""

    def forward_block(self, block, tokens, layer):
        tokens, count = blocks.run(block, tokens), self.counts[layer]
        score = tokens.patches.norm(dim=-1)
        order = score.argsort(1, descending=True)
        keep, gone = order[:, : tokens.count - count], order[:, tokens.count - count :]
        {body}

    {rest}
'''
GOOD = "return tokens.select(keep) if count else tokens"
PADDED = "return tokens.without(score < score.mean(1, keepdim=True)).select(keep) if count else tokens"
PARAMETER = """def __init__(self, context, settings):
        super().__init__(context, settings)
        self.weight = nn.Parameter(torch.ones(context.width))
"""
# name -> check that must fail, its sentence, label, body, further methods
SNIPPETS: dict[str, tuple[str, str, str, str, str]] = {
    "good": ("", "", "", GOOD, ""),
    "masks in training and says so": (
        "",
        "",
        "masks_in_training = True",
        """stays = torch.zeros_like(score).scatter(1, keep, 1.0)
        return tokens if not count else tokens.mask(stays) if self.training else tokens.select(keep)""",
        "",
    ),
    "masks none in training": (
        "kept",
        "it says that it masks patches in training, and masks none; use Tokens.mask",
        "masks_in_training = True",
        "return tokens if self.training else tokens.select(keep)",
        "",
    ),
    "pads and says so": ("", "", "is_adaptive = True", PADDED, ""),
    "pads and does not say so": ("tokens", "Settings.is_adaptive must say whether it pads images", "", PADDED, ""),
    "says that it pads and does not": ("tokens", "Settings.is_adaptive must say", "is_adaptive = True", GOOD, ""),
    "lets padding represent": (
        "positions",
        r"after block 0, \d+ original patches are represented by padding",
        "is_adaptive = True",
        """tokens = tokens.select(keep) if count else tokens
        size = torch.ones(tokens.where.shape).index_fill(1, torch.tensor([5]), 0)
        return replace(tokens, size=size, padded=True)""",
        "",
    ),
    "claims to reduce nothing": (
        "tokens",
        "it declares that it reduces nothing, but a schedule changes its outputs",
        'reduces = "nothing"',
        "return replace(tokens, x=tokens.x * 0.9) if count else tokens",
        "",
    ),
    "masks nothing": ("tokens", "it masks, but a schedule changes no output", 'reduces = "masks"', "return tokens", ""),
    "masks by cutting": ("tokens", r"does not keep to its schedule: tokens \[56,", 'reduces = "masks"', GOOD, ""),
    "drops by masking": (
        "tokens",
        r"tokens \[65, 65, 65, 65\] instead of \[56,",
        "",
        "return replace(tokens, x=tokens.x * (torch.rand(1) if count else 1))",
        "",
    ),
    "claims to stashed": (
        "tokens",
        r"tokens \[56, 48, 48, 48\] instead of \[56, 48, 48, 65\] with last-layer fusion; stash patches with",
        "can_stash = lambda self: True",
        GOOD,
        "",
    ),
    "idles no patch": ("tokens", "does not keep to its schedule", 'reduces = "idles"', "return tokens", ""),
    "idles by cutting": (
        "tokens",
        r"it declares that it idles, but tokens leave the sequence: \[56, 48, 41, 35\]",
        'reduces = "idles"',
        GOOD,
        "",
    ),
    "claims more prefix": (
        "prefix",
        "it says 2 prefix tokens instead of 1",
        "",
        "return replace(tokens.select(keep), prefix=2) if count else tokens",
        "",
    ),
    "forgets positions": (
        "positions",
        r"after block 0, \d+ of 220 patches are not what was embedded",
        "",
        "return replace(tokens.select(keep), position=None) if count else tokens",
        "",
    ),
    "positions of the wrong length": (
        "positions",
        "after block 0, 220 of 256 patches|after block 0, 220 of 220 patches",
        "",
        "return replace(tokens.select(keep), position=tokens.where) if count else tokens",
        "",
    ),
    "claims a position twice": (
        "kept",
        "two tokens claim the same position",
        "",
        "return replace(tokens.select(keep), position=keep * 0) if count else tokens",
        "",
    ),
    "counts patches twice": (
        "positions",
        "after block 0, sizes of an image add up to 165 patches of 64",
        'reduces = "merges"',
        "return replace(tokens.merge(keep, gone, gone * 0), size=3.0 * torch.ones(keep.shape)) if count else tokens",
        "",
    ),
    "representatives out of range": (
        "positions",
        "after block 0, 36 of 256 original patches are represented by a token that does not exist",
        "",
        "return replace(tokens.select(keep), representative=tokens.where) if count else tokens",
        "",
    ),
    "flips representatives": (
        "positions",
        "after block 0, 216 kept patches are represented by another token",
        "",
        """tokens = tokens.select(keep)
        flipped = None if tokens.representative is None else tokens.count - 1 - tokens.representative
        return replace(tokens, representative=flipped) if count else tokens""",
        "",
    ),
    "loses what it merged": (
        "positions",
        "merged tokens after block 0, against the mean of the patches they represent, are off by",
        'reduces = "merges"',
        """tokens = tokens.merge(keep, gone, gone * 0) if count else tokens
        single = torch.ones(len(tokens.x), tokens.count) if tokens.size is None else tokens.size == 1
        return replace(tokens, x=tokens.x * nn.functional.pad(single, (tokens.prefix, 0), value=1)[..., None])""",
        "",
    ),
    "claims another size": (
        "positions",
        "after block 0, 8 tokens have another size than the number of patches they represent",
        'reduces = "merges"',
        """tokens = tokens.merge(keep, gone, (torch.arange(count) % 2).expand_as(gone)) if count else tokens
        swapped = torch.tensor([1, 0, *range(2, tokens.count)])
        return tokens if tokens.size is None else replace(tokens, size=tokens.size[:, swapped])""",
        "",
    ),
    "keeps all while it trains": (
        "tokens",
        r"in training tokens \[65, 65, 65, 65\] leave the blocks instead of \[56, 48, 41, 35\]; set masks_in_training",
        "",
        "return tokens if self.training else tokens.select(keep)",
        "",
    ),
    "mixes images while it trains": (
        "batch",
        r"outputs in training of images \[.*\] by themselves, against those within all 4, are off by",
        "",
        "return replace(tokens.select(keep), x=tokens.select(keep).x + self.training * tokens.x.mean())",
        "",
    ),
    "breaks the graph with fusion": (
        "compile",
        "it raises Unsupported|it raises UserError",
        "can_stash = lambda self: True",
        "return tokens if not count else tokens.stash(keep, gone) if self.context.fusion == 'last-layer' and "
        "score.max() > 0 else tokens.select(keep)",
        "",
    ),
    "exits": ("parity", "it raises SystemExit: 0", "", "raise SystemExit(0)", ""),
    "forgets sizes": (
        "kept",
        "kept tokens after the last block, against timm's blocks with the others masked, are off",
        'reduces = "merges"',
        GOOD,
        """def forward_block(self, block, tokens, layer):
        done, count = blocks.run(block, replace(tokens, size=None)), self.counts[layer]
        tokens = replace(done, size=tokens.size)
        order = tokens.patches.norm(dim=-1).argsort(1, descending=True)
        keep, gone = order[:, : tokens.count - count], order[:, tokens.count - count :]
        return tokens.merge(keep, gone, gone * 0) if count else tokens
""",
    ),
    "says that it forgets sizes": (
        "kept",
        "kept tokens after the last block, against timm's blocks with the others masked, are off",
        'reduces = "merges"; attends_by_size = lambda self: False',
        "return tokens.merge(keep, gone, gone * 0) if count else tokens",
        "",
    ),
    "has means that lie outside": (
        "positions",
        "merged tokens after block 0, against a mean of the patches they represent, are off",
        'reduces = "merges"; means_by_size = False',
        """if not count:
            return tokens
        tokens = tokens.merge(keep, gone, gone * 0)
        return tokens.with_patches(torch.where(tokens.size.unsqueeze(-1) > 1, 3 * tokens.patches, tokens.patches))""",
        "",
    ),
    "idles and changes": (
        "kept",
        "tokens that are not idle in block 1, against timm's block, are off by",
        'reduces = "idles"',
        "return tokens if not layer else replace(tokens, x=tokens.x * 1.01)",
        "",
    ),
    "depends on the batch size": (
        "batch",
        r"outputs in evaluation of images \[0\] by themselves, against those within all 4, are off by",
        "",
        "return replace(tokens.select(keep), x=tokens.select(keep).x * len(tokens.x)) if count else tokens",
        "",
    ),
    "weight without gradient": (
        "gradients",
        "neither the main nor the auxiliary loss reaches weight of the method",
        "",
        GOOD,
        PARAMETER,
    ),
    "stops gradients": (
        "gradients",
        "the main loss does not reach cls_token, pos_embed, patch_embed.proj.weight and 49 more",
        "",
        "return replace(tokens.select(keep), x=tokens.select(keep).x.detach()) if count else tokens",
        "",
    ),
    "leaves bfloat16": (
        "bf16",
        "it raises RuntimeError|logits are torch.float32 instead of torch.bfloat16",
        "",
        "return replace(tokens, x=tokens.select(keep).x.float()) if count else tokens",
        "",
    ),
    "overflows": (
        "bf16",
        "in bfloat16 40 of 40 logits are not finite",
        "",
        "return replace(tokens.select(keep), x=tokens.select(keep).x / (tokens.x.dtype == torch.float32))",
        "",
    ),
    "adds to the backbone": (
        "keys",
        "after evaluation the backbone's keys differ by blocks.0.extra",
        "",
        f"block.register_buffer('extra', torch.ones(1)); {GOOD}",
        "",
    ),
    "writes into the backbone": (
        "keys",
        "training changes blocks.0.attn.proj.bias",
        "",
        f"block.attn.proj.bias.data.mul_(0.9 if self.training else 1); {GOOD}",
        "",
    ),
    "folds wrongly": (
        "deploy",
        "outputs after deploy.. are|outputs after deploy.., against those before, are off by",
        "",
        "tokens = replace(tokens, x=tokens.x * self.weight[0])\n        " + GOOD,
        PARAMETER + "\n    def deploy(self):\n        self.weight.data.mul_(2)",
    ),
    "branches on values": (
        "compile",
        "it raises Unsupported|it raises UserError",
        "",
        "return tokens.select(keep) if count and score.max() > 0 else tokens",
        "",
    ),
    "counts its calls": (
        "compile",
        "it raises RecompileError",
        "",
        "self.calls = getattr(self, 'calls', 0) + 1\n        "
        "return replace(tokens.select(keep), x=tokens.select(keep).x + 0 * self.calls) if count else tokens",
        "",
    ),
    "differs when compiled": (
        "compile",
        "compiled logits of call 1, against the eager ones, are off by",
        "",
        "return replace(tokens.select(keep), x=tokens.select(keep).x * (2 if torch.compiler.is_compiling() else 1))",
        "",
    ),
    "raises": ("parity", "it raises ZeroDivisionError: division by zero", "", "return 1 / 0", ""),
    "cannot be built": (
        "parity",
        "refuses to remove nothing of 64 patches: width 48 is odd",
        "",
        GOOD,
        "def __init__(self, context, settings):\n        raise ValueError('width 48 is odd')",
    ),
}


def write(folder: Path, label: str = "", body: str = GOOD, rest: str = "") -> str:
    """A method's file."""
    path = folder / "buggy.py"
    path.write_text(METHOD.format(label=label, body=body, rest=rest))
    return str(path)


@pytest.mark.parametrize("name", SNIPPETS)
def test_every_check_can_fail(name: str, tmp_path: Path) -> None:
    """With the sentence that it should say; the same method without a bug holds them all."""
    check, sentence, *parts = SNIPPETS[name]
    file = write(tmp_path, *parts)
    if not check:
        assert {judge(file, "vit", each).status for each in (*QUICK, "compile")} == {"holds"}
        return
    result = judge(file, "vit", check)
    assert result.status == "fails"
    assert re.search(sentence, result.reason), result.reason


def test_every_check_is_failed_by_something() -> None:
    """Inductor is the same check as compile with another backend."""
    failing = {own for own, _, _ in BUGS.values()} | {check for check, *_ in SNIPPETS.values()}
    assert failing - {""} == set(CHECKS) - {"inductor"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # else it skips where it is the first
def test_inductor_fails_as_compile_does(tmp_path: Path) -> None:
    """A graph break is found there too, before anything is compiled."""
    if compiled.inductor_trouble():
        pytest.skip(compiled.inductor_trouble())
    _, _, *parts = SNIPPETS["branches on values"]
    assert judge(write(tmp_path, *parts), "vit", "inductor").status == "fails"


def test_without_a_compiler_inductor_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be compiled, that is no fault of the method; the reason says so."""
    monkeypatch.setattr(compiled, "inductor_trouble", lambda: "InvalidCxxCompiler: no C++ compiler was found")
    result = judge("random", "vit", "inductor")
    assert result.status == "skipped"
    assert result.reason == "inductor cannot compile anything here: InvalidCxxCompiler: no C++ compiler was found"


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
def test_a_missing_compiler_is_noticed() -> None:
    """By compiling the simplest function with a compiler that does not exist."""
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        torch._dynamo.reset()
        assert "compiler" in compiled.inductor_trouble.__wrapped__()


def test_a_method_that_draws_needs_its_scores_supplied(tmp_path: Path) -> None:
    """Where it is no ScoringMethod the check of the batch says so; there is nothing to supply."""
    file = write(tmp_path, "", "return tokens.select(torch.rand(score.shape).argsort(1)[:, count:])")
    assert judge(file, "vit", "batch") == Result(
        file, "vit", "batch", "skipped", "it draws, and it is no ScoringMethod whose scores could be supplied"
    )


def test_a_method_skipped_on_every_backbone_fails(tmp_path: Path) -> None:
    """Nothing is known about it; its needs are in the sentence."""
    file = write(tmp_path, rest="def __init__(self, context, settings):\n        raise UnmetNeed('needs 99 blocks')")
    *skips, last = examine(file, ["parity", "tokens"])
    assert len(skips) == 2 * len(MATRIX)
    assert all((result.status, result.reason) == ("skipped", "needs 99 blocks") for result in skips)
    assert (last.status, last.backbone) == ("fails", EVERY)
    assert last.reason == "skipped on every backbone, so nothing was checked: needs 99 blocks"


# ---------------------------------------------------------------- the command


def check_method(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of `suite check-method`."""
    monkeypatch.setattr(sys, "argv", ["suite", "check-method", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


HEAD = "from suite.reduction.method import Method\nfrom suite.reduction.settings import MethodSettings\n"
SETTINGS = "class Settings(MethodSettings):\n    pass\n"
FILES = {
    "syntax.py": ("x = 1\ndef f(:\n", r"syntax\.py, line 2: invalid syntax"),
    "nulls.py": ("x = 1\0", "nulls.py.*null bytes"),
    "notes.txt": ("x", r"notes\.txt is not a Python file; a method is one file whose name ends in \.py"),
    "empty.py": ("", "must define a class Settings that derives from MethodSettings"),
    "broken_settings.py": (f"{HEAD}{SETTINGS}    x: int = 1 / 0\n", "cannot be imported, it raises ZeroDivisionError"),
    "needy.py": (
        f"{HEAD}{SETTINGS}    x: int\nclass M(Method):\n    pass\n",
        r"class Settings cannot be built without arguments \(x\); give each a default",
    ),
    "raising.py": (f"{HEAD}{SETTINGS}raise OSError('no')", "cannot be imported, it raises OSError: no"),
    "leaving.py": (f"{HEAD}{SETTINGS}raise SystemExit(0)", "cannot be imported, it raises SystemExit: 0"),
    "lacking.py": (f"{HEAD}{SETTINGS}import nowhere_to_be_found", "it raises ModuleNotFoundError: No module named"),
    "none.py": (f"{HEAD}{SETTINGS}", "must define one subclass of Method, found 0"),
    "two.py": (
        f"{HEAD}{SETTINGS}class A(Method):\n    pass\nclass B(Method):\n    pass\n",
        r"must define one subclass of Method, found 2 \(A, B\)",
    ),
    "abstract.py": (
        f"from suite.reduction.scoring import ScoringMethod\n{HEAD}{SETTINGS}class A(ScoringMethod):\n    pass\n",
        "class A must define score",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_refused_in_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line on stderr, and nothing was run."""
    content, message = FILES[name]
    (tmp_path / name).write_text(content)
    assert check_method(monkeypatch, str(tmp_path / name)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert re.search(message, said.err), said.err


def test_bad_names_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, a missing file, and an unknown name; one bad name among good ones is enough."""
    monkeypatch.chdir(tmp_path)
    for arguments, message in {
        (str(tmp_path),): "is a folder; a method is one file, name it",
        ("missing.py",): "missing.py does not exist; give a method's file, or one of atc",
        ("tomee",): "unknown method 'tomee'; did you mean tome or pitome?",
        ("none", "croppr"): "unknown method 'croppr'; did you mean cropr?",
        ("",): "unknown method ''; valid: atc",
    }.items():
        assert check_method(monkeypatch, *arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert message in said.err
        assert said.err.count("\n") == 1


def test_a_bad_method_is_reported_by_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A planted bug, by its relative path: a matrix, sentences with backbones, exit code 1."""
    monkeypatch.setattr("suite.contract.run.CHECKS", {name: CHECKS[name] for name in ("prefix", "tokens")})
    monkeypatch.chdir(PLANTED.parent)
    assert check_method(monkeypatch, "planted/removes_one_too_few.py", "--quick") == 1
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].strip() == "planted/removes_one_too_few.py (drops)"
    row = next(line for line in lines if line.startswith(" vit without class token"))
    assert row.split()[4:] == ["FAIL", "–"]
    start = lines.index("fails  planted/removes_one_too_few.py: tokens on vit without class token")
    assert lines[start + 1].strip() == (
        "RemovesOneTooFew does not keep to its schedule: tokens [56, 49, 43, 38] instead of [55, 47, 40, 34]"
    )
    assert lines[-1] == "checks: 10 hold, 11 fail, 1 skipped"


@pytest.mark.slow
def test_the_readmes_method_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not installed, by its path: exit code 0."""
    readme = (PLANTED.parents[1] / "README.md").read_text()
    code = re.search(r"`brightest.py`:\n\n```python\n(.*?)```", readme, re.DOTALL)
    assert code
    (tmp_path / "brightest.py").write_text(code[1])
    assert check_method(monkeypatch, str(tmp_path / "brightest.py"), "--quick") == 0
    assert "checks: 109 hold, 0 fail, 1 skipped" in capsys.readouterr().out


@pytest.mark.slow
def test_without_a_name_all_methods_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row for each, with its label; the numbers are those that hold."""
    monkeypatch.setattr("suite.contract.run.CHECKS", {"parity": lambda case: None, "kept": CHECKS["kept"]})
    monkeypatch.setattr("suite.contract.run.SLOW", ())
    assert check_method(monkeypatch) == 0
    out = capsys.readouterr().out
    assert re.search(r"\n method +parity +kept *\n", out)
    assert re.search(r"\n idlevit \(idles\) +11 +10 *\n", out)
    assert re.search(r"\n none \(nothing\) +11 +– *\n", out)
    assert [line.split()[0] for line in out.splitlines() if re.search(r"\) +11 +\S+ *$", line)] == METHODS


@pytest.mark.parametrize("width", [80, 200])
def test_all_methods_matrix_fits(width: int) -> None:
    """No name is cut off, and a failure on one backbone shows."""
    everything = [
        Result(method, backbone, check, "fails" if check == "bf16" else "holds")
        for method in METHODS
        for check in CHECKS
        for backbone in MATRIX
    ]
    console = Console(width=width, file=io.StringIO(), markup=False)
    show(everything, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in METHODS]
    assert [row[0] for row in rows] == METHODS
    assert all(row.count("FAIL") == 1 and row.count(str(len(MATRIX))) == len(CHECKS) - 1 for row in rows)
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 200])
def test_one_methods_matrix_fits(width: int) -> None:
    """No cell is cut off, even where a terminal has 80 columns."""
    results = [Result("tome", backbone, check, "fails", "a [/b] c") for backbone in MATRIX for check in CHECKS]
    console = Console(width=width, file=io.StringIO(), markup=False)
    show(results, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("FAIL") == len(MATRIX) * len(CHECKS)
    assert "a [/b] c" in text
    assert "…" not in text
