"""Statistics by hand and against scipy, and what few seeds cannot show."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.report.statistics import significance
from suite.report.statistics.aggregates import Spread, inter_quartile_mean, pareto_front, spread
from suite.report.statistics.comparisons import compare, probability_of_improvement
from suite.report.statistics.groups import letters, pairwise_p, tied_groups
from suite.report.statistics.intervals import mean
from suite.report.statistics.power import seeds_needed, t_power
from suite.report.statistics.significance import correct, signed_rank_p


def generator(seed: int = 0) -> np.random.Generator:
    """What random draws come from."""
    return np.random.default_rng(seed)


def column(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scores of runs."""
    return np.array(values, dtype=float)


def test_aggregates_by_hand() -> None:
    """Quartiles of 1, 2, 4 are 1.5 and 3; the middle half of 1 to 8 is 3 to 6; below four scores nothing is cut."""
    assert spread([4, 1, 2]) == Spread(2, 1.5, 3, 3)
    with pytest.raises(ValueError, match="no values"):
        spread([])
    assert inter_quartile_mean(column(8, 1, 7, 2, 3, 6, 5, 4)) == 4.5
    assert inter_quartile_mean(column(1, 2, 3, 4, 100)) == 3
    assert inter_quartile_mean(column(1, 2, 6)) == 3
    points = [(1, 1), (2, 3), (2, 2), (3, 3), (4, 5)]
    assert pareto_front(points) == [0, 1, 4], "(cost, gain)"


def test_a_mean_is_that_of_scipy() -> None:
    """Interval and p; of ten comparisons the interval is at 99.5 %."""
    values = generator(7).normal(0.5, size=9)
    found, several, wanted = mean(values.tolist()), mean(values.tolist(), 10), stats.ttest_1samp(values, 0)
    assert found is not None
    assert several is not None
    assert (found.n, found.mean, found.p) == (9, pytest.approx(values.mean()), pytest.approx(wanted.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert (several.low, several.high) == pytest.approx(tuple(wanted.confidence_interval(0.995)))
    assert several.p == found.p


@pytest.mark.parametrize("seed", range(20))
def test_interval_and_p_say_the_same(seed: int) -> None:
    """Zero is in the interval if and only if p is 0.05 or more."""
    found = mean(generator(seed).normal(0.8, size=5).tolist())
    assert found is not None
    assert found.p is not None
    assert (found.low <= 0 <= found.high) == (found.p >= 0.05)


def test_what_has_no_spread_has_no_test() -> None:
    """One value has no interval, equal ones an interval without width; rounding of floats is no spread."""
    assert mean([3]) is None
    equal, zeros, rounded = mean([2, 2, 2]), mean([0, 0]), mean([85.45 - 85.4, 85.4 - 85.35])
    assert equal is not None
    assert zeros is not None
    assert rounded is not None
    assert (equal.low, equal.high, equal.p) == (2, 2, 0.25), "as of three signs"
    assert (zeros.p, rounded.p) == (1.0, 0.5)
    with pytest.raises(ValueError, match="finite"):
        mean([1, float("nan")])


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9, 40])
def test_the_signed_rank_test_is_that_of_scipy(n: int) -> None:
    """Without ties scipy is exact for any n."""
    for seed in range(5):
        differences = generator(seed).normal(0.4, 1, n)
        wanted = stats.wilcoxon(differences, method="exact").pvalue
        assert signed_rank_p(differences.tolist()) == pytest.approx(wanted)


def test_the_signed_rank_test_is_exact_with_ties() -> None:
    """Against every flip of signs, counted by scipy; zeros are left out, and rounding of floats makes no order."""
    for seed in range(8):
        differences = generator(seed).integers(-3, 4, size=8)
        counted = stats.PermutationMethod(n_resamples=2**8)
        wanted = stats.wilcoxon(differences[differences != 0], method=counted).pvalue
        assert signed_rank_p(differences.tolist()) == pytest.approx(wanted)
    assert signed_rank_p([0, 0]) == signed_rank_p([]) == 1
    steps = [85.4 - 85.35, 85.4 - 85.45]
    assert abs(steps[1]) < steps[0], "the same step, but for rounding"
    assert signed_rank_p([*steps, 1, 2, 3, 4]) == 6 / 64, "as with 1 and -1; with ranks of their own 4 / 64"
    with pytest.raises(ValueError, match="finite"):
        signed_rank_p([1, float("nan")])


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_many_differences_are_as_if_exact(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond `EXACT` differences, some of them equal, the normal distribution gives the exact p to 0.002."""
    differences = np.random.default_rng(3).normal(shift, 1, 2 * significance.EXACT).round(1).tolist()
    near = signed_rank_p(differences)
    monkeypatch.setattr(significance, "EXACT", len(differences))
    assert near != signed_rank_p(differences)
    assert near == pytest.approx(signed_rank_p(differences), abs=2e-3)


def test_holm_by_hand_and_between_other_corrections() -> None:
    """0.01, 0.03, 0.04 become 0.03, 0.06, 0.06; never below Benjamini and Hochberg, never above Bonferroni."""
    assert correct([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct([0.6, 0.5]) == [1.0, 1.0]
    assert correct([]) == []
    ps = generator(3).uniform(size=12) ** 3
    corrected = np.array(correct(ps.tolist()))
    assert (corrected >= stats.false_discovery_control(ps) - 1e-12).all()
    assert (corrected <= np.minimum(1, 12 * ps)).all()
    assert corrected.min() == pytest.approx(12 * ps.min())
    assert (np.argsort(corrected, kind="stable") == np.argsort(ps)).all() or len(set(corrected)) < 12
    for wrong in (1.2, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            correct([0.5, wrong])


def test_a_comparison_by_hand() -> None:
    """Only seeds of both count, paired: differences of 1, 2 and -4."""
    found = compare({0: 11.0, 1: 22, 2: 26, 7: 0}, {2: 30.0, 1: 20, 0: 10, 8: 0})
    assert (found.n, found.differences, found.gap, found.wilcoxon) == (3, (1, 2, -4), pytest.approx(-1 / 3), 1.0)
    assert found.improvement == pytest.approx((1 + 2 + 2) / 9), "pairs won: 11 over 10, 22 and 26 over 10 and 20"
    assert found.p == pytest.approx(stats.ttest_1samp([1, 2, -4], 0).pvalue)
    assert compare({seed: 5.0 + seed for seed in range(6)}, dict.fromkeys(range(6), 1.0)).wilcoxon == 0.03125


def test_improvement_is_mann_and_whitneys() -> None:
    """U as a share of all pairs, ties one half."""
    own, other = generator(1).integers(0, 5, size=4) * 1.0, generator(2).integers(0, 5, size=6) * 1.0
    wanted = stats.mannwhitneyu(own, other).statistic / 24
    assert probability_of_improvement(own, other) == pytest.approx(wanted)


def test_the_interval_of_improvement_is_no_narrower_for_weaker_evidence() -> None:
    """Three wins of three leave 0.025^(1/3) possible; two swapped neighbours leave more, and all ties leave most."""
    other = {0: 0.0, 1: 1, 2: 2}
    own = ({0: 3.0, 1: 4, 2: 5}, {0: 1.5, 1: 4, 2: 5}, dict.fromkeys(range(3), 1.0))
    clear, swapped, tied = (compare(one, other).improvement_interval for one in own)
    assert clear is not None
    assert swapped is not None
    assert tied is not None
    assert (clear.low, clear.high) == (pytest.approx(0.025 ** (1 / 3)), 1)
    assert tied.low < swapped.low < clear.low
    assert tied.low == pytest.approx(1 - tied.high), "as much is won as lost"
    half = compare({0: 2.0, 1: -1.0}, {0: 0.0, 1: 1.0}).improvement_interval
    exact = stats.binomtest(1, 2).proportion_ci(0.95)
    assert half
    assert (half.low, half.high) == (pytest.approx(exact.low), pytest.approx(exact.high)), "half of two seeds is one"


def test_one_seed_is_no_test() -> None:
    """A gap, and neither interval nor p; no seed of both is refused."""
    found = compare({0: 2.0}, {0: 1.0, 1: 1.0})
    assert (found.n, found.gap) == (1, 1.0)
    assert (found.p, found.found, found.wilcoxon, found.improvement_interval) == (None, None, None, None)
    with pytest.raises(ValueError, match="no seed"):
        compare({0: 2.0}, {1: 1.0})


def by_seed(*values: float) -> dict[int, float]:
    """Scores of the seeds 0, 1, 2, ..."""
    return dict(enumerate(values))


def test_methods_far_apart_differ_with_three_seeds() -> None:
    """One in between that spreads ties with both; a method without scores is in no group."""
    far = {"c": by_seed(0, 0.2, 0.1), "a": by_seed(90, 90.1, 90.4)}
    assert tied_groups(far | {"absent": {}}) == [("a",), ("c",)]
    assert letters(tied_groups(far | {"b": by_seed(0.1, 95, 40)})) == {"a": "a", "b": "ab", "c": "b"}
    assert tied_groups({}) == []
    assert pairwise_p({"one": by_seed(1.0), "other": by_seed(2.0)}) == {("one", "other"): 1.0}


def test_a_method_can_be_in_two_groups() -> None:
    """The one in the middle differs from neither end, and the ends differ from each other."""
    top, bottom = [10.0 + seed for seed in range(10)], [0.1 + 0.5 * seed for seed in range(10)]
    middle = [bottom[seed] - 1 - seed if seed % 2 else top[seed] + 0.5 + seed / 3 for seed in range(10)]
    groups = tied_groups({"top": by_seed(*top), "bottom": by_seed(*bottom), "middle": by_seed(*middle)})
    assert groups == [("top", "middle"), ("middle", "bottom")]
    assert letters(groups) == {"top": "a", "middle": "ab", "bottom": "b"}


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_all_largest_ones(seed: int) -> None:
    """Against every subset of five methods that holds no two which differ."""
    draws = generator(seed)
    scores = {name: by_seed(*(draws.normal(level, 1.2, 12))) for level, name in enumerate("vwxyz")}
    pairs = list(itertools.combinations(scores, 2))
    ps = correct([stats.ttest_rel([*scores[a].values()], [*scores[b].values()]).pvalue for a, b in pairs])
    apart = {frozenset(pair) for pair, p in zip(pairs, ps, strict=True) if p < 0.05}
    subsets = [frozenset(some) for size in range(1, 6) for some in itertools.combinations(scores, size)]
    free = [some for some in subsets if not any(pair <= some for pair in apart)]
    wanted = {some for some in free if not any(some < larger for larger in free)}
    groups = tied_groups(scores)
    assert apart
    assert {frozenset(group) for group in groups} == wanted
    assert len(groups) == len(wanted)
    centre = {name: float(np.median(list(own.values()))) for name, own in scores.items()}
    assert all(sorted(group, key=lambda name: -centre[name]) == list(group) for group in groups)


def test_power_by_the_noncentral_t() -> None:
    """A difference of half a standard deviation takes 34 pairs for a power of 0.8, as textbooks have it."""
    assert t_power(33, 0.5, 1) < 0.8 < t_power(34, 0.5, 1) == pytest.approx(0.8078, abs=5e-4)
    assert t_power(34, -0.5, 1) == pytest.approx(t_power(34, 0.5, 1))
    assert t_power(34, 0.5, 1, comparisons=10) == pytest.approx(t_power(34, 0.5, 1, alpha=0.005))
    for seeds, difference, sd in ((120, 1, 1), (20, 2, 1), (8, 2, 0.5)):
        assert t_power(seeds, difference, sd) == pytest.approx(1, abs=0.01), (
            "where the other tail cannot be computed too"
        )


def test_seeds_needed_are_the_fewest() -> None:
    """One seed less has not the power; of many comparisons the first step of Holm's correction counts."""
    needed = seeds_needed(0.5, 0.5)
    assert t_power(needed - 1, 0.5, 0.5) < 0.8 <= t_power(needed, 0.5, 0.5)
    assert seeds_needed(-0.5, 0.5) == needed
    assert seeds_needed(0.5, 0.5, comparisons=10) == seeds_needed(0.5, 0.5, alpha=0.005) > needed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"difference": 0, "sd": 1}, "the difference must not be 0"),
        ({"difference": 1, "sd": 0}, "standard deviation be above 0"),
        ({"difference": float("nan"), "sd": 1}, "difference nan"),
        ({"difference": 1, "sd": 1, "alpha": 0.9}, "alpha <= power"),
        ({"difference": 1, "sd": 1, "power": 1.0}, "power 1"),
        ({"difference": 1, "sd": 1, "comparisons": 0}, "at least one"),
        ({"difference": 0.001, "sd": 1}, "more than 300 seeds"),
        ({"difference": 1, "sd": 1, "alpha": 1e-200}, "more than 300 seeds"),
    ],
)
def test_questions_without_an_answer_are_refused(words: dict[str, Any], message: str) -> None:
    """The sentence names the value."""
    with pytest.raises(UserError, match=message):
        seeds_needed(**words)


def test_the_command_power() -> None:
    """It says the seeds that are needed, and the power of others."""
    words = ["power", "--difference", "1", "--sd", "0.5", "--comparisons", "10"]
    shown, found = (CliRunner().invoke(app, [*words, *more]).output for more in ([], ["--json"]))
    needed = seeds_needed(1, 0.5, comparisons=10)
    assert f"* {needed} seeds find a difference of 1" in shown
    assert json.loads(found)["needed"] == needed
    assert json.loads(found)["power"][str(needed)] == t_power(needed, 1, 0.5, comparisons=10)
    assert "nan" not in shown
    refused = CliRunner().invoke(app, ["power", "--difference", "0", "--sd", "1"])
    assert isinstance(refused.exception, UserError)
