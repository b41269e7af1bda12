"""Coverage of a score table: how many of the videos that should have a score have one, and which have none."""

from typing import NamedTuple

SUFFICIENT_SHARE = 0.99  # below it, tables and figures are marked: the videos left out may be the difficult ones
MOST_NAMED = 5


class Coverage(NamedTuple):
    """How many of the labelled videos have a score, and which (by video_id) have none or repeated rows.

    `missing` and `duplicates` hold these video_ids.
    """

    expected: int = 0  # labelled videos that should have a score
    missing: tuple[str, ...] = ()  # those without a score, or without one of every model
    duplicates: tuple[str, ...] = ()  # videos with repeated rows that agree; each row counts once

    @property
    def share(self) -> float:
        """The share of the expected videos that have a score, 0-1; 1 if none is expected."""
        return 1 - len(self.missing) / self.expected if self.expected else 1.0

    @property
    def mark(self) -> str:
        """A warning for titles and tables if `share` is below `SUFFICIENT_SHARE` (99 %), else ""."""
        if self.share >= SUFFICIENT_SHARE:
            return ""
        # Rounded down, so that 98.96 % is not shown as 99.0 %.
        percent = int(1000 * self.share) / 10
        return f"INCOMPLETE: {len(self.missing):,} of {self.expected:,} videos have no score (coverage {percent} %)"

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence each about the missing and the duplicate videos, if there are any."""
        missing = f"{len(self.missing):,} of {self.expected:,} labelled videos have no score and are left out"
        duplicate = f"{len(self.duplicates):,} videos have repeated rows; each row counts once"
        texts = ((missing, self.missing), (duplicate, self.duplicates))
        return tuple(f"{text}: {named(videos)}" for text, videos in texts if videos)


def named(videos: tuple[str, ...]) -> str:
    """Return text that lists the first `MOST_NAMED` videos and the number of the others: "a, b, c, d, e and 3 more".

    `videos`: video_ids.
    """
    more = f" and {len(videos) - MOST_NAMED:,} more" if len(videos) > MOST_NAMED else ""
    return ", ".join(videos[:MOST_NAMED]) + more
