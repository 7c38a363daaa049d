"""What a model is trained and evaluated for."""

from suite.tasks.task import Task, tasks

__all__ = ["Task", "tasks"]
