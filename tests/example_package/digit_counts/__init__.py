"""Counting handwritten digits: a data set, a task and a kind of study for cropr-suite."""
