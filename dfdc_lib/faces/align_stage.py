"""First half of stage 01: align fakes with their originals. In: videos.csv and the videos. Out: alignments/."""

from functools import partial

from dfdc_lib.faces.alignment import align_videos
from dfdc_lib.faces.box_source import compared_fakes
from dfdc_lib.records import Alignment, Outcome, Transform, Video, VideoAlignment
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Executor, Job, record_jobs, result_outcome

STAGE = "01_align_fakes"  # a status file of its own


def align_fakes(run: Run, execute: Executor) -> dict[str, Outcome]:
    """Find which frames of its original each fake shows, and at which scale and shift; write alignments/*.json.

    `execute` runs the jobs; an original is decoded once for all its fakes if one process aligns them one after another.
    Returns video_id -> outcome; videos without an original to compare with have the status "not needed".
    """
    videos = {video.video_id: video for video in run.read_videos()}
    code = code_fingerprint("dfdc_lib.faces.alignment")
    jobs, compared = [], compared_fakes(videos.values(), run.read_infos())
    for fake in compared:
        assert fake.original_id is not None
        original, path = videos[fake.original_id], run.alignment_path(fake.video_id)
        expected = fingerprint(code, input_fingerprint(original.path), input_fingerprint(fake.path))
        make = partial(_align, run, original, fake, expected)
        jobs.append(Job(fake.video_id, {path: expected}, VideoAlignment, make, _alignment_outcome))
    names = videos.keys() - {fake.video_id for fake in compared}
    decided = [Outcome(video_id=name, status="not needed") for name in names]
    return {outcome.video_id: outcome for outcome in record_jobs(run, STAGE, jobs, decided, execute)}


def describe_alignment(alignment: Alignment) -> list[str]:
    """Describe an alignment in words: one phrase for scale and shift, one for frame offsets.

    A part that changes nothing has no phrase; the result can be [].
    """
    phrases, transform = [], alignment.transform
    if transform != Transform():
        phrases.append("scaled by {:.4f}, {:.4f} and moved by {:.1f}, {:.1f} pixels".format(*transform))
    offsets = list(dict.fromkeys(segment.offset for segment in alignment.segments))
    if offsets not in ([], [0]):
        more = f" and {len(offsets) - 5} more" if len(offsets) > 5 else ""
        phrases.append(f"frames shifted by {', '.join(map(str, offsets[:5]))}{more}")
    return phrases


def _align(run: Run, original: Video, fake: Video, expected: str) -> VideoAlignment:
    names = {"video_id": fake.video_id, "original_id": original.video_id}
    record = VideoAlignment(**names, alignment=align_videos(original.path, fake.path), fingerprint=expected)
    run.write_record(run.alignment_path(fake.video_id), record)
    return record


def _alignment_outcome(record: VideoAlignment) -> Outcome:
    alignment = record.alignment
    if alignment.problem:
        return result_outcome(record, 0, [f"it does not fit its original {record.original_id}: {alignment.problem}"])
    return result_outcome(record, len(alignment.original_frames()), describe_alignment(alignment))
