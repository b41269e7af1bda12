"""Notebooks and parameters in; a run folder that is up to date, and its report, out."""
