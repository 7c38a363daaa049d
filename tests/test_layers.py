"""Patches that idle and return, from the example to the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_figures import drawn_picture

from suite.errors import UserError
from suite.kinds.training.figures import maps
from suite.kinds.training.results import kept_after, read_examples
from suite.report import style
from suite.study.exported import write_examples
from suite.study.records import write_provenance


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
    old = kept_after({name: value for name, value in example.items() if name != "computed"})
    assert old[0][2].tolist() == [[False, False], [False, False]]


def test_maps_show_when_a_patch_left_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """What returned and stays is as bright as what never left."""
    shown: list[Any] = []
    monkeypatch.setattr(maps, "_show", lambda axes, image, **options: shown.append(image))
    rows = {"idlevit": idling(), "cropr": drawn_picture("cropr", 0)}
    for row in rows.values():
        axes: list[Any] = [style.plt.figure().add_subplot()]
        maps._draw_row(axes, row, 0, maps.ListedColormap(["k"]), 3, maps.Shown([]))
    assert shown[0].tolist() == [[3, 3], [2, 2]]
    assert shown[1].tolist() == np.reshape(rows["cropr"]["left_after"][0], (4, 4)).tolist()


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
def test_a_damaged_computed_is_refused(tmp_path: Path, computed: object) -> None:
    """The cell is named, and what was expected."""
    write_examples(tmp_path / "examples.json", [drawn_picture("cropr", 0), idling() | {"computed": computed}])
    write_provenance(tmp_path, {})
    with pytest.raises(UserError, match=r"examples.json: the example of cell idlevit-0 has a damaged computed, which"):
        read_examples(tmp_path)
