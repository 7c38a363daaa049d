"""Records of before names were changed (settings, columns, ids of cells) still have every value, to the byte."""

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "results"
FORMER = {"stage": "place", "pre": "before", "mid": "between", "post": "after", "action": "fate", "prune": "drop"}
VALUES = {  # SHA-256 of the sorted lines before; a record that is measured anew leaves this list
    "digits-segmentation/cells.csv": "7db05af0d1017dd94138be798016729a25e7b8e20039b52f8b1f33f83ef0244e",
    "digits-segmentation/curves.csv": "c3f6528a66d732d123169351b21f9b91e969d18739a1e66bc155c2292bbaf3e0",
    "export/findings.csv": "fd344253d0768daf967beafff29262bfdba9a73d14ae0d7780e15673e00ad7b3",
    "official-speed/operators.csv": "4e7a9874db5655684f89e2772ddf79f6e118407744af5285cad66aa806833ff2",
    "official-speed/race.csv": "34ca0bdebc2b11c745d2eb1447fca668d0208cf6af5b7a9b61a4abd6d697f960",
}


def former(settings: str) -> str:
    """Settings of a row, with the names that they had."""
    named = {FORMER.get(name, name): value for name, value in json.loads(settings).items()}
    return json.dumps({name: FORMER.get(str(value), value) for name, value in named.items()}, sort_keys=True)


def digest(path: Path) -> str:
    """Of the values of a record, whatever its columns are called and in which order its lines stand, but ids of cells.

    Settings are called as they were.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("cell_id", None)
        if "settings" in row:
            row["settings"] = former(row["settings"])
    lines = sorted("\x1f".join(row.values()) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("name", VALUES)
def test_no_value_was_changed(name: str) -> None:
    """Measured before the renaming, the same after it."""
    assert digest(RESULTS / name) == VALUES[name]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("official-speed/race.csv", r"(\d\.\d+)", r"\g<1>1"),
        ("digits-segmentation/cells.csv", '""heads"": 1', '""heads"": 2'),
    ],
)
def test_a_changed_value_is_noticed(name: str, old: str, new: str, tmp_path: Path) -> None:
    """In the last digit; a setting too."""
    copy = tmp_path / "record.csv"
    text, count = re.subn(old, new, (RESULTS / name).read_text(), count=1)
    copy.write_text(text)
    assert count == 1
    assert digest(copy) != digest(RESULTS / name)
