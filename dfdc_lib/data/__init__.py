"""Read videos and data sets, and split them into folds. Input: files. Output: frames, `Video` records, folds."""
