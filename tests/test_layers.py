"""Agreement across layers, by hand; patches that idle and return, from the example to the figure."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from suite.kinds.training.figures.draw import FIGURES
from suite.kinds.training.figures.layers import across_layers
from test_figures import drawn_picture, renew_digest, write

from suite.errors import UserError
from suite.kinds.training import overlap
from suite.kinds.training.figures import maps
from suite.kinds.training.overlap import Kept, between_blocks, within_runs
from suite.kinds.training.results import kept_after, read_examples, read_results
from suite.report import style

EIGHT = frozenset(range(8))


def run(*blocks: frozenset[int] | set[int]) -> list[NDArray[np.bool_]]:
    """One image of eight patches: those that each block removes, as (depth, 1, 8)."""
    gone = list(itertools.accumulate(blocks, lambda before, now: before | now))
    return [np.array([[[patch not in removed for patch in range(8)]] for removed in gone])]


def above(found: float, chance: float, most: float) -> float:
    """Chance is 0, the most is 1."""
    return (found - chance) / (most - chance)


def chance(first: int, second: int) -> float:
    """The mean over all sets of `second` of eight patches, against one of `first`."""
    one = set(range(first))
    pairs = [set(other) for other in itertools.combinations(EIGHT, second)]
    return float(np.mean([len(one & other) / len(one | other) for other in pairs]))


def test_the_same_order_agrees_wholly_everywhere() -> None:
    """In one block, and a late set with an early one of another seed, of which it is a part."""
    kept = {seed: run({0, 1}, {2, 3}, {4, 5}) for seed in range(2)}
    table = across_layers(kept, between_blocks)
    assert table.to_numpy()[np.tril_indices(3)] == pytest.approx(1)
    assert np.isnan(table.to_numpy()[np.triu_indices(3, 1)]).all()


def test_other_orders_to_one_end() -> None:
    """After one block they share four of eight patches, after both all; the late set is in either early one."""
    kept = {0: run({0, 1}, {2, 3}), 1: run({2, 3}, {0, 1})}
    table = across_layers(kept, between_blocks)
    assert table.iloc[0, 0] == pytest.approx(above(4 / 8, chance(6, 6), 1))
    assert table.iloc[1, 0] == pytest.approx(1)
    assert table.iloc[1, 1] == pytest.approx(1)


def test_late_and_early_drops_are_the_mean_of_both_orders_of_seeds() -> None:
    """Late in seed 0 and early in seed 1 share four of six; late in seed 1 and early in seed 0 two of eight."""
    kept = {0: run({0, 1}, {2, 3}), 1: run({2, 3}, {4, 5})}
    expected = above((4 / 6 + 2 / 8) / 2, chance(6, 4), 4 / 6)
    for pair in ((1, 0), (0, 1)):
        found = between_blocks(kept, *pair)
        assert found is not None
        assert found.above_chance == pytest.approx(expected)
    assert across_layers(kept, between_blocks).iloc[1, 0] == pytest.approx(expected)
    assert between_blocks({0: kept[0]}, 1, 0) is None, "one seed"


def test_what_one_seed_keeps_and_the_other_drops_is_below_chance() -> None:
    """They share nothing in the end."""
    kept = {0: run({0, 1, 2, 3}), 1: run({4, 5, 6, 7})}
    assert across_layers(kept, between_blocks).iloc[0, 0] == pytest.approx(above(0, chance(4, 4), 1))
    assert above(0, chance(4, 4), 1) < -0.4


def test_random_sets_agree_as_chance_says() -> None:
    """Near 0 between all blocks; within a run it is 1, for counts decide it."""
    draw = np.random.default_rng(0)

    def image() -> NDArray[np.bool_]:
        order = draw.permutation(64).reshape(8, 8)
        return np.stack([order >= removed for removed in (12, 24, 36, 48)])

    kept = {seed: [image() for _ in range(6)] for seed in range(8)}
    table = across_layers(kept, between_blocks).to_numpy()
    assert np.abs(table[np.tril_indices(4)]).max() < 0.05
    within = across_layers(kept, within_runs).to_numpy()
    assert within[np.tril_indices(4, -1)] == pytest.approx(1)
    assert np.isnan(np.diag(within)).all()


def test_only_blocks_that_change_something_have_a_line() -> None:
    """In any seed; the others before are left out, those after it share its line."""
    nothing: set[int] = set()
    kept = {0: run(nothing, {0}, nothing, {1}, nothing, nothing), 1: run(nothing, {0}, nothing, nothing, {1}, nothing)}
    assert overlap.changes(kept) == [1, 3, 4]
    table = across_layers(kept, between_blocks)
    assert list(table.index) == list(table.columns) == ["2–3", "4", "5–6"]
    assert table.notna().to_numpy()[np.tril_indices(3)].all()


def idling(seed: int = 0) -> dict[str, Any]:
    """Of four patches the middle block leaves out the first two, the last block the last two."""
    rows = ["1111", "0011", "1100"]
    return {
        "cell_id": f"idlevit-{seed}",
        "row": "idlevit",
        "method": "idlevit",
        "schedule": "4 4 0",
        "seed": seed,
        "grid": [2, 2],
        "depth": 3,
        "left_after": [[1, 1, 2, 2]] * 2,
        "computed": [rows, rows],
        "prediction": [0, 0],
    }


def test_patches_that_return_are_kept_again() -> None:
    """By block, from `computed`; a record without it knows only that they left."""
    example = idling()
    found = kept_after(example)
    assert [image.tolist() for image in found] == [
        [[[True, True], [True, True]], [[False, False], [True, True]], [[True, True], [False, False]]]
    ] * 2
    assert [image.shape for image in kept_after(example | {"patches": [[1, 2], [2, 1]]})] == [(3, 1, 2), (3, 2, 1)]
    kept: Kept = {0: found, 1: found}
    assert overlap.returns(kept)
    assert across_layers(kept, within_runs).iloc[1, 0] == pytest.approx(above(0, (4 * 1 / 3 + 1) / 6, 1))
    assert across_layers(kept, between_blocks).iloc[1, 1] == pytest.approx(1)
    old = kept_after({name: value for name, value in example.items() if name != "computed"})
    assert old[0][2].tolist() == [[False, False], [False, False]]
    assert not overlap.returns({0: old})


def test_maps_show_when_a_patch_left_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """What returned and stays is as bright as what never left."""
    shown: list[Any] = []
    monkeypatch.setattr(maps, "_show", lambda axes, image, **options: shown.append(image))
    rows = [maps.ExampleRow("idlevit", idling()), maps.ExampleRow("cropr", drawn_picture("cropr", 0))]
    for row in rows:
        axes: list[Any] = [style.plt.figure().add_subplot()]
        maps._draw_row(axes, row, 0, maps.ListedColormap(["k"]), 3, maps.Shown([]))
    assert shown[0].tolist() == [[3, 3], [2, 2]]
    assert shown[1].tolist() == np.reshape(rows[1].example["left_after"][0], (4, 4)).tolist()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The hand-made record of `test_figures`, in which EViT's patches idle and return instead."""
    folder = write(tmp_path / "results/trial")
    examples = json.loads((folder / "examples.json").read_text())
    for one in examples:
        if one["row"] == "evit":
            one |= {name: idling()[name] for name in ("grid", "left_after", "computed")}
    (folder / "examples.json").write_text(json.dumps(examples))
    renew_digest(folder)
    return folder


def test_the_figure_has_a_panel_for_each_row_and_within_runs_where_patches_return(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its numbers are those of the sets."""
    drawn: list[Any] = []
    monkeypatch.setattr(style.plt, "close", drawn.append)
    FIGURES["agreement-layers"](read_results(results), tmp_path / "layers.png")
    panels = {axis.get_title(): axis for axis in drawn[-1].axes if axis.get_title()}
    said = {title: [text.get_text() for text in axis.texts] for title, axis in panels.items()}
    turns = ["+1.00", "-0.64", "+1.00"]  # two blocks that share no patch, in one run as in two seeds
    assert said == {"evit": turns, "evit\nwithin one run": ["-0.64"], "cropr": ["+1.00"] * 3}
    names = {title: [name.get_text() for name in axis.get_yticklabels()] for title, axis in panels.items()}
    assert names == {"evit": ["2", "3"], "evit\nwithin one run": ["2", "3"], "cropr": ["1", "2–3"]}
    assert "3 seeds" in drawn[-1].get_supxlabel()


@pytest.mark.parametrize(
    "computed",
    [
        None,
        "1111",
        [["1111", "0011", "1100"]],
        [["1111", "0011"]] * 2,
        [["1111", "0011", "110"]] * 2,
        [["1111", "0011", "1120"]] * 2,
        [["1111", "0011", 1100]] * 2,
        [["1111", "0011", "1100\n"]] * 2,
        [[[1, 1, 1, 1]] * 3] * 2,
    ],
)
def test_a_damaged_computed_is_refused(results: Path, computed: object) -> None:
    """The cell is named, and what was expected."""
    examples = read_examples(results)
    damaged = next(one for one in examples if one["row"] == "evit")
    damaged["computed"] = computed
    (results / "examples.json").write_text(json.dumps(examples))
    renew_digest(results)
    with pytest.raises(
        UserError, match=r"examples.json: the example of cell evit-0 has a damaged computed, which needs"
    ):
        read_examples(results)
