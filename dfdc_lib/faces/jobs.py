"""The work on one video: the function of each stage that runs in a worker process.

A `make_…` function reads the run folder and the video, writes that video's files, their record last, and returns the record; the
`…_outcome` function beside it says in words what a record holds.
"""

import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfdc_lib.data import folds, video
from dfdc_lib.faces import crops, masks
from dfdc_lib.records import (
    Crop,
    DetectorSettings,
    FaceKey,
    Mask,
    Outcome,
    Video,
    VideoCrops,
    VideoFaces,
    VideoHashes,
    VideoInfo,
    VideoMasks,
)
from dfdc_lib.run_folder import Run

if TYPE_CHECKING:
    from dfdc_lib.faces.detect import FaceDetector

HASHED_FRAMES = {0, 30}  # the first picture and one a second later


def make_info(run: Run, item: Video, fingerprint: str) -> VideoInfo:
    """Read a video's header."""
    info = video.read_info(item.path).model_copy(update={"fingerprint": fingerprint})
    run.write_record(run.info_path(item.video_id), info)
    return info


def info_outcome(video_id: str, info: VideoInfo) -> Outcome:
    """Count the frames that the header declares."""
    return Outcome(video_id=video_id, status="done", count=info.frame_count, fingerprint=info.fingerprint)


def make_boxes(run: Run, item: Video, settings: DetectorSettings, device: str, fingerprint: str) -> VideoFaces:
    """Find a video's faces."""
    from dfdc_lib.faces.detect import detect_video  # here: torch costs each worker seconds, and no other job needs it

    faces = detect_video(item.path, item.video_id, _detector(settings, device), fingerprint, threads=1)
    run.write_record(run.boxes_path(item.video_id), faces)
    return faces


@lru_cache(maxsize=1)
def _detector(settings: DetectorSettings, device: str) -> "FaceDetector":
    """Load the networks once per worker."""
    from dfdc_lib.faces.detect import FaceDetector

    return FaceDetector(settings, device)


def boxes_outcome(searched_because: str, faces: VideoFaces) -> Outcome:
    """Count the faces; say why a fake was searched, that there is no face, and what is missing of the file."""
    count = sum(len(frame.faces) for frame in faces.frames)
    notes = [f"searched itself: {searched_because}"] if searched_because else []
    if not count:
        notes.append(f"no face in {len(faces.frames)} examined frames")
    if faces.missing_frame_count:
        notes.append(
            f"{faces.missing_frame_count} of {faces.frame_count + faces.missing_frame_count} frames missing or damaged"
        )
    return _counted(faces.video_id, count, notes, faces.fingerprint)


def make_crops(run: Run, item: Video, source: Video, margin: float, fingerprint: str) -> VideoCrops:
    """Cut the faces out of a video, with the boxes of `source`: its own, or its original's."""
    shutil.rmtree(run.crops_record_path(item.video_id).parent, ignore_errors=True)
    searched = run.read_faces(source.video_id)
    frames = {frame.frame_index: frame for frame in searched.frames}
    alignment = crops.Alignment() if source.video_id == item.video_id else _alignment(source.path, item.path)
    found: list[Crop] = []
    seen: set[int] = set()
    with video.VideoReader(item.path, threads=1) as reader:
        for frame in reader.frames(lambda frame_index: frame_index % searched.settings.frame_stride == 0):
            seen.add(frame.frame_index)
            for face_index, face in enumerate(frames[frame.frame_index].faces if frame.frame_index in frames else ()):
                box = crops.align_box(face.box, alignment)
                area = crops.crop_area(box, margin, reader.info.height, reader.info.width)
                if crops.is_empty(area):  # only where a fake shows a smaller part of the picture than its original
                    continue
                run.write_image(
                    run.crop_path(FaceKey(item.video_id, frame.frame_index, face_index)), crops.cut(frame.image, area)
                )
                found.append(
                    Crop(
                        video_id=item.video_id,
                        frame_index=frame.frame_index,
                        face_index=face_index,
                        time_seconds=frame.time_seconds,
                        confidence=face.confidence,
                        box=box,
                        area=area,
                        landmarks=crops.landmarks_in_crop(crops.align_landmarks(face.landmarks, alignment), area),
                    )
                )
    record = VideoCrops(
        video_id=item.video_id,
        boxes_from=source.video_id,
        margin=margin,
        alignment=alignment,
        crops=tuple(found),
        frames_only_here=len(seen - set(frames)),
        frames_only_in_original=len(set(frames) - seen),
        fingerprint=fingerprint,
    )
    run.write_record(run.crops_record_path(item.video_id), record)
    return record


def _alignment(original: Path, fake: Path) -> crops.Alignment:
    """Compare the first frames of both videos."""
    pairs = zip(video.read_frames(original, {0}, threads=1), video.read_frames(fake, {0}, threads=1), strict=False)
    return next((crops.align_frames(a.image, b.image) for a, b in pairs), crops.Alignment())


def crops_outcome(record: VideoCrops) -> Outcome:
    """Count the crops; say which frames were left out, and how frames of another size were brought together."""
    notes = [] if record.crops else [f"no face in the boxes of {record.boxes_from}"]
    if record.frames_only_here:
        notes.append(f"{record.frames_only_here} examined frames that {record.boxes_from} does not have, left out")
    if record.frames_only_in_original:
        notes.append(f"{record.frames_only_in_original} examined frames that only {record.boxes_from} has, left out")
    if record.alignment != crops.Alignment():
        scale_x, scale_y, offset_x, offset_y = record.alignment
        notes.append(
            f"frame of another size: scaled by {scale_x:.3f}, {scale_y:.3f} and moved by {offset_x:.0f}, {offset_y:.0f} pixels"
        )
    return _counted(record.video_id, len(record.crops), notes, record.fingerprint)


def crop_pair(run: Run, video_id: str, frame_index: int, face_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a fake's crop and the same pixels of its original.

    Returns:
        original and fake, (H, W, 3) uint8 RGB of one shape.
    Raises:
        KeyError: if one of them has no such crop.
    """
    fakes = run.read_crops(video_id)
    place = (frame_index, face_index)
    return _read_pair(run, _by_place(fakes)[place], _by_place(run.read_crops(fakes.boxes_from))[place], fakes.alignment)


def make_masks(run: Run, video_id: str, original_id: str, fingerprint: str) -> VideoMasks:
    """Compare each of a fake's crops with its original's."""
    shutil.rmtree(run.masks_record_path(video_id).parent, ignore_errors=True)
    fakes, originals = run.read_crops(video_id), _by_place(run.read_crops(original_id))
    found = []
    for place, fake in _by_place(fakes).items():
        if place not in originals or min(fake.area[2] - fake.area[0], fake.area[3] - fake.area[1]) < masks.WINDOW:
            continue
        similarity = masks.ssim_map(*_read_pair(run, fake, originals[place], fakes.alignment))
        mask = masks.mask_of(similarity)
        run.write_image(run.mask_path(FaceKey(video_id, *place)), mask)
        mean, changed = round(float(similarity.mean()), 5), round(masks.changed_share(mask), 5)
        found.append(Mask(frame_index=place[0], face_index=place[1], ssim=mean, changed_share=changed))
    left_out = len(fakes.crops) - len(found)
    record = VideoMasks(
        video_id=video_id, original_id=original_id, masks=tuple(found), crops_left_out=left_out, fingerprint=fingerprint
    )
    run.write_record(run.masks_record_path(video_id), record)
    return record


def masks_outcome(record: VideoMasks) -> Outcome:
    """Count the masks; say how many crops have none."""
    reason = f"the original lacks the frame, or the crop is smaller than {masks.WINDOW} pixels"
    notes = [f"{record.crops_left_out} crops without a mask: {reason}"] if record.crops_left_out else []
    return _counted(record.video_id, len(record.masks), notes, record.fingerprint)


def make_hashes(run: Run, item: Video, fingerprint: str) -> VideoHashes:
    """Hash what a video looks like."""
    frames = video.read_frames(item.path, HASHED_FRAMES, threads=1)
    hashes = tuple(folds.perceptual_hash(frame.image) for frame in frames)
    record = VideoHashes(video_id=item.video_id, hashes=hashes, fingerprint=fingerprint)
    run.write_record(run.hash_path(item.video_id), record)
    return record


def hashes_outcome(record: VideoHashes) -> Outcome:
    """Count the hashed frames."""
    return _counted(record.video_id, len(record.hashes), [], record.fingerprint)


def _counted(video_id: str, count: int, notes: list[str], fingerprint: str) -> Outcome:
    status = "done" if count else "nothing"
    return Outcome(video_id=video_id, status=status, count=count, note="; ".join(notes), fingerprint=fingerprint)


def _by_place(record: VideoCrops) -> dict[tuple[int, int], Crop]:
    return {(crop.frame_index, crop.face_index): crop for crop in record.crops}


def _read_pair(
    run: Run, fake: Crop, original: Crop, alignment: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    original_crop = run.read_image(run.crop_path(FaceKey(original.video_id, original.frame_index, original.face_index)))
    fake_crop = run.read_image(run.crop_path(FaceKey(fake.video_id, fake.frame_index, fake.face_index)))
    return crops.matching_patch(original_crop, original.area, fake.area, crops.Alignment(*alignment)), fake_crop
