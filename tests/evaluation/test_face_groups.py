from itertools import product

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation.face_groups import FaceGroups, equal_runs, group_faces


def table_of(frames: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(frames, columns=["video_id", "frame_index", "track", "score"])


def evenly(total: int, faces: int = 1) -> FaceGroups:
    """Return the groups of one video with `faces` faces in each of `total` frames; the score is that of the frame."""
    rows = [("a", 10 * index, track, index) for index in range(total) for track in range(faces)]
    return group_faces(table_of(rows), ["video_id"])


def test_faces_are_ordered_by_group_and_else_as_in_the_table() -> None:
    table = table_of([("b", 7, 0, 0.1), ("a", 3, 0, 0.2), ("b", 5, 0, 0.3), ("a", 3, 1, 0.4), ("b", 7, 1, 0.5)])
    groups = group_faces(table, ["video_id"])
    assert groups.index.tolist() == ["a", "b"] and groups.sizes.tolist() == [2, 3]
    assert groups.scores.tolist() == [0.2, 0.4, 0.1, 0.3, 0.5] and groups.confidences.tolist() == [1] * 5
    assert groups.positions.tolist() == [0, 0, 1, 0, 1] and groups.frame_counts.tolist() == [1, 2]
    people = group_faces(table.assign(confidence=table["score"]), ["video_id", "track"])
    assert people.index.tolist() == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert people.confidences.tolist() == people.scores.tolist() == [0.2, 0.4, 0.1, 0.3, 0.5]


def test_a_strategy_gets_the_faces_of_each_group() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 6, 40)
    table = table_of([(f"v{v:02d}", f, 0, generator.random()) for v, size in enumerate(sizes) for f in range(size)])
    totals = group_faces(table.sample(frac=1, random_state=0), ["video_id"]).apply(
        lambda scores, _: scores.sum(axis=-1)
    )
    assert totals.to_dict() == pytest.approx(table.groupby("video_id")["score"].sum().to_dict())


@pytest.mark.parametrize("sizes", [[], [1], [3, 3], [2, 5, 1, 2, 5]])
def test_equal_runs(sizes: list[int]) -> None:
    values = np.arange(sum(sizes))
    runs = {
        int(run): values[row].tolist()
        for which, rows in equal_runs(np.array(sizes, int))
        for run, row in zip(which, rows, strict=True)
    }
    assert [runs[number] for number in range(len(sizes))] == [
        part.tolist() for part in np.split(values, np.cumsum(sizes)[:-1])
    ] * bool(sizes)


def test_thinned() -> None:
    cases = {(7, 1): [3], (7, 2): [1, 5], (7, 7): list(range(7)), (3, 8): [0, 1, 2], (8, 4): [1, 3, 5, 7]}
    for total, count in [*cases, *product((1, 2, 5, 16, 17, 59), (1, 2, 3, 7, 16, 31, 58))]:
        thinned = evenly(total).thinned(count)
        assert thinned.sizes.tolist() == thinned.frame_counts.tolist() == [min(total, count)]
        assert thinned.positions.tolist() == list(range(min(total, count)))
        assert thinned.scores.tolist() == cases.get((total, count), thinned.scores.tolist())
    two = evenly(7, faces=2).thinned(2)
    assert two.scores.tolist() == [1, 1, 5, 5] and two.positions.tolist() == [0, 0, 1, 1]
