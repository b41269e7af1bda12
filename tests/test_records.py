"""Records are frozen, strict about fields and ranges, and survive JSON."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dfdc_lib.records import (
    FAKE,
    REAL,
    Alignment,
    Crop,
    DetectorSettings,
    Face,
    FaceKey,
    FrameFaces,
    Outcome,
    Video,
    VideoCrops,
    VideoFaces,
)

LANDMARKS = ((30.5, 40.25), (60.0, 41.0), (45.0, 60.0), (33.0, 75.0), (58.0, 75.5))
BOX = (20.0, 10.5, 80.25, 90.0)


def face(**fields) -> Face:
    return Face(**{"box": BOX, "landmarks": LANDMARKS, "confidence": 0.99} | fields)


def video_faces(*frames: FrameFaces) -> VideoFaces:
    settings = DetectorSettings(thresholds=(0.7, 0.8, 0.8), frame_stride=5)
    video = {"video_id": "183_253__c23", "height": 720, "width": 1280, "fps": 29.97, "frame_count": 28}
    search = {"missing_frame_count": 22, "detector_scale": 0.5, "settings": settings, "fingerprint": "a1b2"}
    return VideoFaces(**video, **search, frames=frames)


EMPTY = FrameFaces(frame_index=5, time_seconds=0.1668)
FULL = FrameFaces(frame_index=0, time_seconds=0.0, faces=(face(), face(confidence=1)))
CROP = Crop(
    **{
        "video_id": "a",
        "frame_index": 10,
        "face_index": 0,
        "boxes_frame_index": 14,
        "time_seconds": 0.4,
        "confidence": 0.9,
    },
    **{"box": BOX, "area": (8, 0, 92, 106), "landmarks": LANDMARKS},
)
CROPS = VideoCrops(
    **{"video_id": "a", "boxes_from": "b", "margin": 1 / 3, "crops": (CROP,), "fingerprint": "f"},
    **{"frames_only_here": 0, "frames_only_in_original": 2},
)
VIDEO = Video(video_id="a", path=Path("videos/a b.mp4"), label=FAKE, original_id="c", identities=("c", "d"), part=0)


@pytest.mark.parametrize("record", [video_faces(), video_faces(EMPTY), video_faces(FULL, EMPTY), VIDEO, CROPS])
def test_a_record_survives_json(record):
    again = type(record).model_validate_json(record.model_dump_json())
    assert again == record
    assert again.model_dump_json() == record.model_dump_json()


def test_defaults():
    video = Video(video_id="a", path=Path("a.mp4"))
    assert (video.label, video.original_id, video.identities, video.method, video.part) == (None, None, (), "", None)
    assert FrameFaces(frame_index=0, time_seconds=0).faces == ()
    assert (REAL, FAKE) == (0, 1)
    assert CROPS.alignment == Alignment(transform=(1, 1, 0, 0))
    settings = DetectorSettings()  # the winner's for training data
    assert (settings.thresholds, settings.frame_stride, settings.resize) == ((0.85, 0.95, 0.95), 10, "slides")


def test_face_key():
    assert FaceKey("v", 30, 1).name == "00030_1"


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (face(), "confidence", 0.5),
        (FrameFaces(frame_index=0, time_seconds=0), "faces", ()),
        (video_faces(), "video_id", "b"),
        (DetectorSettings(), "frame_stride", 1),
        (Video(video_id="a", path=Path("a.mp4")), "label", REAL),
        (Outcome(video_id="a", status="done"), "count", 1),
    ],
)
def test_a_record_is_frozen(record, field, value):
    before = record.model_dump()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, field, value)
    assert record.model_dump() == before


def test_frozen_records_are_keys():
    assert len({DetectorSettings(), DetectorSettings(), DetectorSettings(frame_stride=1)}) == 2


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: face(score=0.9), "score"),
        (lambda: DetectorSettings(stride=3), "stride"),
        (lambda: Video(video_id="a", path=Path("a.mp4"), donor="b"), "donor"),
        (lambda: face(confidence=-0.001), "confidence"),
        (lambda: face(confidence=1.001), "confidence"),
        (lambda: face(confidence=float("nan")), "confidence"),
        (lambda: face(box=(0, 0, float("nan"), 10)), "box.2"),
        (lambda: face(landmarks=((1, float("inf")), *LANDMARKS[1:])), "landmarks.0.1"),
        (lambda: DetectorSettings(thresholds=(0.7, 0.8, float("nan"))), "thresholds.2"),  # any record, any field
        (lambda: face(box=(0, 0, 10)), "box.3"),
        (lambda: face(box=(0, 0, 10, 10, 0.9)), "box"),
        (lambda: face(landmarks=LANDMARKS[:4]), "landmarks.4"),
        (lambda: face(landmarks=((1, 2, 3), *LANDMARKS[1:])), "landmarks.0"),
        (lambda: FrameFaces(frame_index=-1, time_seconds=0), "frame_index"),
        (lambda: FrameFaces(frame_index=0.5, time_seconds=0), "frame_index"),
        (lambda: FrameFaces(frame_index=0, time_seconds=0, faces=None), "faces"),
        (lambda: DetectorSettings(frame_stride=0), "frame_stride"),
        (lambda: DetectorSettings(thresholds=(0.7, 0.8)), "thresholds.2"),
        (lambda: DetectorSettings(resize="double"), "resize"),
        (lambda: Outcome(video_id="a", status="skipped"), "status"),
        (lambda: Video(path=Path("a.mp4")), "video_id"),
        *[(lambda name=name: Video(video_id=name, path=Path("a.mp4")), "video_id") for name in ("", ".", "..", "a/b")],
    ],
)
def test_a_wrong_record_is_refused_and_the_field_named(make, field):
    with pytest.raises(ValidationError) as refusal:
        make()
    assert [".".join(map(str, error["loc"])) for error in refusal.value.errors()] == [field]


def test_json_with_an_unknown_field_is_refused():
    text = video_faces().model_dump_json().replace('"height":720', '"height":720,"scale":2')
    with pytest.raises(ValidationError, match="scale"):
        VideoFaces.model_validate_json(text)
