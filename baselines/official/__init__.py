"""Layouts of officially released checkpoints, one file for each method that has any; see `suite.official`."""
