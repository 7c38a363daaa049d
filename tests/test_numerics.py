"""Fixed instruction sets: what they make equal, on machines that were seen; and what refuses to run without them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_study import suite, write

from suite.errors import UserError
from suite.measure import numerics

HERE = Path(__file__).parent
SEEN = json.loads((HERE / "numerics.json").read_text())
HOSTILE = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AUTO", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_DYNAMIC": "TRUE"}
HOSTILE["MKL_ENABLE_INSTRUCTIONS"] = "SSE4_2"


def digest(task: str, level: str, folder: Path) -> dict[str, Any]:
    """What `numerics_digest.py` finds in a process of its own, around which other instruction sets are asked for."""
    found = subprocess.run(
        [sys.executable, str(HERE / "numerics_digest.py"), task, level],
        env=os.environ | HOSTILE | numerics.ENVIRONMENT[level] | {"PYTHONPATH": str(HERE.parent)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return dict(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("level", "task"),
    [
        ("portable", "classification"),
        pytest.param("portable", "segmentation", marks=pytest.mark.slow),
        *(pytest.param("compatible", task, marks=pytest.mark.slow) for task in ("classification", "segmentation")),
    ],
)
def test_weights_are_those_that_such_a_machine_gave_before(task: str, level: str, tmp_path: Path) -> None:
    """Known are machines that were seen, by processor and versions; of any other nothing is claimed."""
    found = digest(task, level, tmp_path)
    machine = " | ".join(found[name] for name in ("processor_id", "torch", "mkl", "onednn"))
    known = SEEN.get(machine, {}).get(f"{task} {level}")
    if known is None:
        others = {one.get(f"{task} {level}") for one in SEEN.values()}
        agrees = "as on another machine" if found["weights"] in others else "as on no machine yet"
        pytest.skip(f"{machine!r} was not seen; {task} {level}: {found['weights']}, {agrees}")
    assert found["weights"] == known


def test_a_process_with_other_instruction_sets_is_refused() -> None:
    """As the one that runs the tests."""
    numerics.check("native")
    with pytest.raises(UserError, match=r"ATEN_CPU_CAPABILITY is .*torch computes with"):
        numerics.check("compatible")


def test_what_is_not_set_is_as_good_as_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where empty is what is asked."""
    for name, value in numerics.ENVIRONMENT["portable"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MKL_ENABLE_INSTRUCTIONS")
    found = numerics.facts() | {"torch_capability": "AVX2", "mkl_branch": "avx2"}
    monkeypatch.setattr(numerics, "facts", lambda: found)
    numerics.check("portable")
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "SSE4_2")
    with pytest.raises(UserError, match="MKL_ENABLE_INSTRUCTIONS is SSE4_2"):
        numerics.check("portable")


def test_an_interactive_session_is_not_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it has would be lost."""
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("started anew"))
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(UserError, match=r"^numerics: portable .* an interactive session cannot; run the study with"):
        numerics.enter("portable")


def test_facts_name_what_decides() -> None:
    """Libraries and processor, whatever they are here."""
    found = numerics.facts()
    assert found["torch_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["mkl"] or not torch.backends.mkl.is_available()
    assert len(found["processor_id"].split()) == 4
    assert found["caches"]


@pytest.mark.slow
def test_a_portable_study_trains_so_and_times_natively(tmp_path: Path) -> None:
    """In this process, which is started anew twice, whatever the outer environment says."""
    write(tmp_path, numerics="portable", methods=["none", "random"], seeds=[0], speed={"batch_size": 2, "rounds": 5})
    assert suite(tmp_path, "run", "trial.yaml", "--in-process", **HOSTILE).returncode == 0
    entries = [json.loads(path.read_text()) for path in (tmp_path / ".suite" / "cells").iterdir()]
    found = {(one["identity"]["kind"], one["provenance"]["numerics"]["torch_capability"]) for one in entries}
    assert found == {("base", "AVX2"), ("accuracy", "AVX2"), ("speed", "DEFAULT")}
    assert {one["identity"].get("numerics") for one in entries} == {"portable", None}
