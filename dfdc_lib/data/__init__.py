"""A video file or a data set in; frames, the list of videos and their folds out."""
