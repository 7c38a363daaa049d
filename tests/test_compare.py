"""Records compared: over new trainings, over new images too, and as the models that they are."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hand_made import Rows, cells, written
from scipy import stats
from typer.testing import CliRunner, Result

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.training.agreement import agreement
from suite.kinds.training.compare import compared
from suite.report.statistics.crossed import crossed_interval, mcnemar_p, over_images
from suite.study import images
from suite.study.exported import CURVE_COLUMNS, write_csv
from suite.study.records import write, write_provenance
from suite.study.sides import Side, side
from suite.tasks.task import task

ROOT = Path(__file__).parents[1]
IMAGES = 400
SCORES = (80.0, 81.0, 82.0, 80.5, 81.5)


def record(folder: Path, rows: Rows, right: dict[str, float] | None = None) -> Path:
    """A results folder; by cells, the share of images that its model is right about."""
    made = written(folder, rows)
    write(made / "curves.csv", CURVE_COLUMNS, [])
    drawn = np.random.default_rng(0)
    found = {}
    for cell_id, share in (right or {}).items():
        predicted = (drawn.permutation(IMAGES) >= share * IMAGES).astype(int)
        found[cell_id] = images.packed({"label": np.zeros(IMAGES, int), "predicted": predicted})
    images.write(made, found)
    write_csv(made / "cells.csv", rows, {"runs": []})
    return made


def command(*words: str) -> Result:
    """`suite compare`."""
    return CliRunner().invoke(app, ["compare", *words])


def test_a_row_that_moved_differs_and_one_that_did_not_is_consistent(tmp_path: Path) -> None:
    """By the paired t-test, Holm-corrected for the rows; the command ends with 1, and says as JSON what it shows."""
    moved = [score + shift for score, shift in zip(SCORES, (5, 5.5, 4.5, 5, 5.2), strict=True)]
    around = [score + shift for score, shift in zip(SCORES, (0.5, -0.5, 0.2, -0.4, 0.1), strict=True)]
    one = record(tmp_path / "a", [*cells("tome", *SCORES), *cells("none", *SCORES)])
    other = record(tmp_path / "b", [*cells("tome", *moved), *cells("none", *around)])
    done = command(str(one), str(other), "--json")
    said = {row["row"].split()[0]: row for row in json.loads(done.output)["rows"]}
    assert (done.exit_code, json.loads(done.output)["agree"]) == (1, False)
    assert (said["tome"]["verdict"], said["none"]["verdict"]) == ("differs", "consistent")
    found = stats.ttest_rel(moved, SCORES)
    assert said["tome"]["p"] == pytest.approx(2 * found.pvalue)
    wanted = found.confidence_interval(0.95)
    assert (said["tome"]["trainings_low"], said["tome"]["trainings_high"]) == pytest.approx((wanted.low, wanted.high))
    assert said["tome"]["images_low"] is None, "none were kept"
    same = command(str(one), str(one), "--html", str(tmp_path / "found.html"))
    assert same.exit_code == 0
    assert "10 of 10 cells are equal to the bit" in " ".join(same.output.split())
    assert "consistent" in (tmp_path / "found.html").read_text()


def test_rows_name_their_schedule_where_there_are_several(tmp_path: Path) -> None:
    """A name with brackets of its own stays as it is; what was looked at besides is no difference."""
    rows = [*cells("tome [r 8]", 80.0, 81.0), *cells("none", 85.0, 86.0, schedule="none")]
    one, other = record(tmp_path / "a", rows), record(tmp_path / "b", rows)
    seen = {"cell_id": "none-0", "kind": "accuracy", "row": "none", "schedule": "none", "seed": 0, "epoch": 1}
    write(other / "curves.csv", CURVE_COLUMNS, [seen | {"metric": "position_share/0", "value": "0.5"}])
    write_csv(other / "cells.csv", rows, {"runs": []})
    found = compared(Side("a", one), Side("b", other))
    assert [(row.label, row.equal) for row in found] == [("tome [r 8]", 2), ("none", 2)]
    write(other / "curves.csv", CURVE_COLUMNS, [seen | {"metric": "loss", "value": "0.5"}])
    write_csv(other / "cells.csv", rows, {"runs": []})
    found = compared(Side("a", one), Side("b", other))
    assert [row.equal for row in found] == [2, 1], "another loss in an epoch is another training"
    rows = [*rows, *cells("tome [r 8]", 70.0, 71.0, schedule="16 16 0", cell_id="more")]
    more = [row | {"cell_id": f"{row['cell_id']}-{row['seed']}"} for row in rows]
    one = record(tmp_path / "c", more)
    labels = {row.label for row in compared(Side("c", one), Side("d", one))}
    assert labels == {"tome [r 8] [8 8 0]", "tome [r 8] [16 16 0]", "none [none]"}


def test_two_rows_of_one_record(tmp_path: Path) -> None:
    """Named with a colon; what there is not is refused with the nearest names."""
    made = record(
        tmp_path,
        [*cells("tome", *SCORES), *cells("evit", *(score - 3 + index / 10 for index, score in enumerate(SCORES, -2)))],
    )
    with side(f"{made}:evit") as one, side(f"{made}:tome") as other:
        (found,) = compared(one, other)
    assert found.trainings is not None
    assert (found.trainings.mean, found.seeds, found.verdict) == (pytest.approx(3), 5, "differs")
    refused = command(f"{made}:tomme", f"{made}:evit")
    assert "no row 'tomme'; did you mean tome" in str(refused.exception)
    assert "name two or more" in str(command(str(made)).exception)
    assert "results/nowhere has no record; make it with" in str(command(str(made), "nowhere").exception)
    other = command(str(made), str(ROOT / "results/costs")).exception
    assert "costs is of kind costs; only records of one kind can be compared" in str(other)
    alike = command("costs", str(ROOT / "results/costs")).exception
    assert "records of kind costs cannot be compared" in str(alike)


def test_models_are_compared_over_images(tmp_path: Path) -> None:
    """Ten points apart in each seed's images: McNemar sees it, new trainings and images too; an edit is refused."""
    rows = [*cells("tome", *[90.0] * 3), *cells("evit", *[80.0] * 3)]
    right = {f"{row}-{seed}": share for row, share in (("tome", 0.9), ("evit", 0.8)) for seed in range(3)}
    made = record(tmp_path, rows, right)
    with side(f"{made}:evit") as one, side(f"{made}:tome") as other:
        (found,) = compared(one, other)
    assert found.interval is not None
    assert 0 < found.interval[0] < 10 < found.interval[1] < 20
    assert found.models == 3
    elsewhere = record(tmp_path / "elsewhere", [row | {"data": "others"} for row in rows], right)
    with side(f"{made}:evit") as one, side(f"{elsewhere}:tome") as other:
        (found,) = compared(one, other)
    assert (found.interval, found.models) == (None, None), "they are other images"
    path = made / "images" / "tome-1.npz"
    path.write_bytes((made / "images" / "evit-1.npz").read_bytes())
    with side(str(made)) as one, pytest.raises(UserError, match="is not the file that provenance"):
        compared(one, one)


def test_mcnemar_is_that_of_scipy() -> None:
    """Of images that one model gets right and the other wrong, a binomial test; none of them is no difference."""
    one, other = np.array([1, 1, 0, 0, 0, 0, 0, 1], bool), np.array([1, 0, 1, 1, 1, 1, 1, 1], bool)
    assert mcnemar_p(one, other) == pytest.approx(stats.binomtest(5, 6).pvalue)
    assert mcnemar_p(one, one) == 1


@pytest.mark.parametrize(("trained", "seen"), [(1.0, 0.3), (0.3, 1.0)])
def test_the_crossed_interval_covers(trained: float, seen: float) -> None:
    """True difference 0, whichever of seeds and images spreads more: of 200 studies of five seeds 93 % or more."""
    drawn, covered, count = np.random.default_rng(1), 0, 200
    for _ in range(200):
        own = drawn.normal(0, seen * count**0.5, count)
        pairs = [({"x": np.zeros(count)}, {"x": own + shift}) for shift in drawn.normal(0, trained, 5)]
        found = over_images(lambda images, weights: weights @ images["x"] / weights.sum(1), pairs, drawn, 300)
        low, high = crossed_interval(found, drawn)
        covered += low <= 0 <= high
    assert covered / 200 >= 0.9, "93 % but for chance"


@pytest.mark.parametrize("name", ["classification", "segmentation"])
def test_a_score_is_made_again_of_its_images(name: str) -> None:
    """Weights count an image so many times."""
    rescore, drawn = task(name).rescore, np.random.default_rng(2)
    assert rescore is not None
    if name == "classification":
        found = {"label": drawn.integers(0, 3, 50), "predicted": drawn.integers(0, 3, 50)}
        wanted = 100 * (found["label"] == found["predicted"]).mean()
    else:
        union = drawn.integers(0, 9, (50, 4))
        union[:, 3] = 0  # a class that is nowhere has no IoU
        found = {"intersection": union // 2, "union": union}
        wanted = 100 * (found["intersection"].sum(0)[:3] / union.sum(0)[:3]).mean()
    twice = {key: np.concatenate([value, value[:10]]) for key, value in found.items()}
    weights = np.ones((1, 50))
    weights[0, :10] = 2
    assert rescore(found, np.ones((1, 50)))[0] == pytest.approx(wanted)
    assert rescore(found, weights)[0] == pytest.approx(rescore(twice, np.ones((1, 60)))[0])


def test_a_record_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was there; a commit without it is refused."""
    monkeypatch.chdir(tmp_path)
    made = record(tmp_path / "results", cells("tome", *SCORES))
    for words in (("init", "-q"), ("add", "."), ("-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c")):
        subprocess.run(["git", *words], check=True)
    record(tmp_path / "results", cells("tome", *(score + 9 for score in SCORES)))
    done = command("trial@HEAD", "trial", "--json")
    assert json.loads(done.output)["rows"][0]["difference"] == 9
    assert "git has no results/other in HEAD" in str(command("other@HEAD", "trial").exception)
    assert "is no commit" in str(command("trial@--output=stolen", "trial").exception)
    assert not Path("stolen").exists()
    assert made.is_dir()


def test_environments_that_differ_are_named(tmp_path: Path) -> None:
    """A version, and an instruction set."""
    for name, torch, capability in (("a", "2.13", "AVX2"), ("b", "2.14", "AVX512")):
        folder = record(tmp_path / name, cells("tome", *SCORES))
        run = {"commit": "c", "versions": {"torch": torch, "timm": "1"}, "numerics": {"torch_capability": capability}}
        write_provenance(folder, {"runs": [run | {"started": "", "cells": []}]})
    done = command(str(tmp_path / "a/trial"), str(tmp_path / "b/trial"), "--json")
    assert json.loads(done.output)["environment"] == {
        "numerics torch_capability": ["AVX2", "AVX512"],
        "versions torch": ["2.13", "2.14"],
    }


def test_what_cannot_be_compared_or_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is computed, without the place where an old record was put for the moment."""
    made = str(record(tmp_path / "results", cells("tome", *SCORES)))
    ending = command(made, made, "--figure", str(tmp_path / "rows.txt"))
    assert "rows.txt: figures end in .png or .pdf" in str(ending.exception)
    rows = command(f"{made}:tome", f"{made}:tome", "--figure", str(tmp_path / "rows.png"))
    assert "or a figure of two, are compared whole" in str(rows.exception)
    assert "there is no folder" in str(command(made, made, "--html", str(tmp_path / "no/rows.html")).exception)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/trial/provenance.json").write_text("{}")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], check=True, cwd=tmp_path)
    said = str(command("trial@HEAD", "studies/trial.yaml").exception)
    assert said.startswith("trial@HEAD/provenance.json ")
    assert said.endswith("as it was at that commit this version cannot compare it")


def test_several_records_agree_or_not(tmp_path: Path) -> None:
    """Independent noise agrees; one record that stands apart does not, and its rows have changed places."""
    drawn, folders = np.random.default_rng(3), []
    for name in "abc":
        rows = [*cells("random", *drawn.normal(70, 1, 5).tolist()), *cells("tome", *drawn.normal(80, 1, 5).tolist())]
        folders.append(str(record(tmp_path / name, rows)))
    assert command(*folders, "--figure", str(tmp_path / "found.png")).exit_code == 0
    assert (tmp_path / "found.png").is_file()
    swapped = [*cells("random", *drawn.normal(80, 1, 5).tolist()), *cells("tome", *drawn.normal(70, 1, 5).tolist())]
    apart = str(record(tmp_path / "d", swapped))
    done = command(*folders, apart)
    assert done.exit_code == 1
    assert "random and tome" in " ".join(done.output.split())
    with side(folders[0]) as one, side(apart) as other:
        found = agreement([one, other])
    assert {label.split()[0] for _, label in found.differing} == {"random", "tome"}
    assert found.inside == (0, 2)
    with side(apart) as one, side(str(shutil.copytree(apart, tmp_path / "copy"))) as other:
        assert agreement([one, other]).inside == (0, 0), "rows that are equal to the bit say nothing"
    assert found.p_inside == pytest.approx(0.05**2)
