"""The pictures of an examination, read from a small made run folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.faces.masks import ssim_map
from dfdc_lib.inspection import pictures
from dfdc_lib.inspection.pictures import VIDEO_ID
from dfdc_lib.records import FaceKey
from dfdc_lib.run_folder import Run, open_run


def crop(frame_index: int, face_index: int = 0) -> np.ndarray:
    """One colour that tells which crop it is, with a texture in one corner for SSIM."""
    image = np.full((24, 16, 3), (frame_index, 100 * face_index, 7), np.uint8)
    image[:8, :8, 0] = np.arange(64).reshape(8, 8)
    return image


def rows(*places: tuple[int, int, int]) -> pd.DataFrame:
    """Faces as in faces.csv: frame_index, face_index, track."""
    table = pd.DataFrame(places, columns=["frame_index", "face_index", "track"])
    return table.assign(time_seconds=table["frame_index"] / 10, score=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twelve frames with two faces each; do not write to it."""
    made = open_run(tmp_path_factory.mktemp("pictures") / "run")
    for frame_index in range(12):
        made.write_image(pictures.frame_path(made, frame_index), np.full((40, 60, 3), frame_index, np.uint8))
        for face_index in range(2):
            place = (frame_index, face_index)
            made.write_image(made.crop_path(FaceKey(VIDEO_ID, *place)), crop(*place))
            made.write_image(pictures.heat_path(made, *place), np.full((24, 16), 51 * face_index, np.uint8))
            made.write_image(pictures.original_path(made, *place), crop(*place)[::-1].copy())
            made.write_image(made.mask_path(FaceKey(VIDEO_ID, *place)), np.full((24, 16), 20 * frame_index, np.uint8))
    return made


def test_every_picture_has_its_place(run: Run) -> None:
    assert pictures.frame_path(run, 7).relative_to(run.root) == Path("frames/00007.jpg")
    assert pictures.heat_path(run, 7, 1).relative_to(run.root) == Path("heat/00007_1.png")
    assert pictures.original_path(run, 7, 1).relative_to(run.root) == Path("originals/00007_1.png")


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (0, 5, []),
        (1, 5, [0]),
        (3, 5, [0, 1, 2]),
        (12, 4, [0, 4, 7, 11]),
        (12, 2, [0, 11]),
        (12, 1, [0]),
        (12, 12, list(range(12))),
    ],
)
def test_thumbnails_are_evenly_chosen_in_order_of_time(run: Run, count: int, most: int, expected: list[int]) -> None:
    faces = rows(*((frame_index, 0, 3) for frame_index in reversed(range(count))))
    chosen = pictures.thumbnails(run, faces, most)
    assert {track: [int(image[-1, -1, 0]) for image in images] for track, images in chosen.items()} == (
        {3: expected} if count else {}
    )


def test_thumbnails_of_two_people_are_their_own(run: Run) -> None:
    chosen = pictures.thumbnails(run, rows((0, 0, 0), (0, 1, 1), (1, 1, 0), (2, 1, 1)), 5)
    assert {track: [tuple(image[-1, -1]) for image in images] for track, images in chosen.items()} == {
        0: [(0, 0, 7), (1, 100, 7)],
        1: [(0, 100, 7), (2, 100, 7)],
    }


def test_evidence_is_frame_crop_and_heat(run: Run) -> None:
    assert pictures.evidence(run, rows()) == []
    found = pictures.evidence(run, rows((3, 1, 0), (9, 0, 0)))
    assert [frame.shape for frame, _, _ in found] == [(40, 60, 3)] * 2
    assert [int(frame[0, 0, 0]) for frame, _, _ in found] == [3, 9]
    assert all(np.array_equal(seen, crop(*place)) for (_, seen, _), place in zip(found, [(3, 1), (9, 0)], strict=True))
    assert [(heat.shape, float(heat.max())) for _, _, heat in found] == [((24, 16), 0.2), ((24, 16), 0)]


def test_a_scored_face_comes_with_its_frame(run: Run) -> None:
    faces = rows((3, 0, 0), (3, 1, 1)).assign(box_x0=[1.0, 5.0], box_y0=2.0, box_x1=30.0, box_y1=40.0, score=[0.1, 0.9])
    frame, box, score = pictures.scored_face(run, faces, 3, 1)
    assert (frame.shape, int(frame[0, 0, 0])) == ((40, 60, 3), 3)
    assert (box, score) == ((5.0, 2.0, 30.0, 40.0), 0.9)


def test_strongest_masks_come_first(run: Run) -> None:
    masks = rows((1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)).assign(changed_share=[0.1, 0.4, 0.0, 0.4])
    assert pictures.strongest_masks(run, masks[:0], 4) == {}
    found = pictures.strongest_masks(run, masks, 3)
    assert [label.split("\n")[0] for label in found] == ["frame 2", "frame 4", "frame 1"]
    assert next(iter(found)) == "frame 2\n0.20 s\nperson 0\nchanged 40%"
    original, fake, similarity, mask = found["frame 4\n0.40 s\nperson 0\nchanged 40%"]
    assert np.array_equal(fake, crop(4)) and np.array_equal(original, crop(4)[::-1])
    assert np.array_equal(similarity, ssim_map(original, fake)) and similarity.min() < 0.7 < similarity.max()
    assert set(mask.ravel()) == {80}


def test_two_people_of_one_frame_who_changed_alike_are_both_shown(run: Run) -> None:
    masks = rows((1, 0, 0), (1, 1, 1)).assign(changed_share=0.0)
    assert len(pictures.strongest_masks(run, masks, 4)) == 2
