"""The preview: each choice does what it says, before is what validation sees, and a slider is there where it changes the picture."""

import numpy as np
import pytest
from skimage.data import astronaut

from dfdc_lib.augmentation import cutouts, preview, transforms
from dfdc_lib.faces.feed import fit_to_square
from dfdc_lib.records import Recipe

SIZE = 96  # pixels
LANDMARKS = np.array([(50, 60), (90, 58), (70, 85), (53, 105), (90, 103)], np.float32)
CROP = np.ascontiguousarray(astronaut()[50:210, 155:295])
MASK = np.zeros(CROP.shape[:2], np.uint8)
MASK[50:120, 30:90] = 200


def drawn(choice: str, draw: int = 0, share: float = 1.0) -> tuple[np.ndarray, ...]:
    return preview.before_and_after(choice, CROP, MASK, LANDMARKS, SIZE, 3, draw, share)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing called 'sharpen' to look at: choose one of training, .*quadrants"):
        drawn("sharpen")


def test_everything_that_training_does_can_be_looked_at() -> None:
    parts = [
        part
        for item in transforms.create_train_transforms(SIZE).transforms
        for part in getattr(item, "transforms", [item])
    ]
    names = dict.fromkeys(type(part).__name__ for part in parts)
    wanted = [*names, *cutouts.SHARES]
    assert [name for name in wanted if name not in preview.CHOICES] == [*preview.FITTING, "none"]
    assert [name for name in preview.CHOICES if name not in wanted] == ["training", "training, hard"]


@pytest.mark.parametrize("choice", preview.CHOICES)
def test_before_is_what_validation_sees_and_after_is_not(choice: str) -> None:
    before, before_mask, after, after_mask = drawn(choice)
    assert np.array_equal(before, fit_to_square(CROP, Recipe(size=SIZE)))
    assert (before.shape, before_mask.shape) == (after.shape, after_mask.shape) == ((SIZE, SIZE, 3), (SIZE, SIZE))
    assert before_mask[45, 48] == 200
    assert not np.array_equal(before, drawn(choice, share=0)[2])


@pytest.mark.parametrize(("choice", "sliders"), preview.CHOICES.items())
def test_a_slider_is_there_where_it_changes_the_picture(choice: str, sliders: tuple[str, ...]) -> None:
    first = drawn(choice, share=0.2)[2]
    assert np.array_equal(first, drawn(choice, share=0.2)[2])
    other_draws = [drawn(choice, draw, 0.2)[2] for draw in range(1, 6)]
    changes = {
        "draw": any(not np.array_equal(first, other) for other in other_draws),
        "range": not np.array_equal(first, drawn(choice, share=0.8)[2]),
    }
    assert tuple(name for name, changed in changes.items() if changed) == sliders


def test_training_is_what_draw_many_draws() -> None:
    expected = transforms.draw_many(CROP, MASK, LANDMARKS, SIZE, 3, 4)
    assert all(np.array_equal(drawn("training", draw)[2], image) for draw, image in enumerate(expected))


@pytest.mark.parametrize(
    ("choice", "mask_stays"),
    [("ToGray", True), ("GaussNoise", True), ("HorizontalFlip", False), ("Affine", False), ("nose", False)],
)
def test_the_mask_goes_where_the_crop_goes(choice: str, mask_stays: bool) -> None:
    _, before_mask, _, after_mask = drawn(choice)
    assert np.array_equal(before_mask, after_mask) == mask_stays


def test_a_flip_flips_and_a_cut_out_is_black() -> None:
    before, before_mask, after, after_mask = drawn("HorizontalFlip")
    assert np.abs(after.astype(int) - before[:, ::-1]).max() <= 1
    assert np.array_equal(after_mask, before_mask[:, ::-1])
    _, _, after, after_mask = drawn("nose")
    assert not after[43, 48].any() and not after_mask[43, 48]
