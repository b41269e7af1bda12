"""Evenly spaced choices: a count in, indices out."""

import numpy as np


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0 to `count` - 1, evenly spaced from the first to the last.

    >>> evenly_spaced(10, 4)
    [0, 3, 6, 9]
    >>> evenly_spaced(0, 4)
    []
    """
    return sorted(set(np.linspace(0, count - 1, min(most, count)).astype(int).tolist())) if count else []
