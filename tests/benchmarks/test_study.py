"""The statistics, by hand; and the usual way against the kit on videos of the sample."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from dfdc_lib import workers
from dfdc_lib.benchmarks import agreement, study
from dfdc_lib.benchmarks.meter import Usage
from dfdc_lib.benchmarks.work import TASKS, Work, run_work
from dfdc_lib.records import FAKE, REAL, Video
from dfdc_lib.run_folder import Run, open_run

RUNS = [  # subject, way, repeat, wall, start, CPU, memory
    ("preparation", "usual way", 1, 10.0, 2.0, 16.0, 900.0),
    ("preparation", "kit", 1, 5.0, 1.0, 4.0, 300.0),
    ("preparation", "kit", 2, 3.0, 1.0, 4.0, 300.0),
    ("preparation", "usual way", 2, 12.0, 3.0, 20.0, 900.0),
    ("preparation", "usual way", 3, 8.0, 2.0, 18.0, 600.0),
    ("preparation", "kit", 3, 8.0, 2.0, 6.0, 300.0),
    ("preparation", "decoding alone", 1, 1.0, 0.5, 1.0, 50.0),
]
MEASURED = pd.DataFrame(RUNS, columns=[*study.LINE, "repeat", *study.QUANTITIES])


def test_summarize() -> None:
    rows = study.summarize(MEASURED)
    expected = {"runs": 3, "fastest": 3, "median": 5, "slowest": 8}
    expected |= {"imports": 1, "CPU": 4, "MB": 300}
    assert rows.loc[("preparation", "kit")].to_dict() == expected
    assert rows.loc[("preparation", "usual way"), "median"] == 10
    assert list(rows.index.get_level_values("way")) == ["usual way", "kit", "decoding alone"]


def test_ratios_pair_the_runs_of_a_repetition() -> None:
    rows = study.ratios(MEASURED)
    assert rows.loc[("preparation", "wall_seconds")].tolist() == [1, 2, 4]  # 10 / 5, 12 / 3, 8 / 8
    assert rows.loc[("preparation", "wall_without_imports")].tolist() == [1, 2, 4.5]
    assert rows.loc[("preparation", "cpu_seconds")].tolist() == [3, 4, 5]
    assert rows.loc[("preparation", "peak_megabytes")].tolist() == [2, 3, 3]


def test_pairs_are_spread_over_the_originals(sample_root: Path, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    pairs, scored = study.choose_videos(run, str(sample_root), 2, 1)
    assert [video.label for video in pairs] == [REAL, FAKE, REAL, FAKE]
    assert [fake.original_id for fake in pairs[1::2]] == [original.video_id for original in pairs[::2]]
    assert scored in pairs[1::2]
    everything, scored = study.choose_videos(run, str(sample_root), 100, 1)
    assert len(everything) == 30 and scored.video_id.startswith("wide_1920x1080")
    with pytest.raises(ValueError, match="at least one"):
        study.choose_videos(run, str(sample_root), 0, 1)


def test_repeats_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="REPEATS"):
        study.measure_all(Run(tmp_path), study.Subject((), None, "", 1, 1), 0)  # type: ignore[arg-type]


def test_the_ways_take_turns_and_the_first_runs_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def run_work(work: Work) -> tuple[Usage, float]:
        assert [video.video_id for video in Run(work.folder).read_videos()] == ["fake"]
        done.append(work.task)
        return Usage(10 + len(done), 2, 3), 1

    monkeypatch.setattr(study, "run_work", run_work)
    run, fake = open_run(tmp_path), Video(video_id="fake", path=tmp_path / "fake.mp4", label=FAKE)
    run.write_videos([fake], {})
    measured = study.measure_all(run, study.Subject([fake], fake, "m", 1, 1), 2)
    ways = [task for task in done[1:] if task.split()[0] in ("usual", "kit")]
    first, second = ["kit preparation", "kit prediction"], ["preparation", "prediction"]
    turns = [f"{way} {subject}" for ways in (("usual", "kit"), ("kit", "usual")) for subject in second for way in ways]
    assert done[0] == "faces" and ways == first + turns
    assert measured["repeat"].tolist() == [1] * 7 + [2] * 7 and len(done) == 1 + 5 + 14
    assert measured["wall_seconds"].tolist() == [10 + place for place in range(7, 21)]
    assert measured.equals(run.read_table("benchmarks.csv"))


def test_a_work_runs_in_a_process_of_its_own(sample_root: Path, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    _, scored = study.choose_videos(run, str(sample_root), 1, 1)
    open_run(tmp_path / "work").write_videos([scored], run.read_infos())
    usage, start = run_work(Work(task="decoding", folder=tmp_path / "work", model="", frames=1))
    assert 0 < start <= usage.wall_seconds and usage.cpu_seconds > 0 and usage.peak_megabytes > 10


@pytest.mark.slow
def test_the_usual_way_and_the_kit_agree(sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfdc_lib.benchmarks import usual

    monkeypatch.setattr(workers, "worker_pool", ThreadPoolExecutor)
    monkeypatch.setattr(usual, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(study, "run_work", lambda work: (TASKS[work.task](work)(), (Usage(1, 1, 1), 1))[1])
    run = open_run(tmp_path / "run")
    pairs, scored = study.choose_videos(run, str(sample_root), 1, 1)
    model = study.choose_model(run, "", "resnet18", scored, 4)
    assert study.choose_model(run, "other", "resnet18", scored, 4) == "other"
    study.measure_all(run, study.Subject(pairs, scored, model, 4, 1), 1)
    agreed = study.compare_outputs(run, model)
    assert agreed[agreement.FACES] == agreed[agreement.SCORED] == 1 and agreed[agreement.MASKS] >= 2
    assert agreed[agreement.BOXES] < 0.1 and agreed[agreement.MASK_LEVELS] < 0.5 and agreed[agreement.SCORES] < 1e-3
    rows = json.loads((run.root / "work/prediction_usual_way/scores.json").read_text(encoding="utf-8"))[scored.video_id]
    scores = [score for _, _, score in rows]
    assert len(scores) >= 4 and max(scores) - min(scores) > 0.1  # the untrained model tells faces apart
