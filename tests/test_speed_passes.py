"""What is timed: references, compiled passes, kernels and memory; and what fits."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backbones import DEPTH, build, draw_images
from torch import Tensor, nn

from suite.errors import UserError
from suite.measure import fit
from suite.measure.fit import Need, check_fits, needs, usable_memory
from suite.measure.passes import Facts, Pass, prepare
from suite.measure.profile import observe, summary
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import compare, references
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER, TimingOptions
from suite.reduction.model import reduce
from suite.reduction.registry import modules
from suite.run.on_ray import allocator

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
REMOVED = (9, 8, 8, 0)


def kernels(model: nn.Module, images: Tensor) -> tuple[str, ...]:
    """The attention kernels of a pass."""
    with torch.inference_mode():
        return observe(functools.partial(model, images), CPU)[0]


@pytest.mark.parametrize("name", ["vit", "eva02", "eva dinov3", "vit post-norm"])
def test_the_references_differ_in_their_attention_alone(name: str) -> None:
    """They share every weight and say the same; one has the fused kernel in every block, the other the eager one."""
    backbone = build(name)
    backbone.blocks[0].attn.fused_attn = False  # as where timm was told not to use the fused kernel
    images, both = draw_images(backbone), references(backbone)
    assert kernels(both[UNPRUNED], images) == ("flash-for-cpu",) * DEPTH
    assert kernels(both[UNPRUNED_EAGER], images) == ("eager",) * DEPTH
    with torch.inference_mode():
        assert (both[UNPRUNED](images) - both[UNPRUNED_EAGER](images)).abs().max() < 1e-4
    assert all(
        tensor is both[UNPRUNED_EAGER].get_parameter(key) is both[UNPRUNED].get_parameter(key)
        for key, tensor in backbone.named_parameters()
    )
    assert not backbone.blocks[0].attn.fused_attn


@pytest.mark.parametrize(
    ("method", "precision"),
    [*((method, torch.float32) for method in sorted(modules())), ("cropr", torch.bfloat16), ("tome", torch.bfloat16)],
)
def test_every_method_runs_the_fused_kernel_in_every_block(method: str, precision: torch.dtype) -> None:
    """In either precision; ToMe's mask of sizes does not push it off the kernel on a CPU. MCTF merges without."""
    model = reduce(build("vit"), method, REMOVED).deploy().to(precision)
    ahead = [method == "mctf" and count > 0 for count in REMOVED]  # there it merges the attention itself
    expected = tuple("flash-for-cpu" for early in ahead if not early)
    assert kernels(model, draw_images(model.backbone).to(precision)) == expected


def test_other_kernels_go_by_their_names() -> None:
    """Where torch is held to its plain implementation, that is what is reported."""
    model = build("vit")
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert kernels(model, draw_images(model)) == ("math",) * DEPTH
    assert summary(("math", "math")) == "math"
    assert summary(("flash", "efficient", "efficient")) == "1 flash, 2 efficient"
    assert summary(()) == "generated"


def test_memory_is_what_was_alive_at_once() -> None:
    """Two of three tensors of a MiB at a time; what lay there before is not counted."""
    size = 2**18

    def run() -> Tensor:
        first = torch.zeros(size)
        second = first.neg()
        del first
        return second.abs()

    torch.zeros(4 * size)
    assert observe(run, CPU)[1] == 2 * 4 * size
    assert observe(lambda: None, CPU)[1] == 0


def test_the_memory_of_a_pass_counts_weights_images_and_activations() -> None:
    """A linear layer: its weights, its input, its output."""
    found = prepare("linear", nn.Linear(256, 512), torch.zeros(8, 256))
    assert found.facts.memory == 4 * (256 * 512 + 512 + 8 * 256 + 8 * 512)


class Square(nn.Module):
    """Compiles to one graph."""

    def forward(self, images: Tensor) -> Tensor:
        return images * images


class Broken(nn.Module):
    """Compiles to two graphs with a break between them."""

    def forward(self, images: Tensor) -> Tensor:
        images = images * images
        torch._dynamo.graph_break()
        return images + 1


class Restless(nn.Module):
    """Makes the compiler start anew whenever `step` has changed."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until, self.step = until, 0

    def forward(self, images: Tensor) -> Tensor:
        self.step = min(self.step + 1, self.until)
        return images * self.step


def compiled(model: nn.Module) -> Pass:
    """A compiled pass, through the compiler's front end alone."""
    return prepare("model", model, torch.ones(2), compiled=True, backend="eager")


def told(model: nn.Module) -> tuple[int, int]:
    """Graphs, and how many were compiled anew."""
    found = compiled(model).facts.compiled
    assert found is not None
    return found.graphs, found.again


def test_what_the_compiler_did_is_counted() -> None:
    """Graphs, more than one where a model breaks in two, and graphs that were compiled again for the same shapes."""
    assert told(Square()) == (1, 0)
    assert told(Broken()) == (2, 0)
    assert told(Restless(until=1)) == (1, 1)


def test_models_of_one_class_do_not_share_the_compilers_limit() -> None:
    """Each is compiled once, more of them than the compiler allows for one piece of code."""
    with torch._dynamo.config.patch(recompile_limit=2):
        assert [told(Square()) for _ in range(4)] == [(1, 0)] * 4


def test_compiling_while_timed_is_a_timing_warning() -> None:
    """A model that compiles again in the rounds that count says so."""
    timing = compare({"square": compiled(Square()), UNPRUNED: compiled(Square())}, CPU, rounds=5, warmup_rounds=1)
    assert "compiled again" not in timing.timing_warnings("square")
    restless = compiled(Restless(until=7))
    timing = compare({"restless": restless, UNPRUNED: compiled(Square())}, CPU, rounds=5, warmup_rounds=1)
    assert "a model was compiled again while it was timed" in timing.timing_warnings("restless")


def test_a_model_that_cannot_be_compiled_is_named() -> None:
    """With the compiler's reason."""

    def refuse(*_arguments: object) -> Callable[..., object]:
        raise RuntimeError("no such instruction")

    with pytest.raises(UserError, match=r"^square cannot be compiled \(.*no such instruction.*leave compile out"):
        prepare("square", Square(), torch.ones(2), compiled=True, backend=refuse)  # type: ignore[arg-type]


PROGRAM = """
import resource
import sys
import numpy as np
from suite.measure.allocator import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory() == "glibc, which keeps freed memory"
def work():
    for _ in range(10):
        np.ones(2**23)  # 64 MiB
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_memory_stays_with_the_process() -> None:
    """Told at run time or at the start, tensors of any size cost page faults once, not in every pass."""

    def faults(how: str, **environment: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.check_output(command, env=environment, cwd=ROOT, text=True))

    usual = faults("leave")
    assert faults("keep") < usual / 10
    assert faults("leave", **allocator.ENVIRONMENT) < usual / 10


def test_the_need_of_a_batch_follows_from_two_small_ones() -> None:
    """Within a percent of what a batch of twelve really takes."""
    models: dict[str, nn.Module] = {"cropr": reduce(build("vit"), "cropr", REMOVED).deploy(), "vit": build("vit")}
    draw = functools.partial(draw_images, models["vit"])
    images = draw(12)
    for name, need in needs(models, draw).items():
        with torch.inference_mode():
            activations = observe(functools.partial(models[name], images), CPU)[1]
        assert need.of(12) == pytest.approx(activations + images.nbytes, rel=0.01)


def test_what_does_not_fit_is_refused_with_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that needs most is named, and the largest batch that all models have room for."""
    monkeypatch.setattr(fit, "usable_memory", lambda: 100 * 2**20)
    found = {"small": Need(0, 2**20), "large": Need(2 * 2**20, 2**21)}
    check_fits(found, 49)
    with pytest.raises(UserError) as refused:
        check_fits(found, 3000)
    assert str(refused.value) == (
        "a batch of 3000 does not fit into memory: large needs about 5.9 GiB and 100 MiB are free; "
        "the largest that fits is about --batch-size 49, in a study batch_size: 49"
    )
    with pytest.raises(UserError, match="is about --batch-size 49,"):
        check_fits(found, 50)
    with pytest.raises(UserError, match="not even one image fits"):
        check_fits({"large": Need(2**40, 2**40)}, 4)
    with pytest.raises(UserError, match=r"weights alone need 1.0 GiB and 100 MiB are free"):
        fit.weights_fit(2**30)


class Hungry(nn.Module):
    """Runs out of memory above a batch of so many images."""

    def __init__(self, most: int, message: str) -> None:
        super().__init__()
        self.most, self.message = most, message

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise RuntimeError(self.message)
        return images.clone()

    def refuse(self, *_arguments: object) -> None:
        """What a GPU says that cannot hold the weights."""
        raise torch.OutOfMemoryError(self.message)


def test_a_device_that_runs_out_of_memory_is_asked_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """With about the largest batch that all models run; other errors are nobody's memory and pass through."""
    out = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    small, odd = Hungry(5, out), Hungry(5, "something else")
    monkeypatch.setattr(
        fit, "usable_memory", lambda _device=None: 5 * 4 * 2
    )  # images of one number, and copies of them
    draw = functools.partial(torch.zeros)
    with pytest.raises(UserError, match=r"can't allocate memory.* is about --batch-size 5,"):
        fit.fitting(lambda: small(torch.zeros(64)), {"small": small}, draw, 64)
    with pytest.raises(UserError, match="not even one image fits"):
        fit.fitting(lambda: small(torch.zeros(64)), {"none": Hungry(0, out)}, draw, 64)
    with pytest.raises(RuntimeError, match="something else"):
        fit.fitting(lambda: odd(torch.zeros(64)), {"odd": odd}, draw, 64)
    full = SimpleNamespace(to=Hungry(0, "CUDA out of memory").refuse)
    with pytest.raises(UserError, match=r"the weights do not fit on cpu .*; take a smaller backbone"):
        fit.place({"large": full}, torch.device("cpu"), torch.float32)  # type: ignore[dict-item]
    assert fit.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert fit.is_out_of_memory(MemoryError())


def test_memory_is_bounded_by_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's limit counts, not only what the machine has free."""
    monkeypatch.setattr(fit, "LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr(fit, "USED", tmp_path / "memory.current")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    free = usable_memory()
    (tmp_path / "memory.max").write_text("3000\n")
    assert usable_memory() == int(fit.USABLE * 2000) < free


def test_a_model_that_may_fail_is_left_out_with_its_reason() -> None:
    """The others are timed; one that may not fail ends the measurement."""
    models: dict[str, nn.Module] = {UNPRUNED: Square(), "odd": Hungry(0, "no kernel for this")}
    options = TimingOptions(batch_size=(2,), rounds=5, warmup_rounds=1)
    timing = time_side_by_side(models, (4, 4), options, may_fail={"odd"})
    assert timing.failed == {"odd": "RuntimeError: no kernel for this"}
    assert {name: len(seconds) for name, seconds in timing.seconds.items()} == {UNPRUNED: 5}
    assert timing.facts[UNPRUNED] == Facts((), 2 * 3 * 4 * 4 * 4 * 2)
    with pytest.raises(RuntimeError, match="no kernel for this"):
        time_side_by_side(models, (4, 4), options)
    with pytest.raises(ValueError, match="too many values"):
        time_side_by_side(models, (4, 4), TimingOptions(batch_size=(2, 4)))
