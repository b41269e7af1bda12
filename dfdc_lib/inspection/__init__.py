"""Examine one video.

Input: a video file and trained models. Output: one answer with its reasons, or the reasons why there is none.
"""
