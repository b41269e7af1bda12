"""Stages 00 to 03 on fakes that lack frames of their original, that start later, or that show something else."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib import workers
from dfdc_lib.backends.choice import Engine
from dfdc_lib.data.video import Frame, VideoReader, video_writer
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.faces import detect_stage
from dfdc_lib.faces.crop_stage import crop_faces
from dfdc_lib.faces.detect_stage import detect_faces
from dfdc_lib.faces.mask_stage import crop_pair, make_masks
from dfdc_lib.records import DetectorSettings, FaceKey, Outcome, VideoFaces
from dfdc_lib.run_folder import Run, open_run

FRAMES, STRIDE = 170, 10
HEIGHT, WIDTH = 240, 320
FAKES = {
    **{f"drop_{n}": [*range(40), *range(40 + n, 100), *range(100 + n, FRAMES)] for n in (1, 3, 40)},
    "late": list(range(25, FRAMES)),
    "whole": list(range(FRAMES)),
}


def frame(moment: int, forge: bool) -> np.ndarray:
    """Return what a camera sees that pans over a portrait, (240, 320, 3) uint8; a forged face has other eyes."""
    portrait = data.astronaut()
    if forge:
        portrait[95:125, 195:255] = portrait[95:125, 195:255][::-1, ::-1]
    x, y = 220 + 25 * np.sin(moment / 11), 140 + 15 * np.cos(moment / 7)
    return cv2.getRectSubPix(portrait, (WIDTH, HEIGHT), (x, y))


def write(path: Path, frames: list[np.ndarray]) -> None:
    with video_writer(path, (HEIGHT, WIDTH), 25, {"crf": "20", "threads": "1"}) as add:
        for image in frames:
            add(image)


def counted(reader: VideoReader, *arguments: Any) -> Iterator[Frame]:
    READS[reader.path.stem] += 1
    return read_frames(reader, *arguments)


READS, read_frames = Counter[str](), VideoReader.frames  # video -> how many times it was decoded in stage 01


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("jumps")
    write(folder / "original.mp4", [frame(moment, forge=False) for moment in range(FRAMES)])
    for name, moments in FAKES.items():
        write(folder / f"{name}.mp4", [frame(moment, forge=True) for moment in moments])
    write(folder / "other.mp4", [np.flip(frame(moment, forge=False), 1) for moment in range(60)])
    metadata = {f"{name}.mp4": {"label": "FAKE", "original": "original.mp4"} for name in [*FAKES, "other"]}
    (folder / "metadata.json").write_text(json.dumps(metadata | {"original.mp4": {"label": "REAL"}}))
    opened = open_run(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)  # processes take seconds to start
        find_videos(opened, str(folder), "dfdc")
        patch.setattr(VideoReader, "frames", counted)
        detect_faces(opened, DetectorSettings(frame_stride=STRIDE), Engine())
        crop_faces(opened)
        make_masks(opened)
    yield opened


def outcome(run: Run, stage: str, video_id: str) -> Outcome:
    return run.read_outcomes(stage)[video_id]


@pytest.mark.parametrize("name", FAKES)
def test_masks_are_of_frames_that_correspond(run: Run, name: str) -> None:
    moments = FAKES[name]
    crops = {(crop.frame_index, crop.face_index): crop for crop in run.read_crops(name).crops}
    masks = run.read_masks(name).masks
    assert run.read_crops(name).boxes_from == "original"
    for mask in masks:
        crop = crops[mask.frame_index, mask.face_index]
        assert crop.boxes_frame_index == moments[mask.frame_index]
        original, fake = crop_pair(run, FaceKey(name, mask.frame_index, mask.face_index))
        assert original.shape == fake.shape
        assert mask.changed_share < 0.3  # the eyes; .5 and more if the frames differ
    examined = [moment for moment in moments if moment % STRIDE == 0]
    assert len(examined) - 2 <= len(masks) <= len(examined)
    skipped = run.read_crops(name).frames_only_here
    assert skipped == len(moments) - len(run.read_alignment(name).alignment.original_frames()) <= 15


def test_frames_that_correspond_are_said_in_the_notes(run: Run) -> None:
    offsets = {name: outcome(run, "02_crop_faces", name).note for name in FAKES}
    assert "3, 6" in offsets["drop_3"] and "40, 80" in offsets["drop_40"] and "25" in offsets["late"]
    assert offsets["whole"] == ""


def test_a_fake_that_does_not_fit_has_its_own_boxes_and_no_mask(run: Run) -> None:
    stages = ["01_align_fakes", "01_detect_faces", "02_crop_faces", "03_ssim_masks"]
    statuses = [outcome(run, stage, "other").status for stage in stages]
    assert statuses == ["nothing", "done", "done", "nothing"]
    assert all("does not fit" in outcome(run, stage, "other").note for stage in (stages[0], stages[1], stages[3]))
    assert run.read_crops("other").boxes_from == "other"
    assert run.boxes_path("other").exists() and not run.boxes_path("whole").exists()
    assert "other" not in set(run.read_table("masks.csv")["video_id"])


def test_a_face_outside_its_original_costs_one_mask(run: Run) -> None:
    """A fake that is larger than its original, with a face near a corner, once lost all its masks."""
    record = run.read_crops("whole")
    outside = record.crops[0].model_copy(update={"area": (-200, -200, -120, -120)})
    run.write_record(run.crops_record_path("whole"), record.model_copy(update={"crops": (outside, *record.crops[1:])}))
    run.masks_record_path("whole").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)
        made = {one.video_id: one for one in make_masks(run)}["whole"]
    assert (made.status, made.count) == ("done", len(record.crops) - 1)
    assert run.read_masks("whole").crops_left_out == 1


def test_stage_01_decodes_a_video_once_unless_it_does_not_fit(run: Run) -> None:
    assert run.boxes_path("original").exists()
    assert dict(READS) == {"original": 1, "other": 2} | dict.fromkeys(FAKES, 1)


def test_if_no_faces_can_be_found_the_fakes_are_aligned_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search of the original fails; that of the fake that does not fit succeeds."""
    alignments = {name: run.read_alignment(name) for name in (*FAKES, "other")}
    boxes = run.read_faces("other")
    for name in alignments:
        run.alignment_path(name).unlink()
    for name in ("original", "other"):
        run.boxes_path(name).unlink()
    search = detect_stage.detect_frames

    def fail(reader: VideoReader, *arguments: Any) -> VideoFaces:
        if reader.path.stem == "original":
            raise RuntimeError("no detector")
        return search(reader, *arguments)

    monkeypatch.setattr(workers, "worker_pool", ThreadPoolExecutor)
    monkeypatch.setattr(detect_stage, "detect_frames", fail)
    outcomes = {one.video_id: one for one in detect_faces(run, DetectorSettings(frame_stride=STRIDE), Engine())}
    assert {name: run.read_alignment(name) for name in alignments} == alignments
    assert (outcomes["original"].status, outcomes["original"].note) == ("failed", "RuntimeError: no detector")
    assert (outcomes["other"].status, run.read_faces("other")) == ("done", boxes)
    assert {outcomes[name].status for name in FAKES} == {"not needed"}
