"""Figures of a study, one file each; all are made from results/STUDY/ alone."""
