"""Kinds of study, a folder each."""
