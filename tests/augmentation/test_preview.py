import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dfdc_lib.augmentation import cutouts, preview, transforms
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.records import FAKE, FaceExample, Recipe

SIZE = 96  # pixels
CROP = np.ascontiguousarray(astronaut()[50:210, 155:295])
MASK = np.zeros(CROP.shape[:2], np.uint8)
MASK[50:120, 30:90] = 200
FACE = FaceExample(CROP, MASK, np.array([(50, 60), (90, 58), (70, 85), (53, 105), (90, 103)], np.float32), FAKE)
STEPS = transforms.create_train_transforms(SIZE).transforms
TRANSFORMS = [type(part).__name__ for step in STEPS for part in getattr(step, "transforms", [step])]


def drawn(choice: str, draw: int = 0, share: float = 1.0) -> tuple[np.ndarray, ...]:
    return preview.before_and_after(choice, FACE, SIZE, (3, draw), share)


def test_choices_cover_all_transforms_and_cutouts() -> None:
    single = {*TRANSFORMS, *cutouts.SHARES} - {*preview.FITTING, "none"}
    assert set(preview.CHOICES) == single | {"training", "training, hard"}
    with pytest.raises(ValueError, match="sharpen"):
        drawn("sharpen")


@pytest.mark.parametrize("choice", preview.CHOICES)
def test_before_equals_validation_and_after_does_not(choice: str) -> None:
    before, before_mask, after, after_mask = drawn(choice)
    assert np.array_equal(before, fit_to_square(CROP, Recipe(size=SIZE)))
    assert (before.shape, before_mask.shape) == (after.shape, after_mask.shape) == ((SIZE, SIZE, 3), (SIZE, SIZE))
    assert before_mask[45, 48] == 200
    assert not np.array_equal(before, drawn(choice, share=0)[2])


@pytest.mark.parametrize(("choice", "sliders"), preview.CHOICES.items())
def test_sliders_are_those_that_change_the_picture(choice: str, sliders: tuple[str, ...]) -> None:
    first = drawn(choice, share=0.2)[2]
    assert np.array_equal(first, drawn(choice, share=0.2)[2])
    other_draws = [drawn(choice, draw, 0.2)[2] for draw in range(1, 6)]
    changes = {
        "draw": any(not np.array_equal(first, other) for other in other_draws),
        "range": not np.array_equal(first, drawn(choice, share=0.8)[2]),
    }
    assert tuple(name for name, changed in changes.items() if changed) == sliders


def test_the_mask_changes_with_the_geometry() -> None:
    masks = {choice: drawn(choice)[3] for choice in preview.CHOICES}
    before, before_mask, flipped, _ = drawn("HorizontalFlip")
    assert all(np.array_equal(masks[choice], before_mask) for choice in ("ToGray", "GaussNoise"))
    assert not np.array_equal(masks["Affine"], before_mask)
    assert np.array_equal(masks["HorizontalFlip"], before_mask[:, ::-1])
    assert np.abs(flipped.astype(int) - before[:, ::-1]).max() <= 1
    assert not masks["nose"][43, 48] and not drawn("nose")[2][43, 48].any()


def test_draw_many_is_distinct_reproducible_and_equal_to_training() -> None:
    assert preview.draw_many(FACE, SIZE, 3, 0) == []
    draws = preview.draw_many(FACE, SIZE, 3, 12)
    assert len({image.tobytes() for image in draws}) == 12
    assert np.array_equal(draws, preview.draw_many(FACE, SIZE, 3, 12))
    assert all(np.array_equal(drawn("training", draw)[2], image) for draw, image in enumerate(draws))


def test_extremes() -> None:
    pictures = preview.extremes(CROP, SIZE)
    assert list(pictures) == list(dict.fromkeys(TRANSFORMS))
    for name, (before, low, high) in pictures.items():
        assert high.dtype == np.uint8 and (name in preview.FITTING or low.shape == high.shape == before.shape), name
        assert not np.array_equal(before, high)
        assert (low is before) == (name in ("GaussianBlur", "HorizontalFlip", "ToGray", "PadIfNeeded")), name
    before, low, high = (image.astype(float) for image in pictures["RandomBrightnessContrast"])
    assert np.abs(low - np.clip(0.8 * before - 51, 0, 255)).max() <= 1
    assert np.abs(high - np.clip(1.2 * before + 51, 0, 255)).max() <= 1
    encoded = cv2.imencode(".jpg", CROP, (cv2.IMWRITE_JPEG_QUALITY, 60))[1]
    assert np.array_equal(pictures["ImageCompression"][1], cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def test_in_range_returns_one_position_of_every_range() -> None:
    for share, uniform, integer in ((0, -0.2, 60), (0.25, -0.1, 70), (0.5, 0, 80), (1, 0.2, 100)):
        numbers = preview.InRange(share)
        assert numbers.uniform(-0.2, 0.2) == pytest.approx(uniform)
        assert numbers.randint(60, 100) == integer
        assert numbers.gauss(0, 0.1) == pytest.approx(uniform)  # two standard deviations either way
