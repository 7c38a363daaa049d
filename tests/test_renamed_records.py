"""Records of before names were changed (settings, columns, ids of cells) still have every value, to the byte."""

import csv
import hashlib
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "results"
NAMES = {"cell_id", "settings"}  # columns with names in them, which were changed
VALUES = {  # SHA-256 of the sorted lines before; a record that is measured anew leaves this list
    "digits-segmentation/cells.csv": "b26a2beed302638bec4759a912cdf87b58299ccaa547bdfdda9a16fc1ca0cb37",
    "digits-segmentation/curves.csv": "c3f6528a66d732d123169351b21f9b91e969d18739a1e66bc155c2292bbaf3e0",
    "export/findings.csv": "fd344253d0768daf967beafff29262bfdba9a73d14ae0d7780e15673e00ad7b3",
    "imagenet-vitl-speed/rounds.csv": "74f627554622a0898211800b77719ba85197732ba572f9d39377ce8e4155a4e1",
    "official-speed/operators.csv": "4e7a9874db5655684f89e2772ddf79f6e118407744af5285cad66aa806833ff2",
    "official-speed/race.csv": "34ca0bdebc2b11c745d2eb1447fca668d0208cf6af5b7a9b61a4abd6d697f960",
}


def digest(path: Path) -> str:
    """Of the values of a record, whatever its columns are called and in which order its lines stand."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = sorted("\x1f".join(value for name, value in row.items() if name not in NAMES) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("name", VALUES)
def test_no_value_was_changed(name: str) -> None:
    """Measured before the renaming, the same after it."""
    assert digest(RESULTS / name) == VALUES[name]


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    """In the last digit."""
    path = RESULTS / "imagenet-vitl-speed/rounds.csv"
    copy = tmp_path / "rounds.csv"
    copy.write_text(re.sub(r"(\d\.\d+)", r"\g<1>1", path.read_text(), count=1))
    assert digest(copy) != digest(path)
