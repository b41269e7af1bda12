import ast
import inspect
import itertools
import math
import os
from collections import Counter

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from dfdc_lib.augmentation import transforms
from dfdc_lib.faces import feed
from dfdc_lib.records import Recipe

A = transforms.A  # imported by itself it would ask the network for a newer version

pytestmark = pytest.mark.filterwarnings(
    "error::UserWarning"
)  # albumentations only warns of an argument that it ignores

SIZE = 64
LANDMARKS = np.array([[20, 30], [40, 30], [30, 42], [22, 52], [38, 52]], np.float32)
DRAWS = 1500
CHANCES = {
    "ImageCompression": 0.5,
    "GaussNoise": 0.1,
    "GaussianBlur": 0.05,
    "HorizontalFlip": 0.5,
    "IsotropicResize area cubic": 1 / 3,
    "IsotropicResize area linear": 1 / 3,
    "IsotropicResize linear linear": 1 / 3,
    "PadIfNeeded": 1,
    "RandomBrightnessContrast": 0.7 / 3,
    "FancyPCA": 0.7 / 3,
    "HueSaturationValue": 0.7 / 3,
    "ToGray": 0.2,
    "Affine": 0.5,
}


def crop(height: int = 72, width: int = 60) -> np.ndarray:
    """A smooth coloured picture with some noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([120 + 60 * np.sin(x / 9), 110 + 50 * np.cos(y / 7), 90 + 40 * np.sin((x + y) / 11)], axis=2)
    return np.clip(image + rng.normal(0, 8, image.shape), 1, 254).astype(np.uint8)


def mask(height: int = 72, width: int = 60) -> np.ndarray:
    result = np.zeros((height, width), np.uint8)
    result[20:50, 15:45] = 200
    return result


def parts_by_name(transform: A.Compose) -> dict[str, A.BasicTransform]:
    """All transforms that do something, in order."""
    parts = itertools.chain.from_iterable(getattr(item, "transforms", [item]) for item in transform.transforms)
    return {_name(part): part for part in parts}


def _name(part: A.BasicTransform) -> str:
    pair = f" {part.interpolation_down} {part.interpolation_up}" if isinstance(part, transforms.IsotropicResize) else ""
    return type(part).__name__ + pair


def at_once(name: str) -> A.BasicTransform:
    """One transform of training, to be called with `force_apply=True`."""
    part = parts_by_name(transforms.create_train_transforms(SIZE))[name]
    part.set_random_seed(0)
    return part


def draw_parameters(name: str, draws: int = 300) -> list[dict]:
    part = at_once(name)
    image, parameters = crop(), []
    for _ in range(draws):
        part(image=image, force_apply=True)
        parameters.append(part.params)
    return parameters


@pytest.fixture(scope="module")
def applied() -> list[set[str]]:
    """For each of many seeded draws the names of the transforms that were applied."""
    transform = transforms.create_train_transforms(SIZE)
    parts = parts_by_name(transform)
    draws = []
    for number in range(DRAWS):
        for part in parts.values():
            part.params = {}
        transforms.seed_transform(transform, 0, 0, number)
        transform(image=crop(24, 20), mask=mask(24, 20), keypoints=LANDMARKS)
        draws.append({name for name, part in parts.items() if part.params})
    return draws


def test_albumentations_does_not_call_home() -> None:
    source = inspect.getsource(transforms)
    assert source.index('os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"') < source.index("import albumentations")
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_order_is_that_of_the_slides() -> None:
    assert list(parts_by_name(transforms.create_train_transforms(SIZE))) == list(CHANCES)
    assert list(parts_by_name(transforms.create_val_transforms(SIZE))) == ["IsotropicResize area cubic", "PadIfNeeded"]


@pytest.mark.parametrize(("name", "chance"), CHANCES.items())
def test_chances(name: str, chance: float, applied: list[set[str]]) -> None:
    share = sum(name in names for names in applied) / DRAWS
    assert abs(share - chance) <= 4 * math.sqrt(chance * (1 - chance) / DRAWS)


@pytest.mark.parametrize(
    "pair", [*itertools.combinations(["ImageCompression", "GaussNoise", "HorizontalFlip", "ToGray", "Affine"], 2)]
)
def test_transforms_are_drawn_independently(pair: tuple[str, str], applied: list[set[str]]) -> None:
    """With albumentations' own `set_random_seed` before every draw these correlations are 1 where the chances are equal."""
    drawn = np.array([[name in names for name in pair] for names in applied], float)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 4 / math.sqrt(DRAWS)


def test_one_of_draws_one(applied: list[set[str]]) -> None:
    assert {sum(name.startswith("IsotropicResize") for name in names) for names in applied} == {1}
    colours = {"RandomBrightnessContrast", "FancyPCA", "HueSaturationValue"}
    assert {len(names & colours) for names in applied} == {0, 1}


def test_every_argument_is_written_out() -> None:
    """A default that another version changes must not change what training does."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(transforms))) if isinstance(node, ast.Call)]
    written = {ast.unparse(call.func): {keyword.arg for keyword in call.keywords} for call in calls}
    parts = [
        part
        for part in parts_by_name(transforms.create_train_transforms(SIZE)).values()
        if type(part).__module__ != transforms.__name__
    ]
    assert len(parts) == 8
    excluded = {"translate_px", "rotate_method"}  # by translate_percent; and for boxes only
    for part in parts:
        assert set(inspect.signature(type(part)).parameters) - excluded == written[f"A.{type(part).__name__}"], part


@pytest.mark.parametrize("name", [*CHANCES])
@pytest.mark.parametrize(("height", "width"), [(72, 60), (40, 64), (9, 7)])
def test_dtype_and_shape_stay(name: str, height: int, width: int) -> None:
    image = at_once(name)(image=crop(height, width), force_apply=True)["image"]
    fitted = feed.fitted_shape(height, width, SIZE)
    padded = (max(height, SIZE), max(width, SIZE))
    shape = fitted if name.startswith("IsotropicResize") else padded if name == "PadIfNeeded" else (height, width)
    assert (image.shape, image.dtype) == ((*shape, 3), np.uint8)


@pytest.mark.parametrize("create", [transforms.create_train_transforms, transforms.create_val_transforms])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (72, 60), (30, 200)])
def test_whole_gives_squares_and_five_points(create, height: int, width: int) -> None:
    transform = create(SIZE)
    for number in range(8):
        transforms.seed_transform(transform, number)
        drawn = transform(image=crop(height, width), mask=mask(height, width), keypoints=LANDMARKS)
        assert (drawn["image"].shape, drawn["image"].dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert (drawn["mask"].shape, drawn["mask"].dtype) == ((SIZE, SIZE), np.uint8)
        assert (drawn["keypoints"].shape, drawn["keypoints"].dtype) == ((5, 2), np.float32)
        assert set(np.unique(drawn["mask"])) <= {0, 200}  # no invented values


def test_compression_quality() -> None:
    qualities = Counter(parameters["quality"] for parameters in draw_parameters("ImageCompression", 800))
    assert set(qualities) == set(range(60, 101))
    image, part = crop(), at_once("ImageCompression")
    compressed = part(image=image, force_apply=True)["image"]
    expected = cv2.imdecode(
        cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, part.params["quality"]))[1], cv2.IMREAD_COLOR
    )
    assert np.array_equal(compressed, expected)


def test_noise_has_the_variance_of_2020() -> None:
    part, gray = at_once("GaussNoise"), np.full((200, 200, 3), 128, np.uint8)
    noises = [part(image=gray, force_apply=True)["image"].astype(float) - 128 for _ in range(60)]
    stds = [noise.std() for noise in noises]
    assert math.sqrt(10) - 0.02 < min(stds) < 3.6 and 6.6 < max(stds) < math.sqrt(50) + 0.05
    assert np.mean(np.square(stds)) == pytest.approx(30, abs=4.5)  # three standard errors of a mean of 60
    assert max(abs(noise.mean()) for noise in noises) < 0.1
    assert abs(np.corrcoef(noises[0][..., 0].ravel(), noises[0][..., 1].ravel())[0, 1]) < 0.05  # per channel


def test_blur_is_opencv_with_kernel_3_and_its_own_sigma() -> None:
    image = crop()
    blurred = at_once("GaussianBlur")(image=image, force_apply=True)["image"]
    assert np.abs(blurred.astype(int) - cv2.GaussianBlur(image, (3, 3), sigmaX=0)).max() <= 1
    assert np.abs(blurred.astype(int) - cv2.GaussianBlur(image, (5, 5), sigmaX=0)).max() > 1


def test_brightness_and_contrast() -> None:
    parameters = draw_parameters("RandomBrightnessContrast")
    for values, low, high in (
        ([p["alpha"] for p in parameters], 0.8, 1.2),
        ([p["beta"] for p in parameters], -0.2 * 255, 0.2 * 255),
    ):
        reach = high - low
        assert low <= min(values) < low + 0.03 * reach and high - 0.03 * reach < max(values) <= high
    part = at_once("RandomBrightnessContrast")
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    changed = part(image=image, force_apply=True)["image"]
    expected = np.clip(part.params["alpha"] * image.astype(float) + part.params["beta"], 0, 255)
    assert np.abs(changed - expected).max() <= 1


def test_hue_saturation_value() -> None:
    parameters = draw_parameters("HueSaturationValue")
    for name, limit in (("hue_shift", 20), ("sat_shift", 30), ("val_shift", 20)):
        values = [drawn[name] for drawn in parameters]
        assert -limit <= min(values) < -0.94 * limit and 0.94 * limit < max(values) <= limit


def test_fancy_pca_adds_one_colour() -> None:
    image, part = crop(), at_once("FancyPCA")
    alphas = []
    for _ in range(400):
        shift = part(image=image, force_apply=True)["image"].astype(int) - image
        alphas.append(part.params["alpha"])
        assert np.ptp(shift, axis=(0, 1)).max() == 0  # the same for all pixels (none of which is near 0 or 255)
    assert np.std(alphas) == pytest.approx(0.1, rel=0.15) and abs(np.mean(alphas)) < 0.02
    part.py_random = transforms.InRange(1)  # two standard deviations
    variances, axes = np.linalg.eigh(np.cov(image.reshape(-1, 3).T / 255))
    shift = part(image=image, force_apply=True)["image"][0, 0].astype(int) - image[0, 0]
    assert np.array_equal(shift, np.rint(255 * 0.2 * (axes @ variances)))


def test_gray_keeps_three_channels() -> None:
    image = crop()
    gray = at_once("ToGray")(image=image, force_apply=True)["image"]
    assert np.array_equal(gray, cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def test_flip_moves_the_points_and_keeps_their_order() -> None:
    flip = transforms._compose(A.HorizontalFlip(p=1))
    flipped = flip(image=crop(), mask=mask(), keypoints=LANDMARKS)
    assert np.array_equal(flipped["image"], crop()[:, ::-1])
    assert np.array_equal(flipped["keypoints"], np.column_stack([59 - LANDMARKS[:, 0], LANDMARKS[:, 1]]))


def test_shift_scale_rotate() -> None:
    drawn = draw_parameters("Affine", 600)
    scales = [parameters["scale"] for parameters in drawn]
    assert all(scale["x"] == scale["y"] for scale in scales)
    angles = [math.degrees(math.atan2(p["matrix"][0, 1], p["matrix"][0, 0])) for p in drawn]
    centre = np.array([29.5, 35.5, 1])  # of 72 × 60 pixels
    shifts = np.array([(p["matrix"] @ centre - centre)[:2] for p in drawn]) / (60, 72)
    for values, low, high in (
        ([scale["x"] for scale in scales], 0.8, 1.2),
        (angles, -10, 10),
        (shifts[:, 0], -0.1, 0.1),
        (shifts[:, 1], -0.1, 0.1),
    ):
        assert low <= min(values) < low + 0.2 * (high - low) and high - 0.2 * (high - low) < max(values) <= high


def test_landmarks_stay_on_their_pixels() -> None:
    """Bright dots on black end where the points say, whatever was drawn."""
    transform = transforms.create_train_transforms(128)
    image = np.zeros((150, 120, 3), np.uint8)
    points = LANDMARKS * 2
    for x, y in points:
        cv2.circle(image, (int(x), int(y)), 4, (255, 255, 255), -1)
    for number in range(40):
        transforms.seed_transform(transform, 5, number)
        drawn = transform(image=image, mask=image[..., 0].copy(), keypoints=points)
        for x, y in drawn["keypoints"]:
            if 0 <= x < 127 and 0 <= y < 127:
                assert drawn["image"][round(y), round(x)].min() > 100, number
                assert drawn["mask"][round(y), round(x)] == 255, number


def test_points_outside_are_kept() -> None:
    transform = transforms.create_val_transforms(SIZE)
    drawn = transform(image=crop(32, 32), mask=mask(32, 32), keypoints=LANDMARKS - 500)
    assert drawn["keypoints"] == pytest.approx(2 * (LANDMARKS - 500))


@pytest.mark.parametrize(("height", "width"), [(300, 231), (40, 31), (31, 40)])
def test_the_three_resizes_differ(height: int, width: int) -> None:
    images = [
        transforms.IsotropicResize(SIZE, *pair)(image=crop(height, width))["image"] for pair in transforms.RESIZE_PAIRS
    ]
    assert {image.shape for image in images} == {(*feed.fitted_shape(height, width, SIZE), 3)}
    grows = max(height, width) < SIZE
    assert np.array_equal(images[0], images[1]) != grows  # down they are both area, up cubic and linear
    assert np.array_equal(images[1], images[2]) == grows  # down area and linear, up they are both linear


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (300, 231), (40, 31), (31, 40), (64, 63)])
def test_validation_equals_prediction(height: int, width: int) -> None:
    validated = transforms.create_val_transforms(SIZE)(
        image=crop(height, width), mask=mask(height, width), keypoints=LANDMARKS
    )["image"]
    assert np.array_equal(validated, feed.fit_to_square(crop(height, width), Recipe(size=SIZE)))


def test_unknown_keys_and_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="not in available keys"):
        transforms.create_train_transforms(SIZE)(picture=crop(), image=crop(), mask=mask(), keypoints=LANDMARKS)
    with pytest.raises(ValueError, match="not valid for transform ImageCompression"), pytest.warns(UserWarning):
        transforms._compose(A.ImageCompression(quality_lower=60, quality_upper=100))


class Draws(Dataset[tuple[int, bytes]]):
    """Augmented crops as training asks for them."""

    def __init__(self, epoch: int) -> None:
        self._transform, self._epoch = transforms.create_train_transforms(SIZE), epoch

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        transforms.seed_transform(self._transform, 7, self._epoch, index)
        return index, self._transform(image=crop(), mask=mask(), keypoints=LANDMARKS)["image"].tobytes()


def test_workers_neither_repeat_nor_change_the_draws() -> None:
    drawn = {}
    for workers in (0, 1, 2):
        epochs = [list(DataLoader(Draws(epoch), batch_size=None, num_workers=workers)) for epoch in range(2)]
        assert [index for epoch in epochs for index, _ in epoch] == [*range(8), *range(8)]
        drawn[workers] = [image for epoch in epochs for _, image in epoch]
    assert len(set(drawn[0])) == 16
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize(
    ("numbers", "others"), [((0, 1), (1, 0)), ((1,), (1, 0)), ((1, 23), (12, 3)), ((2**32, 0), (0, 1))]
)
def test_seeds_that_look_alike_differ(numbers: tuple[int, ...], others: tuple[int, ...]) -> None:
    transform, draws = transforms.create_train_transforms(SIZE), []
    for seed in (numbers, others, tuple(np.int64(number) for number in numbers)):
        transforms.seed_transform(transform, *seed)
        draws.append((transform.py_random.random(), transform.random_generator.random()))
    assert draws[0] != draws[1] and draws[0] == draws[2]


def test_draw_many_is_reproducible_and_distinct() -> None:
    assert transforms.draw_many(crop(), mask(), LANDMARKS, SIZE, 0, 0) == []
    draws = transforms.draw_many(crop(), mask(), LANDMARKS, SIZE, 0, 12)
    assert len({image.tobytes() for image in draws}) == 12
    assert all(
        np.array_equal(*pair)
        for pair in zip(draws, transforms.draw_many(crop(), mask(), LANDMARKS, SIZE, 0, 12), strict=True)
    )


def test_extremes() -> None:
    pictures = transforms.extremes(crop(), SIZE)
    assert list(pictures) == list(dict.fromkeys(name.split()[0] for name in CHANCES))
    for name in ("GaussianBlur", "HorizontalFlip", "ToGray"):
        before, low, high = pictures[name]
        assert low is before and not np.array_equal(high, before)
    before, low, high = (image.astype(float) for image in pictures["RandomBrightnessContrast"])
    assert (
        np.abs(low - np.clip(0.8 * before - 51, 0, 255)).max() <= 1
        and np.abs(high - np.clip(1.2 * before + 51, 0, 255)).max() <= 1
    )
    compressed = cv2.imdecode(cv2.imencode(".jpg", crop(), (cv2.IMWRITE_JPEG_QUALITY, 60))[1], cv2.IMREAD_COLOR)
    assert np.array_equal(pictures["ImageCompression"][1], compressed)
    assert all(image.shape == (SIZE, SIZE, 3) for image in pictures["Affine"])


@pytest.mark.parametrize(
    ("share", "uniform", "whole", "normal"),
    [(0, -0.2, 60, -0.2), (0.25, -0.1, 70, -0.1), (0.5, 0, 80, 0), (1, 0.2, 100, 0.2)],
)
def test_in_range_draws_one_place_of_every_range(share: float, uniform: float, whole: int, normal: float) -> None:
    drawn = transforms.InRange(share)
    assert drawn.uniform(-0.2, 0.2) == pytest.approx(uniform)
    assert drawn.randint(60, 100) == whole
    assert drawn.gauss(0, 0.1) == pytest.approx(normal)
