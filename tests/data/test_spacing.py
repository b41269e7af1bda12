import pytest

from dfdc_lib.data.spacing import evenly_spaced


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        *[(0, 32, []), (1, 32, [0]), (3, 0, []), (300, 1, [0]), (300, 2, [0, 299])],
        *[(5, 32, [0, 1, 2, 3, 4]), (32, 32, list(range(32))), (10, 4, [0, 3, 6, 9])],
        (300, 32, [299 * n // 31 for n in range(32)]),  # from the first to the last, in steps of 9 and 10
    ],
)
def test_evenly_spaced(count: int, most: int, expected: list[int]) -> None:
    assert evenly_spaced(count, most) == expected
