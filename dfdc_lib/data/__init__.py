"""Data: from files to videos and folds.

Input: a video file or the folder of a data set. Output: frames, `Video` records, a fold for every video.
"""
