"""How often the 95 % interval of a row covers what it says: `results/coverage.csv`, which is made here."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.report.statistics.intervals import mean

TABLE = Path(__file__).parents[1] / "results" / "coverage.csv"
STUDIES = 4000  # one standard error of a coverage of 95 % is 0.34 %
SEEDS = (3, 5, 10)
NOISE: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float, float]] = {  # with its mean and median
    "normal": (lambda drawn, n: drawn.normal(size=n), 0.0, 0.0),
    "skewed (exponential)": (lambda drawn, n: drawn.exponential(size=n), 1.0, float(np.log(2))),
    "heavy-tailed (Student's t, 3)": (lambda drawn, n: drawn.standard_t(3, size=n), 0.0, 0.0),
}


def coverage() -> str:
    """The table: seed noise, seeds, and the share of simulated studies whose interval has the true value."""
    text, drawn = io.StringIO(newline=""), np.random.default_rng(0)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["noise", "seeds", "mean_covered_percent", "median_covered_percent"])
    for noise, (draw, *true) in NOISE.items():
        for seeds in SEEDS:
            found = [mean(draw(drawn, seeds).tolist()) for _ in range(STUDIES)]
            covered = [
                100 * sum(one is not None and one.low <= value <= one.high for one in found) / STUDIES for value in true
            ]
            writer.writerow([noise, seeds, *(f"{share:.1f}" for share in covered)])
    return text.getvalue()


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    """The committed table, which is the one that is made."""
    made = coverage()
    if os.environ.get("UPDATE_COVERAGE"):
        TABLE.write_text(made)
    assert TABLE.read_text() == made, "run again with UPDATE_COVERAGE=1 to write it"
    return list(csv.DictReader(io.StringIO(made)))


@pytest.mark.slow
def test_normal_noise_is_covered_whatever_the_number_of_seeds(table: list[dict[str, str]]) -> None:
    """Mean and median in 93 % or more; three standard errors below 95 % are 94 %."""
    normal = [row for row in table if row["noise"] == "normal"]
    assert [row["seeds"] for row in normal] == ["3", "5", "10"]
    assert min(float(row[name]) for row in normal for name in row if name.endswith("percent")) >= 93


@pytest.mark.slow
def test_the_median_is_covered_under_any_noise(table: list[dict[str, str]]) -> None:
    """The headline of a row is its median; the mean of skewed noise is covered less."""
    assert min(float(row["median_covered_percent"]) for row in table) >= 93
    assert min(float(row["mean_covered_percent"]) for row in table if row["noise"].startswith("skewed")) < 93
