import numpy as np
import pytest

from dfdc_lib.data.spacing import evenly_spaced


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        *[(0, 32, []), (1, 32, [0]), (3, 0, []), (300, 1, [0]), (300, 2, [0, 299])],
        *[(5, 32, [0, 1, 2, 3, 4]), (32, 32, list(range(32))), (10, 4, [0, 3, 6, 9])],
    ],
)
def test_evenly_spaced(count: int, most: int, expected: list[int]) -> None:
    assert evenly_spaced(count, most) == expected


def test_32_of_300_are_even_and_include_the_first_and_the_last() -> None:
    indices = evenly_spaced(300, 32)
    assert (len(indices), indices[0], indices[-1], set(np.diff(indices))) == (32, 0, 299, {9, 10})
