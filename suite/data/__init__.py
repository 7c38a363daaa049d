"""Images: where they come from and how they are identified."""

from suite.data.dataset import DataSet, data_sets

__all__ = ["DataSet", "data_sets"]
