"""The same unlikely inputs everywhere, a minute of them; `nox -s fuzz` tries others."""

import pytest
from fuzz import PROPERTIES, fuzz

SLOW = ("record", "cell", "study")


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in PROPERTIES]
)
def test_no_input_gives_a_traceback(name: str) -> None:
    """The command line ends with 0, 1, 2 or 130, whatever studies, arguments, records and weights it gets."""
    assert fuzz(name, derandomize=True, database=None)
