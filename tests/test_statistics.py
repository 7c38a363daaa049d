"""Statistics by hand and against scipy, and what few seeds cannot show."""

import itertools
import re
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
from suite.report.statistics.intervals import interval
from suite.report.statistics.power import fewest_seeds, seeds_needed, simulated_power, t_power
from suite.report.statistics.significance import correct, signed_rank_p, smallest_p


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


def test_an_interval_is_that_of_scipy_and_of_its_generator() -> None:
    """The same seed makes the same interval."""
    values = generator(7).normal(size=9)
    found, again = (interval(values, generator(1)) for _ in range(2))
    wanted = stats.bootstrap((values,), np.median, n_resamples=2000, method="percentile", rng=generator(1))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval))
    assert found == again


def test_one_run_has_no_interval_and_wrong_scores_are_refused() -> None:
    """Rather none than one without width."""
    assert interval(column(3), generator()) is None
    for wrong in (np.zeros((3, 1)), np.zeros(0), column(1, float("nan"))):
        with pytest.raises(ValueError, match="finite and of shape"):
            interval(wrong, generator())


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_few_runs_cannot_reach_the_level(runs: int) -> None:
    """Of 300 studies the interval covers the true median in no more than `reachable` says, give or take chance."""
    draws, covered = generator(runs), 0
    for _ in range(300):
        found = interval(draws.normal(size=runs), draws)
        assert found is not None
        assert found.reachable == 1 - 2 ** (1 - runs) < 0.95
        covered += found.low <= 0 <= found.high
    assert covered / 300 == pytest.approx(found.reachable, abs=0.08)


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


def test_the_smallest_p_by_hand() -> None:
    """Five seeds reach 2 of 32 outcomes and no less, so p < 0.05 takes six; eleven comparisons take nine."""
    assert [smallest_p(n) for n in (1, 2, 3, 5, 6)] == [1, 0.5, 0.25, 0.0625, 0.03125]
    for n in range(1, 12):
        assert signed_rank_p(list(range(1, n + 1))) == smallest_p(n)
        assert min(signed_rank_p(flips) for flips in itertools.product([-2.0, 1.0], repeat=min(n, 6))) >= smallest_p(n)
    assert smallest_p(6, 11) == 11 / 32
    assert smallest_p(3, 11) == 1
    assert (fewest_seeds(), fewest_seeds(comparisons=11), fewest_seeds(0.0625)) == (6, 9, 6)


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
    """Only seeds of both count, paired: gaps of 1, 2 and -4; p is that of signs and ranks."""
    found = compare({0: 11.0, 1: 22, 2: 26, 7: 0}, {2: 30.0, 1: 20, 0: 10, 8: 0}, generator())
    assert (found.n, found.gap, found.p) == (3, 1.0, 1.0)
    assert found.improvement == pytest.approx((1 + 2 + 2) / 9), "pairs won: 11 over 10, 22 and 26 over 10 and 20"
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (-4, 2)
    everywhere = compare({seed: 5.0 + seed for seed in range(6)}, dict.fromkeys(range(6), 1.0), generator())
    assert (everywhere.p, everywhere.gap) == (0.03125, 6.5)


def test_improvement_is_mann_and_whitneys() -> None:
    """U as a share of all pairs, ties one half."""
    own, other = generator(1).integers(0, 5, size=4) * 1.0, generator(2).integers(0, 5, size=6) * 1.0
    wanted = stats.mannwhitneyu(own, other).statistic / 24
    assert probability_of_improvement(own, other) == pytest.approx(wanted)


def test_the_interval_of_improvement_is_no_narrower_for_weaker_evidence() -> None:
    """Three wins of three leave 0.025^(1/3) possible; two swapped neighbours leave more, and all ties leave most."""
    other = {0: 0.0, 1: 1, 2: 2}
    own = ({0: 3.0, 1: 4, 2: 5}, {0: 1.5, 1: 4, 2: 5}, dict.fromkeys(range(3), 1.0))
    clear, swapped, tied = (compare(one, other, generator()).improvement_interval for one in own)
    assert clear is not None
    assert swapped is not None
    assert tied is not None
    assert (clear.low, clear.high) == (pytest.approx(0.025 ** (1 / 3)), 1)
    assert tied.low < swapped.low < clear.low
    assert tied.low == pytest.approx(1 - tied.high), "as much is won as lost"
    half = compare({0: 2.0, 1: -1.0}, {0: 0.0, 1: 1.0}, generator()).improvement_interval
    exact = stats.binomtest(1, 2).proportion_ci(0.95)
    assert half
    assert (half.low, half.high) == (pytest.approx(exact.low), pytest.approx(exact.high)), "half of two seeds is one"


def test_one_seed_is_no_test() -> None:
    """A gap, and neither interval nor p; no seed of both is refused."""
    found = compare({0: 2.0}, {0: 1.0, 1: 1.0}, generator())
    assert (found.n, found.gap) == (1, 1.0)
    assert (found.p, found.interval, found.improvement_interval) == (None, None, None)
    with pytest.raises(ValueError, match="no seed"):
        compare({0: 2.0}, {1: 1.0}, generator())


def by_seed(*values: float) -> dict[int, float]:
    """Scores of the seeds 0, 1, 2, ..."""
    return dict(enumerate(values))


def test_few_seeds_tie_all_methods() -> None:
    """Three methods far apart: 3 x 2/64 is above 0.05 with six seeds, 3 x 2/256 is not with eight."""
    far = {name: by_seed(*(level + seed / 8 for seed in range(8))) for name, level in (("c", 0), ("a", 90), ("b", 50))}
    assert tied_groups(far) == [("a",), ("b",), ("c",)]
    six = {name: {seed: own[seed] for seed in range(6)} for name, own in far.items()}
    assert tied_groups(six) == [("a", "b", "c")]
    assert letters(tied_groups(six)) == {"a": "a", "b": "a", "c": "a"}
    assert tied_groups(six | {"absent": {}}) == [("a", "b", "c")]
    assert tied_groups({}) == []
    assert pairwise_p(six | {"absent": {}}) == dict.fromkeys([("c", "a"), ("c", "b"), ("a", "b")], 3 * 2 / 64)


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
    ps = correct([signed_rank_p([scores[a][s] - scores[b][s] for s in range(12)]) for a, b in pairs])
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
    """A gap of half a standard deviation takes 34 pairs for a power of 0.8, as textbooks have it."""
    assert t_power(33, 0.5, 1) < 0.8 < t_power(34, 0.5, 1) == pytest.approx(0.8078, abs=5e-4)
    assert t_power(34, -0.5, 1) == pytest.approx(t_power(34, 0.5, 1))
    assert t_power(34, 0.5, 1, comparisons=10) == pytest.approx(t_power(34, 0.5, 1, alpha=0.005))
    for seeds, gap, sd in ((120, 1, 1), (20, 2, 1), (8, 2, 0.5)):
        assert t_power(seeds, gap, sd) == pytest.approx(1, abs=0.01), "also where the other tail cannot be computed"


def test_simulated_power_is_that_of_the_test_we_make() -> None:
    """The share of the same normal differences in which the test says p < alpha; with no gap, the test's size."""
    differences = generator(5).normal(0.8, 1, size=(300, 9))
    wanted = np.mean([signed_rank_p(own.tolist()) < 0.05 for own in differences])
    assert simulated_power(9, 0.8, 1, generator(5), draws=300) == wanted
    assert simulated_power(6, 0, 1, generator(0), draws=20_000) == pytest.approx(2 / 64, abs=0.004)
    assert simulated_power(5, 100, 1, generator(0)) == 0, "however large the gap"
    assert simulated_power(8, 100, 1, generator(0), comparisons=7) == 0
    assert simulated_power(9, 100, 1, generator(0), comparisons=7) == 1


def test_seeds_needed_are_the_fewest() -> None:
    """One seed less has not the power, or cannot reach p < alpha at all."""
    needed, _ = seeds_needed(0.5, 0.5, generator(0))
    assert simulated_power(needed, 0.5, 0.5, generator(1), draws=40_000) > 0.79
    assert simulated_power(needed - 1, 0.5, 0.5, generator(1), draws=40_000) < 0.81
    assert seeds_needed(100, 0.1, generator()) == (6, 1.0)
    assert seeds_needed(100, 0.1, generator(), comparisons=10) == (9, 1.0)
    assert seeds_needed(-0.5, 0.5, generator(0))[0] == needed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"gap": 0, "sd": 1}, "the gap must not be 0"),
        ({"gap": 1, "sd": 0}, "standard deviation be above 0"),
        ({"gap": float("nan"), "sd": 1}, "gap nan"),
        ({"gap": 1, "sd": 1, "alpha": 0.9}, "alpha <= power"),
        ({"gap": 1, "sd": 1, "power": 1.0}, "power 1"),
        ({"gap": 1, "sd": 1, "comparisons": 0}, "at least one"),
        ({"gap": 0.001, "sd": 1}, "more than 300 seeds"),
        ({"gap": 1, "sd": 1, "alpha": 1e-200}, "more than 300 seeds"),
    ],
)
def test_questions_without_an_answer_are_refused(words: dict[str, Any], message: str) -> None:
    """The sentence names the value."""
    with pytest.raises(UserError, match=message):
        seeds_needed(**words, generator=generator())


def test_the_command_power() -> None:
    """It says the seeds that are needed, and the fewest that make p < alpha possible; the same seed says the same."""
    words = ["power", "--gap", "1", "--sd", "0.5", "--comparisons", "10"]
    first, again = (CliRunner().invoke(app, words).output for _ in range(2))
    assert first == again
    assert "* 9 seeds find a gap of 1" in first
    assert "With fewer than 9 seeds p < 0.05 is impossible" in first
    rows = {line.split()[0]: line.split() for line in first.splitlines() if line.strip()[:1].isdigit()}
    assert rows["5"] == ["5", "0.625", "none", f"{t_power(5, 1, 0.5, comparisons=10):.2f}"]
    assert rows["9"][2] == "0.0391"
    assert "nan" not in first
    deciding = CliRunner().invoke(app, ["power", "--gap", "0.25", "--sd", "0.4", "--seed", "12"]).output
    (starred,) = re.findall(r"\d+ \*\s+\S+\s+(\S+)", deciding)
    assert float(starred) >= 0.8, "the simulation that decided is the one that is shown"
    refused = CliRunner().invoke(app, ["power", "--gap", "0", "--sd", "1"])
    assert isinstance(refused.exception, UserError)


def test_the_side_is_that_of_the_ranks() -> None:
    """Nine wins and eleven ties: the median gap is zero, and the test finds the method above."""
    control = dict.fromkeys(range(20), 1.0)
    found = compare({seed: 1.0 + (seed < 9) for seed in range(20)}, control, generator())
    assert found.gap == 0
    assert found.p is not None
    assert found.p < 0.05
    assert found.side == 1
    assert compare({seed: 1.0 - (seed < 9) for seed in range(20)}, control, generator()).side == -1
