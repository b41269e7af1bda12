"""The winner's inference on eight real videos: the same faces and the same scores as his code gave."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dfdc_lib import workers
from dfdc_lib.classifier import predict
from dfdc_lib.classifier.computation import Computation
from dfdc_lib.evaluation.strategies import STRATEGIES, video_scores
from dfdc_lib.records import BOX_COLUMNS, Video
from dfdc_lib.run_folder import open_run

CHECKPOINT = "DeepFakeClassifier_tf_efficientnet_b2_ns_0_0"  # under a name of the released form
MOST = 1e-3  # of a score; 1.3e-5 measured
STRETCH = {"odd/small_176x144.mp4": 193 / 176}  # a player shows it at 193 x 144; the winner read the stored pixels


@pytest.fixture
def parity(test_videos: Path) -> Path:
    folder = test_videos / "parity"
    if not folder.is_dir():
        pytest.skip(f"no results of the winner's inference in {folder}")
    return folder


def test_every_face_has_the_winners_score(parity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "worker_pool", ThreadPoolExecutor)
    half = torch.load(parity / "checkpoint_b2_half.pt", weights_only=True)
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in half.items()}
    torch.save({"state_dict": weights}, tmp_path / CHECKPOINT)
    expected, by_video = pd.read_csv(parity / "faces.csv"), pd.read_csv(parity / "videos.csv").set_index("path")
    run = open_run(tmp_path / "run")
    names = {path: path.replace("/", "_") for path in by_video.index}
    run.write_videos([Video(video_id=name, path=parity.parent / path) for path, name in names.items()], {})
    predict.predict(run, [str(tmp_path / CHECKPOINT)], "all", 32, "confident", Computation(workers=1))
    scores = run.read_table(f"scores/{CHECKPOINT}.parquet")
    means = {name: video_scores(scores, STRATEGIES[name]) for name in ("confident", "mean")}
    for path, theirs in expected.groupby("path"):
        ours = scores[scores["video_id"] == names[path]]
        assert ours["frame_index"].tolist() == theirs["frame_index"].tolist(), path
        boxes = ours[BOX_COLUMNS].to_numpy() / np.tile([2 * STRETCH.get(path, 1), 2], 2)  # of the halved frame
        assert np.abs(boxes - theirs[BOX_COLUMNS].to_numpy()).max() < 1e-3, path
        assert np.abs(ours["score"].to_numpy() - theirs["score"].to_numpy()).max() < MOST, path
        for strategy, values in means.items():
            assert values[names[path]] == pytest.approx(by_video.loc[path, strategy], abs=MOST), (path, strategy)
    assert len(scores) == len(expected) == 313
