import pandas as pd
import pytest

from dfdc_lib.evaluation.coverage import Coverage
from dfdc_lib.evaluation.score_table import UNKNOWN_ROLE, UNSEEN_VIDEOS, ScoreTable

VIDEOS = pd.DataFrame({"label": [0, 1, 1], "group": [0, 0, 1]}, index=pd.Index(list("abc"), name="video_id"))
ROWS = [("a", 0), ("a", 0), ("a", 9), ("b", 0), ("c", 0), ("c", 1), ("c", 2)]
FRAMES = pd.DataFrame(ROWS, columns=["video_id", "frame_index"]).assign(score=0.5)


def table_of(frames: dict[str, pd.DataFrame], **fields: object) -> ScoreTable:
    return ScoreTable("t", VIDEOS, frames, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            table_of({"x": FRAMES}),
            {"frames": "1–3 frames per video, median 2", "role of the videos": UNKNOWN_ROLE, "coverage": "3 of 3"},
        ),
        (
            table_of({"x": FRAMES, "y": FRAMES}, coverage=Coverage(4, ("d",)), role=UNSEEN_VIDEOS, recipes=("x: 64",)),
            {"models": "x, y", "coverage": "3 of 4", "role of the videos": UNSEEN_VIDEOS, "recipes": "x: 64"},
        ),
        (table_of({"x": FRAMES}), {"videos": "3 (2 fake), 2 identity groups", "faces": "7 in 6 frames"}),
        (table_of({"x": FRAMES.drop_duplicates("video_id")}), {"frames": "one score per video", "faces": "unknown"}),
        (ScoreTable("t", VIDEOS[:0], {}), {}),
    ],
)
def test_the_protocol_names_how_the_numbers_came_about(table: ScoreTable, expected: dict[str, str]) -> None:
    protocol = table.protocol
    assert bool(protocol) == bool(expected)
    assert {name: protocol[name][: len(text)] for name, text in expected.items()} == expected


def test_every_title_shows_the_protocol_and_a_lack_of_coverage() -> None:
    complete = table_of({"x": FRAMES}, role=UNSEEN_VIDEOS).heading
    assert "1–3 frames" in complete and UNSEEN_VIDEOS in complete and "INCOMPLETE" not in complete
    assert "INCOMPLETE: 1 of 4 videos" in table_of({"x": FRAMES}, coverage=Coverage(4, ("d",))).heading


@pytest.mark.parametrize(
    ("expected", "missing", "mark"),
    [(0, 0, ""), (100, 1, ""), (199, 2, "coverage 98.9 %"), (10_000, 101, "coverage 98.9 %"), (2, 2, "coverage 0.0 %")],
)
def test_coverage_is_marked_below_99_percent(expected: int, missing: int, mark: str) -> None:
    coverage = Coverage(expected, tuple(f"v{number}" for number in range(missing)))
    assert mark in coverage.mark if mark else coverage.mark == ""
    assert len(coverage.notes) == bool(missing)
    if missing == 101:
        assert coverage.notes[0].endswith("v0, v1, v2, v3, v4 and 96 more")
