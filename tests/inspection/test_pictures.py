"""The pictures of an examination: written from short made videos, and read from a small made run folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data

from dfdc_lib.data.video import video_writer
from dfdc_lib.faces.masks import compare_crops
from dfdc_lib.inspection import pictures, verdict
from dfdc_lib.inspection.pictures import VIDEO_ID, image_path
from dfdc_lib.records import BOX_COLUMNS, FaceKey, Recipe
from dfdc_lib.run_folder import Run, open_run

BOX = (60.0, 40.0, 140.0, 150.0)
MARGIN = 0.3


def textured(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:height, :width])


def write_video(path: Path, image: np.ndarray, frames: int = 1) -> Path:
    with video_writer(path, image.shape[:2], 25, {"crf": "5", "threads": "1"}) as write:
        for _ in range(frames):
            write(np.ascontiguousarray(image))
    return path


def table(*boxes: tuple[int, tuple]) -> pd.DataFrame:
    """Faces as in faces.csv: frame_index, box."""
    rows = [(index, index / 25, place, place, 0.5, *box) for place, (index, box) in enumerate(boxes)]
    columns = ["frame_index", "time_seconds", "face_index", "track", "score", *BOX_COLUMNS]
    return pd.DataFrame(rows, columns=columns).assign(person=1)


@pytest.mark.parametrize(
    ("fake", "original"),
    [
        (textured(200, 240), textured(200, 240)),
        (textured(400, 480)[::2, ::2], textured(400, 480)),  # the fake is half as large
        (textured(200, 280)[:, 20:260], textured(200, 280)),  # the fake is the centre of the original
    ],
)
def test_masks_compare_the_same_part_of_frames_of_other_sizes(
    fake: np.ndarray, original: np.ndarray, tmp_path: Path
) -> None:
    run, faces, key = open_run(tmp_path / "run"), table((1, BOX)), FaceKey(VIDEO_ID, 1, 0)
    paths = [write_video(tmp_path / f"{n}.mp4", image, frames=2) for n, image in enumerate((fake, original))]
    pictures.write_crops(run, paths[0], faces, Recipe(size=64, margin=MARGIN))
    [row] = pictures.write_masks(run, *paths, faces, Recipe(size=64, margin=MARGIN)).to_dict("records")
    shapes = [run.read_image(path).shape for path in (image_path(run, "originals", key), run.crop_path(key))]
    assert shapes == [(176, 128, 3)] * 2
    assert row["ssim"] > 0.8 and row["changed_share"] < 0.05


@pytest.mark.parametrize(
    ("other_face", "shown"),
    [
        ((0.0, 50.0, 4.0, 60.0), slice(None)),  # too small to compare
        ((0.0, 60.0, 19.0, 120.0), slice(40, 240)),  # the original is the centre of the video, the face is outside
    ],
)
def test_face_that_cannot_be_compared_is_left_out(other_face: tuple, shown: slice, tmp_path: Path) -> None:
    run, faces = open_run(tmp_path / "run"), table((0, (100.0, 40.0, 180.0, 150.0)), (0, other_face))
    whole = textured(200, 280)
    paths = write_video(tmp_path / "a.mp4", whole), write_video(tmp_path / "b.mp4", whole[:, shown])
    pictures.write_crops(run, paths[0], faces, Recipe(size=64, margin=0.0))
    [row] = pictures.write_masks(run, *paths, faces, Recipe(size=64, margin=0.0)).to_dict("records")
    assert row["face_index"] == 0 and row["ssim"] > 0.8


def test_original_without_the_examined_frames_is_refused(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{count}.mp4", textured(200, 240), count) for count in (9, 2)]
    run, faces = open_run(tmp_path / "run"), table((5, BOX), (8, BOX))
    pictures.write_crops(run, paths[0], faces, Recipe(size=64, margin=MARGIN))
    with pytest.raises(ValueError, match="original"):
        pictures.write_masks(run, *paths, faces, Recipe(size=64, margin=MARGIN))


def test_a_video_that_starts_later_than_its_original_is_compared_at_the_same_moments(tmp_path: Path) -> None:
    moments = [textured(400, 480)[moment : moment + 200, 3 * moment : 3 * moment + 240] for moment in range(60)]
    paths = [tmp_path / "late.mp4", tmp_path / "original.mp4"]
    for path, images in zip(paths, (moments[25:], moments), strict=True):
        with video_writer(path, (200, 240), 25, {"crf": "5", "threads": "1"}) as write:
            for image in images:
                write(np.ascontiguousarray(image))
    run, faces = open_run(tmp_path / "run"), table((0, BOX), (20, BOX))
    recipe = Recipe(size=64, margin=MARGIN)
    pictures.write_crops(run, paths[0], faces, recipe)
    rows = pictures.write_masks(run, *paths, faces, recipe)
    assert rows["frame_index"].tolist() == [0, 20] and rows["ssim"].min() > 0.8
    upside_down = write_video(tmp_path / "other.mp4", textured(200, 240)[::-1], 60)
    with pytest.raises(ValueError, match="does not fit"):
        pictures.write_masks(run, paths[0], upside_down, faces, recipe)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([0.9, 0.8, 0.7], [0, 1, 2]),
        ([0.7, 0.8, 0.9, 0.6, 0.6, 0.7, 0.9, 0.95], [1, 2, 5, 7]),  # the highest of each quarter
        ([0.1, 0.2, 0.4, 0.3, 0.3, 0.2, 0.6, 0.05], [0, 3, 5, 7]),  # the lowest
        ([0.6] * 8, [0, 2, 4, 6]),
    ],
)
def test_evidence_is_the_strongest_row_of_each_quarter(scores: list[float], chosen: list[int]) -> None:
    others = [0.99 if scores[0] < 0.5 else 0.01] * 5
    rows = table(*((10 * index, BOX) for index in (*range(len(scores)), *range(5))))
    faces = rows.assign(score=scores + others, track=[0] * len(scores) + [1] * 5, sharpness=200.0, turn=0.0, models=1)
    faces = faces.sample(frac=1, random_state=0).reset_index(drop=True)
    person = next(person for person in verdict.describe_people(faces) if person.track == 0)
    evidence = pictures.evidence_rows(faces, person)
    assert set(evidence["track"]) == {0} and (evidence["frame_index"] // 10).tolist() == chosen


def crop(frame_index: int, face_index: int = 0) -> np.ndarray:
    """One colour that identifies the crop, with a texture in one corner for SSIM."""
    image = np.full((24, 16, 3), (frame_index, 100 * face_index, 7), np.uint8)
    image[:8, :8, 0] = np.arange(64).reshape(8, 8)
    return image


def places(*places: tuple[int, int, int]) -> pd.DataFrame:
    """Faces as in faces.csv: frame_index, face_index, track."""
    faces = pd.DataFrame(places, columns=["frame_index", "face_index", "track"])
    return faces.assign(time_seconds=faces["frame_index"] / 10, score=0.5, person=faces["track"] + 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twelve frames with two faces each; do not write to it."""
    run = open_run(tmp_path_factory.mktemp("pictures") / "run")
    for frame_index in range(12):
        run.write_image(pictures.frame_path(run, frame_index), np.full((40, 60, 3), frame_index, np.uint8))
        for key in (FaceKey(VIDEO_ID, frame_index, 0), FaceKey(VIDEO_ID, frame_index, 1)):
            run.write_image(run.crop_path(key), crop(*key[1:]))
            run.write_image(pictures.image_path(run, "heat", key), np.full((24, 16), 51 * key.face_index, np.uint8))
            run.write_image(image_path(run, "originals", key), crop(*key[1:])[::-1].copy())
    return run


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(0, 5, []), (1, 5, [0]), (3, 5, [0, 1, 2]), (12, 4, [0, 3, 7, 11]), (12, 1, [0])]
)
def test_thumbnails_are_evenly_spaced_in_time(run: Run, count: int, most: int, expected: list[int]) -> None:
    faces = places(*((frame_index, 0, 3) for frame_index in reversed(range(count))))
    chosen = pictures.thumbnails(run, faces, most)
    colours = {track: [int(image[-1, -1, 0]) for image in images] for track, images in chosen.items()}
    assert colours == ({3: expected} if count else {})


def test_thumbnails_of_two_people(run: Run) -> None:
    chosen = pictures.thumbnails(run, places((0, 0, 0), (0, 1, 1), (1, 1, 0), (2, 1, 1)), 5)
    colours = {track: [tuple(image[-1, -1]) for image in images] for track, images in chosen.items()}
    assert colours == {0: [(0, 0, 7), (1, 100, 7)], 1: [(0, 100, 7), (2, 100, 7)]}


def test_evidence_is_frame_crop_and_heat(run: Run) -> None:
    assert pictures.evidence(run, places()) == []
    panels = pictures.evidence(run, places((3, 1, 0), (9, 0, 0)))
    assert [(frame.shape, int(frame[0, 0, 0])) for frame, _, _ in panels] == [((40, 60, 3), 3), ((40, 60, 3), 9)]
    assert all(np.array_equal(panel[1], crop(*place)) for panel, place in zip(panels, [(3, 1), (9, 0)], strict=True))
    assert [(heat.shape, float(heat.max())) for _, _, heat in panels] == [((24, 16), 0.2), ((24, 16), 0)]


def test_scored_face_comes_with_its_frame(run: Run) -> None:
    boxes = {"box_x0": [1.0, 5.0], "box_y0": 2.0, "box_x1": 30.0, "box_y1": 40.0}
    faces = places((3, 0, 0), (3, 1, 1)).assign(**boxes, score=[0.1, 0.9])
    frame, box, score = pictures.scored_face(run, faces, 3, 1)
    assert (frame.shape, int(frame[0, 0, 0])) == ((40, 60, 3), 3)
    assert (box, score) == ((5.0, 2.0, 30.0, 40.0), 0.9)


def test_strongest_masks_come_first(run: Run) -> None:
    masks = places((1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)).assign(changed_share=[0.1, 0.4, 0.0, 0.4])
    assert pictures.strongest_masks(run, masks[:0], 4) == {}
    panels = pictures.strongest_masks(run, masks, 3)
    assert [label.split("\n")[0] for label in panels] == ["frame 2", "frame 4", "frame 1"]
    original, fake, ssim_map, mask = list(panels.values())[1]
    assert np.array_equal(fake, crop(4)) and np.array_equal(original, crop(4)[::-1])
    expected = compare_crops(original, fake)
    assert np.array_equal(ssim_map, expected.ssim_map) and np.array_equal(mask, expected.mask) and mask.max() > 75
    equal = places((1, 0, 0), (1, 1, 1)).assign(changed_share=0.0)
    assert len(pictures.strongest_masks(run, equal, 4)) == 2  # two people in one frame
