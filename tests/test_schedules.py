"""Schedules: the published sequences of Cropr, EViT and IdleViT, and what is refused with a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, clamped, constant, in_multiples, keep_rate, linear, nothing, stages
from suite.study.schema import ScheduleRule


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Schedule(16, ()), "empty"),
        (lambda: Schedule(16, (4, -1, 0)), r"negative, found \[4, -1, 0\]"),
        (lambda: Schedule(16, (8, 8)), "removes 16 of 16 patches and leaves none"),
        (lambda: Schedule(16, (20, 0)), "may sum to 15 at most"),
        (lambda: in_multiples(Schedule(16, (8, 0)), 1, 32), "no multiple of 32 lies between 2 and 17 tokens, prefix"),
        (lambda: linear(196, 1, 8, -1.0), "two blocks"),
        (lambda: linear(196, 6, 8, 1.5), "from -1 .* found 1.5"),
        (lambda: ScheduleRule(constant=8, blocks=(0,), clamp=True, multiple_of=8), "multiple_of may round up"),
        *((lambda blocks=blocks: constant(196, 12, 8, blocks), "blocks 0 to 11") for blocks in ((), (12,), (-1, 3))),
        (lambda: keep_rate(196, 12, 0.7, (12,)), "blocks 0 to 11"),
        (lambda: stages(196, 12, 0.5, first=0, length=3), "stage must"),  # nobody could have left before
        (lambda: stages(196, 12, 0.5, first=12, length=3), "stage must"),
        (lambda: stages(196, 12, 0.5, first=3, length=0), "stage must"),
    ],
)
def test_impossible_schedules_are_refused(make: Callable[[], Schedule], sentence: str) -> None:
    """With the numbers."""
    with pytest.raises(ValueError, match=sentence):
        make()


def test_one_patch_may_remain() -> None:
    """The largest schedule that is allowed leaves one patch, and nothing() leaves all."""
    schedule = Schedule(16, (8, 7))
    assert schedule.entering == (16, 8)
    assert schedule.leaving == (8, 1)
    assert schedule.idle == (0, 8)
    assert nothing(16, 3).leaving == (16, 16, 16)


@pytest.mark.parametrize(
    ("patches", "count", "modules", "blocks_see"),
    [
        (196, 8, 22, [197, *range(188, 20, -8), 20]),
        (196, 8, 23, [197, *range(188, 12, -8), 12]),
        (1024, 40, 22, [1025, *range(984, 144, -40), 144]),
        (1024, 40, 23, [1025, *range(984, 104, -40), 104]),
    ],
    ids=["ViT-L/16 R=8;LLF", "ViT-L/16 R=8", "EVA-02-L/14 448 R=40;LLF", "EVA-02-L/14 448 R=40"],
)
def test_constant_is_published_cropr(patches: int, count: int, modules: int, blocks_see: list[int]) -> None:
    """Tokens that enter blocks 0 to `modules` of 24, the class token included, are those of the training logs."""
    schedule = constant(patches, 24, count, range(modules), extra_first=1)
    assert len(blocks_see) == modules + 1
    assert [1 + entering for entering in schedule.entering[: modules + 1]] == blocks_see
    assert schedule.removed == (count + 1, *[count] * (modules - 1), *[0] * (24 - modules))
    settings_class("cropr")().check(schedule, "last-layer" if modules == 22 else "none")


@pytest.mark.parametrize(
    ("depth", "count", "inflect", "removed"),
    [
        (6, 8, -1.0, (16, 12, 9, 6, 3, 0)),
        (12, 8, -1.0, (16, 14, 13, 11, 10, 8, 7, 5, 4, 2, 1, 0)),
        (6, 8, 1.0, (0, 3, 6, 9, 12, 16)),
        (6, 8, 0.0, (8,) * 6),
        (5, 6, 0.5, (3, 4, 6, 7, 9)),
    ],
)
def test_linear_is_tomes_rule(depth: int, count: int, inflect: float, removed: tuple[int, ...]) -> None:
    """Cut to whole patches, so that a decreasing schedule removes 46 instead of 48, and 91 instead of 96."""
    assert linear(196, depth, count, inflect).removed == removed


@pytest.mark.parametrize(
    ("patches", "prefix", "removed", "of", "tokens"),
    [
        (196, 1, (8, 8, 8, 0, 8), 8, [192, 184, 176, 176, 168]),  # of 189, 181, 173, 173, 165
        (196, 1, (8, 8, 8, 0, 8), 2, [190, 182, 174, 174, 166]),  # ties go up
        (196, 5, (0, 57, 0, 40), 8, [201, 144, 144, 104]),  # 201, the input, stays as it is
        (196, 1, (1, 1, 1, 5), 8, [192, 192, 192, 192]),  # 196 would be 200, more than there are
        (16, 1, (8, 7, 0, 0), 8, [8, 8, 8, 8]),  # of 9, 2: never 0
        (16, 8, (8, 7, 0, 0), 8, [16, 16, 16, 16]),  # nor 8, all of them prefix
        (16, 0, (0, 8, 7), 4, [16, 8, 4]),  # of 16, 8, 1
        (16, 1, (0, 0), 8, [17, 17]),
    ],
)
def test_multiples_by_hand(patches: int, prefix: int, removed: tuple[int, ...], of: int, tokens: list[int]) -> None:
    """Tokens that leave each block, prefix included, as rounded on paper."""
    schedule = in_multiples(Schedule(patches, removed), prefix, of)
    assert [prefix + left for left in schedule.leaving] == tokens


def test_multiples_are_the_nearest_that_can_be_reached() -> None:
    """By trying all, on every schedule of eight patches and three blocks."""
    for removed in itertools.product(range(8), repeat=3):
        if sum(removed) > 7:
            continue
        plain = Schedule(8, removed)
        for prefix, of in itertools.product((0, 1, 3), (2, 3, 4)):
            reachable = [tokens for tokens in range(prefix + 1, prefix + 9) if tokens % of == 0]
            for left, rounded in zip(plain.leaving, in_multiples(plain, prefix, of).leaving, strict=True):
                near = sorted(reachable, key=lambda tokens: (abs(tokens - left - prefix), -tokens))
                assert rounded + prefix == (near[0] if left < 8 else prefix + 8), (removed, prefix, of)


def test_constant_in_some_blocks() -> None:
    """The extra patch leaves in the first of the blocks named, in whatever order they are named."""
    schedule = constant(196, 24, 50, (17, 5, 11), extra_first=1)
    assert [1 + leaving for leaving in schedule.leaving] == [197] * 5 + [146] * 6 + [96] * 6 + [46] * 7


@pytest.mark.parametrize(
    ("fused", "rounding", "left"),
    [(True, "ceil", (139, 99, 71)), (False, "ceil", (138, 97, 68)), (False, "floor", (137, 95, 66))],
)
def test_keep_rate_is_evit(fused: bool, rounding: str, left: tuple[int, ...]) -> None:
    """DeiT-S at rate 0.7: K = 138, 98, 70 with a fused token on top, and 138, 97, 68 without fusion."""
    schedule = keep_rate(196, 12, 0.7, (3, 6, 9), rounding, fused)  # type: ignore[arg-type]
    first, second, third = left
    assert schedule.leaving == (196,) * 3 + (first,) * 3 + (second,) * 3 + (third,) * 3


def test_keep_rate_rounds_like_python() -> None:
    """0.55 * 100 is a little more than 55 in floating point, so EViT keeps 56; a rate of 1 fuses nothing."""
    assert keep_rate(100, 2, 0.55, (0,)).leaving == (56, 56)
    assert keep_rate(100, 2, 1.0, (0, 1), fused=True).removed == (0, 0)


@pytest.mark.parametrize(("rate", "active"), [(0.5, (98, 49, 24)), (0.7, (137, 96, 67))])
def test_stages_are_idlevit(rate: float, active: tuple[int, ...]) -> None:
    """Twelve layers, idle from layer 3 on, three per stage: floor(196 * rate^s) patches work, all others sit out."""
    schedule = stages(196, 12, rate, first=3, length=3)
    expected = [0, 0, 0, *(196 - count for count in active for _ in range(3))]
    assert list(schedule.idle) == expected


def test_training_script_of_idlevit() -> None:
    """The official main.py starts at layer 4, so its last stage is two layers long; a long first stage stays one."""
    assert stages(196, 12, 0.5, first=4, length=3).entering == (196,) * 4 + (98,) * 3 + (49,) * 3 + (24,) * 2
    assert stages(64, 4, 0.5, first=1, length=9).entering == (64, 32, 32, 32)


def test_tome_merges_half_at_most() -> None:
    """Half the patches of every block is the most; one more is refused, naming the block."""
    tome = settings_class("tome")()
    tome.check(Schedule(64, (32, 16, 8, 4)), "none")
    with pytest.raises(ValueError, match="block 1 has 32, so 16, but the schedule removes 17"):
        tome.check(Schedule(64, (32, 17, 0, 0)), "none")
    with pytest.raises(ValueError, match="block 0 has 65, so 32"):
        tome.check(Schedule(65, (33, 0)), "none")


@pytest.mark.parametrize(
    ("made", "removed"),
    [
        (constant(196, 12, 16, range(12), clamp=True), (*[16] * 11, 10)),  # r=16 on ViT-B/16
        (constant(196, 24, 8, range(24), clamp=True), (*[8] * 23, 6)),  # r=8 on ViT-L/16
        (linear(196, 12, 25, 0, clamp=True), (*[25] * 6, 23, 11, 6, 3, 1, 1)),
        (linear(64, 4, 20, -1, clamp=True), (32, 16, 8, 0)),
        (clamped(64, (40, 0, 100, 100)), (32, 0, 16, 8)),
        (clamped(3, (1, 1, 1)), (1, 1, 0)),
    ],
)
def test_clamped_counts_are_half_the_patches_at_most(made: Schedule, removed: tuple[int, ...]) -> None:
    """As ToMe's code cuts r; merging takes all of them."""
    assert made.removed == removed
    settings_class("tome")().check(made, "none")


def test_dynamicvits_rho_is_a_rule_of_stages() -> None:
    """Its predictors stand before blocks 3, 6 and 9 and keep int(196 rho), int(196 rho^2), int(196 rho^3) patches."""
    for rho in (0.5, 0.6, 0.7, 0.8, 0.9):
        kept = [196, *(int(196 * rho ** (stage + 1)) for stage in range(3))]
        assert stages(196, 12, rho, first=3, length=3).entering == tuple(count for count in kept for _ in range(3))


@pytest.mark.parametrize(
    ("stage", "removed", "fits"),
    [
        ("post", (8, 8, 0, 0), True),
        ("post", (8, 0, 8, 0), False),
        ("mid", (8, 0, 8, 0), True),
        ("mid", (8, 0, 0, 8), False),
        ("pre", (8, 0, 8, 0), True),
        ("pre", (8, 0, 0, 8), False),
    ],
)
def test_fusion_needs_a_last_block_that_sees_all(stage: str, removed: tuple[int, ...], fits: bool) -> None:
    """Patches that leave after the last but one block would be back at once; none may leave in the last."""
    settings = settings_class("variance")(stage=stage)
    if fits:
        settings.check(Schedule(64, removed), "last-layer")
        return
    with pytest.raises(ValueError, match="must remove nothing"):
        settings.check(Schedule(64, removed), "last-layer")


@pytest.mark.parametrize("blocks", ["3,6,9", "(3, 6, 9)", "[3,6, 9]", (3, 6, 9)])
def test_blocks_as_papers_commands_write_them(blocks: object) -> None:
    """EViT's `--drop_loc` is a tuple in a text."""
    rule = ScheduleRule.model_validate({"keep_rate": 0.7, "blocks": blocks, "fused": True})
    assert rule.resolve(196, 12).removed == (0, 0, 0, 57, 0, 0, 40, 0, 0, 28, 0, 0)
