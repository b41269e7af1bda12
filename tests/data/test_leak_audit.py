"""Leak audit: planted leaks."""

from pathlib import Path

import pytest

from dfdc_lib.data.leak_audit import audit
from dfdc_lib.data.look_alikes import SimilarPair
from dfdc_lib.records import Video


def video(video_id: str, *identities: str, original_id: str | None = None) -> Video:
    return Video(video_id=video_id, path=Path(f"{video_id}.mp4"), identities=identities, original_id=original_id)


LEAKY = [video("a", "x"), video("b", "x", "y"), video("c", "y"), video("d")]
ORIGINAL, FAKE, NAMED_FAKE = video("o", "o"), video("f", original_id="o"), video("f", "o", original_id="o")
DONATED = [video("o", "d"), video("f", "x", "d"), video("g", "y", "d")]
TWO_NAMES = [video("a", "x", "y"), video("b", "y", "x")]
FOUR = [video(name, "x") for name in "abcd"]
ONE_EACH = "1 in fold 0, 1 in fold 1"
BITS = "the nearest frames differ in {} of 64 bits"
A_D = SimilarPair("a", "d", 2, 64)
TWO_IDENTITIES = [f"donor 01 cb identity y: {ONE_EACH}", f"identity 01 ab identity x: {ONE_EACH}"]
THREE_FOLDS = [("01 ab", "1 in fold 0, 2 in fold 1"), ("02 ad", "1 in fold 0, 1 in fold 2")]
THREE_FOLDS += [("12 bd", "2 in fold 1, 1 in fold 2")]


@pytest.mark.parametrize(
    ("videos", "folds", "similar", "leaks"),  # folds: one digit per video
    [
        ([], "", [], []),
        (LEAKY, "0000", [A_D], []),
        (LEAKY, "1000", [], [f"identity 01 ba identity x: {ONE_EACH}"]),
        (LEAKY, "0002", [A_D], [f"same scene 02 ad {BITS.format(2)}"]),
        (LEAKY, "0002", [A_D._replace(common_distance=4)], [f"look-alike 02 ad {BITS.format(2)}"]),
        (LEAKY, "0101", [A_D], [*TWO_IDENTITIES, f"same scene 01 ad {BITS.format(2)}"]),  # sorted
        # a person who only gives the face: to a target's fold, and in both folds
        (DONATED[:2], "01", [], [f"donor 01 of identity d: {ONE_EACH}"]),
        (DONATED[1:], "01", [], [f"donor 01 fg identity d: {ONE_EACH}"]),
        # an identity in three folds: one leak per pair of folds, each with one example and the counts
        (FOUR, "0112", [], [f"identity {folds} identity x: {counts}" for folds, counts in THREE_FOLDS]),
        # one pair of videos with two shared names is one leak
        (TWO_NAMES, "01", [], [f"donor 01 ab identity x: {ONE_EACH}; identity y: {ONE_EACH}"]),
        # connected by original_id alone; by an identity too, which is reported once
        ([FAKE, ORIGINAL], "01", [], [f"identity 01 fo original o: {ONE_EACH}"]),
        ([NAMED_FAKE, ORIGINAL], "01", [], [f"identity 01 fo identity o: {ONE_EACH}"]),
    ],
)
def test_audit(videos, folds, similar, leaks):
    fold_of = {video.video_id: int(fold) for video, fold in zip(videos, folds, strict=True)}
    audited = audit(videos, fold_of, similar)
    assert ["{} {}{} {}{} {}".format(leak.kind, *leak.folds, *leak.videos, leak.detail) for leak in audited] == leaks
    assert audited == sorted(audited)
    assert audit(videos[::-1], fold_of, similar[::-1]) == audited


def test_every_video_and_pair_needs_a_fold():
    with pytest.raises(ValueError, match="2 have none, e.g. c"):
        audit(LEAKY, {"a": 0, "b": 0}, [])
    with pytest.raises(ValueError, match="e.g. e"):
        audit(LEAKY, dict.fromkeys("abcd", 0), [SimilarPair("a", "e", 2, 64)])
