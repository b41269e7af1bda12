"""Examine one video with trained models: one answer with its reasons, or the reasons why there is none."""
