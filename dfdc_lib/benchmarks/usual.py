"""The usual way to prepare and to score videos, against which the kit is measured.

Input: a run folder with videos.csv; for scores also a model. Output: boxes.json, crops/, landmarks/ and masks/, or
scores.json, in the run folder. Everything is on the CPU, and nothing of the kit that was made for speed is used.
Source: the winner's code as shared descriptions state it: facenet-pytorch's MTCNN on every frame of the originals, at
half size; crops of every 10th frame, of fakes with the boxes of their original; landmarks by a second search on the
crops; scikit-image's SSIM; for scores, detection frame by frame and PyTorch in float32. OpenCV decodes.
Departs from it only where outputs could not be compared: crops have the kit's margin, masks are clamped (there they
wrap around) and all channels weigh the same, and the recipe of the model decides about frames, crops and squares.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from skimage.metrics import structural_similarity

from dfdc_lib.classifier.checkpoints import load_classifier
from dfdc_lib.classifier.model_files import find_model
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces.crops import DEFAULT_MARGIN, cut_face
from dfdc_lib.faces.detect import detector_scale
from dfdc_lib.processes import core_count
from dfdc_lib.records import FAKE, DetectorSettings, FaceKey, Recipe, Video
from dfdc_lib.run_folder import Run

FRAMES_PER_BATCH = 32  # of detection
CROP_EVERY = 10  # frames
LANDMARK_THRESHOLDS = [0.65, 0.75, 0.75]  # winner
Boxes = dict[int, list[list[float]]]  # frame index -> boxes


def prepare(run: Run, settings: DetectorSettings, workers: int = 0) -> None:
    """Write the boxes, crops, landmarks and masks of all originals and fakes of a run folder.

    `settings`: thresholds and smallest face of the detector; frames are always halved, and all are searched. `workers`:
    processes that cut and compare, 0 = one per core; the detector uses PyTorch's threads.
    """
    videos = run.read_videos()
    detector, boxes = _mtcnn(list(settings.thresholds), settings.min_face_pixels), dict[str, Boxes]()
    for video in videos:
        if video.label != FAKE:
            boxes[video.video_id] = _search(detector, video.path)
    run.write_json(run.root / "boxes.json", boxes)
    cut, compare = partial(_write_crops, run, boxes), partial(_write_masks, run)
    with ProcessPoolExecutor(workers or core_count()) as pool:
        list(pool.map(cut, videos))
        _write_landmarks(run, [video.video_id for video in videos if video.label != FAKE])
        list(pool.map(compare, [video for video in videos if video.label == FAKE]))


def predict(run: Run, model: str, most_frames: int) -> None:
    """Score `most_frames` evenly spaced frames of every video of a run folder; write scores.json.

    The file maps a video_id to the list of (frame_index, box, score) of its faces. `model`: see `find_model`.
    """
    files = find_model(model, run)
    recipe, classifier = files.card.recipe, load_classifier(files).to(memory_format=torch.contiguous_format)
    detector = _mtcnn(list(recipe.detector.thresholds), recipe.detector.min_face_pixels)
    scores: dict[str, list[Any]] = {}
    for video in run.read_videos():
        places, squares = [], []
        for frame_index, image in _spaced_frames(video.path, most_frames):
            for box in _find(detector, [image], recipe.detector.resize)[0]:
                crop = cut_face(image, (box[0], box[1], box[2], box[3]), recipe.margin, recipe.edges)
                places.append((frame_index, box))
                squares.append(fit_to_square(crop, recipe))
        logits = _logits(classifier, np.stack(squares), recipe) if squares else torch.empty(0)
        scores[video.video_id] = [[*place, float(p)] for place, p in zip(places, logits.sigmoid(), strict=True)]
    run.write_json(run.root / "scores.json", scores)


def _mtcnn(thresholds: list[float], min_face_pixels: int) -> MTCNN:
    return MTCNN(margin=0, thresholds=thresholds, min_face_size=min_face_pixels, device="cpu")


def _frames(path: Path) -> Iterator[np.ndarray]:
    """Yield all frames of a video, (H, W, 3) uint8 RGB."""
    capture = cv2.VideoCapture(str(path))
    while True:
        read, frame = capture.read()
        if not read:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _spaced_frames(path: Path, most_frames: int) -> Iterator[tuple[int, np.ndarray]]:
    capture = cv2.VideoCapture(str(path))
    frame_count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(evenly_spaced(frame_count, most_frames))
    for frame_index in range(frame_count):
        capture.grab()
        if frame_index in wanted:
            read, frame = capture.retrieve()
            if read:
                yield frame_index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _search(detector: MTCNN, path: Path) -> Boxes:
    frames, boxes = _frames(path), list[list[list[float]]]()
    while batch := list(islice(frames, FRAMES_PER_BATCH)):
        boxes += _find(detector, batch, "winner")
    return dict(enumerate(boxes))


def _find(detector: MTCNN, images: Sequence[np.ndarray], resize: str) -> list[list[list[float]]]:
    """Return the boxes in each image, in its pixels."""
    height, width = images[0].shape[:2]
    scale = detector_scale(height, width, resize)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    found, _ = detector.detect([Image.fromarray(image).resize(size) for image in images])
    back = 1 / scale if resize == "winner" else np.tile([width / size[0], height / size[1]], 2)
    return [(boxes.astype(float) * back).tolist() if boxes is not None else [] for boxes in found]


def _write_crops(run: Run, boxes: dict[str, Boxes], video: Video) -> None:
    found = boxes[video.original_id if video.label == FAKE and video.original_id else video.video_id]
    run.crop_path(FaceKey(video.video_id, 0, 0)).parent.mkdir(parents=True)
    for frame_index, image in enumerate(_frames(video.path)):
        if frame_index % CROP_EVERY == 0:
            for face_index, (x0, y0, x1, y1) in enumerate(found.get(frame_index, ())):
                path = run.crop_path(FaceKey(video.video_id, frame_index, face_index))
                crop = cut_face(image, (x0, y0, x1, y1), DEFAULT_MARGIN)
                cv2.imwrite(str(path), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))


def _write_landmarks(run: Run, video_ids: Sequence[str]) -> None:
    detector, folder = _mtcnn(LANDMARK_THRESHOLDS, 20), run.root / "landmarks"
    folder.mkdir()
    for video_id in video_ids:
        found = {}
        for path in sorted((run.root / "crops" / video_id).glob("*.png")):
            _, _, landmarks = detector.detect(Image.open(path).convert("RGB"), landmarks=True)
            found[path.stem] = landmarks[0].tolist() if landmarks is not None else None
        (folder / f"{video_id}.json").write_text(json.dumps(found))


def _write_masks(run: Run, fake: Video) -> None:
    target = run.mask_path(FaceKey(fake.video_id, 0, 0)).parent
    target.mkdir(parents=True)
    for path in sorted((run.root / "crops" / fake.video_id).glob("*.png")):
        original, crop = (
            cv2.imread(str(run.root / "crops" / str(name) / path.name)) for name in (fake.original_id, fake.video_id)
        )
        if original is not None and crop is not None and original.shape == crop.shape and min(crop.shape[:2]) >= 7:
            _, similarity = structural_similarity(original, crop, channel_axis=2, full=True)
            mask = 255 * np.clip(1 - similarity.mean(axis=2), 0, 1)
            cv2.imwrite(str(target / path.name), np.round(mask).astype(np.uint8))


def _logits(classifier: Any, squares: np.ndarray, recipe: Recipe) -> torch.Tensor:
    """Return the logits of all squares, in one batch and PyTorch's default memory format."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (recipe.mean, recipe.std))
    images = (torch.from_numpy(squares).permute(0, 3, 1, 2).float().div(255) - mean) / std
    with torch.no_grad():
        features = classifier.encoder.forward_features(classifier.noise(images.contiguous()))
        return classifier.head(features)
