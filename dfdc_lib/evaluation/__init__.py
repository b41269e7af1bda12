"""Scores in; video scores, metrics and their intervals out."""
