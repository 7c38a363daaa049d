"""The command `suite track`."""

from __future__ import annotations

from suite.cli.options import Changes, StudyName


def track(study: StudyName, change: Changes = None) -> None:
    """Write a study's MLflow runs anew from its finished cells."""
    from rich.console import Console

    from suite.kinds.training.track import track_study
    from suite.study.load import load

    track_study(load(study, change or []), Console(markup=False))
