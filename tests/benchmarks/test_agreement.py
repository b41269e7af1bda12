import json
from pathlib import Path

import pytest

from dfdc_lib.benchmarks.agreement import SCORED, SCORES, compare_scores, match
from dfdc_lib.records import FaceScore, VideoScores
from dfdc_lib.run_folder import open_run

BOX, MOVED, OTHER = (0.0, 0.0, 100.0, 100.0), (1.0, 0.0, 101.0, 100.0), (300.0, 0.0, 400.0, 100.0)


@pytest.mark.parametrize(
    ("theirs", "ours", "pairs"),
    [
        ([], [], []),
        ([BOX], [], []),
        ([BOX], [OTHER, MOVED], [(0, 1)]),
        ([BOX, OTHER], [OTHER, BOX], [(0, 1), (1, 0)]),
        ([BOX, MOVED], [BOX], [(0, 0)]),  # each box once
        ([BOX], [(0.0, 0.0, 100.0, 89.0)], []),  # IoU 0.89
    ],
)
def test_match(theirs, ours, pairs) -> None:
    assert list(match(theirs, ours)) == pairs


def test_scores_of_the_same_faces_are_compared(tmp_path: Path) -> None:
    usual, kit = open_run(tmp_path / "usual"), open_run(tmp_path / "kit")
    place = {"time_seconds": 0.0, "face_index": 0, "track": 0, "confidence": 1.0, "sharpness": 1.0, "turn": 0.0}
    faces = [(0, BOX, 0.5), (1, BOX, 0.25), (2, OTHER, 0.5)]
    made = [FaceScore(frame_index=i, box=box, logit=0, score=score, **place) for i, box, score in faces]
    kit.write_record(kit.scores_record_path("m", "v"), VideoScores(video_id="v", faces=tuple(made), fingerprint=""))
    usual.write_json(usual.root / "scores.json", {"v": [[0, MOVED, 0.5], [1, BOX, 0.375], [2, BOX, 0.9]]})
    assert compare_scores(usual, kit, "m") == {SCORED: 0.6667, SCORES: 0.125}
    (usual.root / "scores.json").write_text(json.dumps({"v": [[7, BOX, 0.5]]}))
    with pytest.raises(ValueError, match="no face"):
        compare_scores(usual, kit, "m")
