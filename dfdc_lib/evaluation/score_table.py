"""The scores that an evaluation starts from: frame scores, labels and groups of videos, and how they were made."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from dfdc_lib.evaluation.bootstrap import caution
from dfdc_lib.evaluation.coverage import Coverage
from dfdc_lib.evaluation.face_groups import FaceGroups, group_faces

# Roles of the videos in the training of the models, as titles show them.
UNSEEN_VIDEOS = "videos unseen by the models, as far as the kit can tell"
UNKNOWN_ROLE = "unknown whether the models were trained on these videos"
SIMULATED = "simulated"


@dataclass(frozen=True)
class ScoreTable:
    """The frame scores of one or several models, and the labels of the videos."""

    title: str
    # One row per video (index: video_id): label 0 or 1, identity group (see `score_groups`), and if known method,
    # compression, height, width.
    videos: pd.DataFrame
    # Per model one row per face: video_id, frame_index, track, score, and confidence if known. Each has all `videos`.
    frames: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = ()  # what was left out, and why
    coverage: Coverage = Coverage()
    role: str = UNKNOWN_ROLE  # of the videos in the training of the models
    recipes: tuple[str, ...] = ()  # how frames were chosen, and each model's faces detected and cropped, if known

    @cached_property
    def by_video(self) -> list[FaceGroups]:
        """The faces of each model, grouped by video."""
        return [group_faces(rows, ["video_id"]) for rows in self.frames.values()]

    @property
    def averages(self) -> bool:
        """Whether any video has more than one score, so that there is something to average."""
        return any((faces.sizes > 1).any() for faces in self.by_video)

    @property
    def heading(self) -> str:
        """Title of figures and tables: whose scores, of how many videos, by which protocol, and warnings."""
        if self.videos.empty:
            return f"{self.title}: no labelled videos, nothing to judge"
        text = f"{self.title}: {len(self.videos):,} videos in {self.videos['group'].nunique():,} identity groups"
        lines = [text, f"{self._frames_text()}; {self.role}", self.coverage.mark, caution(self.videos)]
        return "\n".join(filter(None, lines))

    @property
    def protocol(self) -> dict[str, str]:
        """How the numbers were made, topic -> text, to show and store beside them; {} without labelled videos."""
        if self.videos.empty:
            return {}
        expected = max(self.coverage.expected, len(self.videos))
        labels, models = self.videos["label"], ", ".join(self.frames)
        averaging = "each strategy by model, then the mean of the models" if len(self.frames) > 1 else "each strategy"
        return {
            "videos": f"{len(labels):,} ({labels.sum():,} fake), {self.videos['group'].nunique():,} identity groups",
            "role of the videos": self.role,
            "coverage": f"{len(self.videos):,} of {expected:,} labelled videos",
            "frames": self._frames_text(),
            "faces": self._faces_text(),
            "models": models,
            "recipes": "; ".join(self.recipes) or "unknown",
            "averaging": averaging if self.averages else "none: one score per video and model",
        }

    def _frames_text(self) -> str:
        """Return the smallest, median and largest number of frames of a video, in the first model's table."""
        if not self.averages:
            return "one score per video"
        counts = self.by_video[0].frame_counts
        low, high = counts.min(), counts.max()
        median = f", median {np.median(counts):g}"
        return f"{low} frames per video" if low == high else f"{low}–{high} frames per video{median}"

    def _faces_text(self) -> str:
        if not self.averages:
            return "unknown"
        faces = self.by_video[0]
        frames = faces.frame_counts.sum()
        return f"{len(faces.scores):,} in {frames:,} frames; all faces of a video count, whoever they show"
