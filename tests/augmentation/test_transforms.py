import ast
import inspect
import math
import os
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dfdc_lib.augmentation import transforms
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.faces.resize import fitted_shape
from dfdc_lib.records import FAKE, REAL, FaceExample, Recipe

A = transforms.A  # imported directly, albumentations would check for a newer version online

# albumentations only warns of an argument that it ignores
pytestmark = pytest.mark.filterwarnings("error::UserWarning")

SIZE = 64
LANDMARKS = np.array([[20, 30], [40, 30], [30, 42], [22, 52], [38, 52]], np.float32)
DRAWS = 1500
# In the slides' order, each with its chance.
STEPS = [("ImageCompression", 0.5), ("GaussNoise", 0.1), ("GaussianBlur", 0.05), ("HorizontalFlip", 0.5)]
STEPS += 3 * [("IsotropicResize", 1 / 3)] + [("PadIfNeeded", 1)]
STEPS += [("RandomBrightnessContrast", 0.7 / 3), ("FancyPCA", 0.7 / 3), ("HueSaturationValue", 0.7 / 3)]
STEPS += [("ToGray", 0.2), ("Affine", 0.5)]
NAMES, CHANCES = zip(*STEPS, strict=True)


def face(height: int = 72, width: int = 60) -> FaceExample:
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([120 + 60 * np.sin(x / 9), 110 + 50 * np.cos(y / 7), 90 + 40 * np.sin((x + y) / 11)], axis=2)
    noise = np.random.default_rng(1).normal(0, 8, image.shape)
    mask = np.zeros((height, width), np.uint8)
    mask[20:50, 15:45] = 200
    return FaceExample(np.clip(image + noise, 1, 254).astype(np.uint8), mask, LANDMARKS, FAKE)


IMAGE = face().crop


def parts_of(transform: A.Compose) -> list[A.BasicTransform]:
    """Return all transforms in order, OneOf replaced by its alternatives."""
    return [part for step in transform.transforms for part in getattr(step, "transforms", [step])]


def training_part(name: str) -> A.BasicTransform:
    part = parts_of(transforms.create_train_transforms(SIZE))[NAMES.index(name)]
    part.set_random_seed(0)
    return part


def draw_parameters(name: str, draws: int) -> list[dict]:
    part, parameters = training_part(name), []
    for _ in range(draws):
        part(image=IMAGE, force_apply=True)
        parameters.append(part.params)
    return parameters


def test_albumentations_makes_no_request() -> None:
    source = inspect.getsource(transforms)
    assert source.index('os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"') < source.index("import albumentations")
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_order_is_that_of_the_slides() -> None:
    parts = parts_of(transforms.create_train_transforms(SIZE))
    assert [type(part).__name__ for part in parts] == list(NAMES)
    pairs = [(part.interpolation_down, part.interpolation_up) for part in parts[4:7]]
    assert pairs == [("area", "cubic"), ("area", "linear"), ("linear", "linear")]
    assert [type(part).__name__ for part in parts_of(transforms.create_val_transforms(SIZE))] == [NAMES[4], NAMES[7]]


def test_transforms_are_drawn_with_their_chances_and_independently() -> None:
    transform = transforms.create_train_transforms(SIZE)
    parts, applied = parts_of(transform), np.zeros((DRAWS, len(NAMES)))
    for row in range(DRAWS):
        for part in parts:
            part.params = {}
        transforms.seed_transform(transform, 0, 0, row)
        transforms.transform_face(transform, face(24, 20))
        applied[row] = [bool(part.params) for part in parts]
    chances = np.array(CHANCES)
    assert (np.abs(applied.mean(axis=0) - chances) <= 4 * np.sqrt(chances * (1 - chances) / DRAWS)).all()
    assert set(applied[:, 4:7].sum(axis=1)) == {1} and set(applied[:, 8:11].sum(axis=1)) == {0, 1}  # OneOf
    # with albumentations' own `set_random_seed` the correlations are 1 where the chances are equal
    correlations = np.corrcoef(applied[:, [0, 1, 3, 11, 12]].T)
    assert np.abs(correlations - np.eye(5)).max() < 4 / math.sqrt(DRAWS)


def test_every_argument_is_explicit() -> None:
    """A default that another version changes must not change the training."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(transforms))) if isinstance(node, ast.Call)]
    explicit = {ast.unparse(call.func): {keyword.arg for keyword in call.keywords} for call in calls}
    parts = {type(part) for part in parts_of(transforms.create_train_transforms(SIZE))}
    parts -= {transforms.IsotropicResize, transforms.GaussNoise, transforms.FancyPCA}
    assert len(parts) == 8
    for part in parts:
        names = explicit[f"A.{part.__name__}"]
        names |= set(transforms.BLACK) if None in names else set()  # None: **BLACK
        unused = {"translate_px", "rotate_method"}  # excluded by translate_percent; for boxes only
        assert set(inspect.signature(part).parameters) - unused == names - {None}, part


@pytest.mark.parametrize("create", [transforms.create_train_transforms, transforms.create_val_transforms])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (72, 60), (30, 200)])
def test_results_are_squares_and_five_points(create: Callable, height: int, width: int) -> None:
    transform = create(SIZE)
    for number in range(8):
        transforms.seed_transform(transform, number)
        drawn = transforms.transform_face(transform, face(height, width))
        assert [array.shape for array in drawn[:3]] == [(SIZE, SIZE, 3), (SIZE, SIZE), (5, 2)]
        assert [array.dtype for array in drawn[:3]] == [np.uint8, np.uint8, np.float32]
        assert set(np.unique(drawn.mask)) <= {0, 200}  # no interpolated values
        transforms.seed_transform(transform, number)
        assert np.array_equal(transforms.transform_crop(transform, face(height, width).crop), drawn.crop)


CENTRE = np.array([29.5, 35.5, 1])  # of 60 x 72 pixels
RANGES: list[tuple[str, Callable[[dict], float], float, float, float]] = [  # last: tolerance as a share of the range
    ("RandomBrightnessContrast", lambda p: p["alpha"], 0.8, 1.2, 0.03),
    ("RandomBrightnessContrast", lambda p: p["beta"], -0.2 * 255, 0.2 * 255, 0.03),
    ("HueSaturationValue", lambda p: p["hue_shift"], -20, 20, 0.03),
    ("HueSaturationValue", lambda p: p["sat_shift"], -30, 30, 0.03),
    ("HueSaturationValue", lambda p: p["val_shift"], -20, 20, 0.03),
    ("Affine", lambda p: p["scale"]["x"], 0.8, 1.2, 0.03),
    ("Affine", lambda p: p["scale"]["y"] - p["scale"]["x"], 0, 0, 0),
    ("Affine", lambda p: math.degrees(math.atan2(p["matrix"][0, 1], p["matrix"][0, 0])), -10, 10, 0.03),
    ("Affine", lambda p: (p["matrix"] @ CENTRE - CENTRE)[0] / 60, -0.1, 0.1, 0.2),  # whole pixels
    ("Affine", lambda p: (p["matrix"] @ CENTRE - CENTRE)[1] / 72, -0.1, 0.1, 0.2),
]


@pytest.mark.parametrize(("name", "parameter", "low", "high", "tolerance"), RANGES)
def test_parameters_fill_their_ranges(
    name: str, parameter: Callable[[dict], float], low: float, high: float, tolerance: float
) -> None:
    values = [parameter(parameters) for parameters in draw_parameters(name, 600)]
    slack = tolerance * (high - low)
    assert low <= min(values) <= low + slack and high - slack <= max(values) <= high


def test_compression_blur_and_gray_equal_opencv() -> None:
    part = training_part("ImageCompression")
    compressed = part(image=IMAGE, force_apply=True)["image"]
    _, encoded = cv2.imencode(".jpg", IMAGE, (cv2.IMWRITE_JPEG_QUALITY, part.params["quality"]))
    assert np.array_equal(compressed, cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    assert {parameters["quality"] for parameters in draw_parameters("ImageCompression", 800)} == set(range(60, 101))
    blurred = training_part("GaussianBlur")(image=IMAGE, force_apply=True)["image"].astype(int)
    assert np.abs(blurred - cv2.GaussianBlur(IMAGE, (3, 3), sigmaX=0)).max() <= 1
    assert np.abs(blurred - cv2.GaussianBlur(IMAGE, (5, 5), sigmaX=0)).max() > 1
    gray = training_part("ToGray")(image=IMAGE, force_apply=True)["image"]
    assert np.array_equal(gray, cv2.cvtColor(cv2.cvtColor(IMAGE, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def test_noise_has_the_variance_of_2020() -> None:
    part, gray = training_part("GaussNoise"), np.full((200, 200, 3), 128, np.uint8)
    noises = [part(image=gray, force_apply=True)["image"].astype(float) - 128 for _ in range(60)]
    stds = [noise.std() for noise in noises]
    assert math.sqrt(10) - 0.02 < min(stds) < 3.6 and 6.6 < max(stds) < math.sqrt(50) + 0.05
    assert np.mean(np.square(stds)) == pytest.approx(30, abs=4.5)  # three standard errors of a mean of 60
    assert max(abs(noise.mean()) for noise in noises) < 0.1
    assert abs(np.corrcoef(noises[0][..., 0].ravel(), noises[0][..., 1].ravel())[0, 1]) < 0.05  # per channel


def test_fancy_pca_adds_one_colour() -> None:
    part, alphas = training_part("FancyPCA"), []
    variances, axes = np.linalg.eigh(np.cov(IMAGE.reshape(-1, 3).T / 255))
    for _ in range(400):
        shift = part(image=IMAGE, force_apply=True)["image"].astype(int) - IMAGE  # no pixel is near 0 or 255
        alphas.append(part.params["alpha"])
        assert (shift == np.rint(255 * alphas[-1] * (axes @ variances))).all()
    assert np.std(alphas) == pytest.approx(0.1, rel=0.15) and abs(np.mean(alphas)) < 0.02


def test_a_flip_neither_reorders_nor_drops_points() -> None:
    points = LANDMARKS - 25  # some are outside the image
    flipped = transforms.transform_face(transforms._compose(A.HorizontalFlip(p=1)), face()._replace(landmarks=points))
    assert np.array_equal(flipped.crop, IMAGE[:, ::-1])
    assert np.array_equal(flipped.landmarks, np.column_stack([59 - points[:, 0], points[:, 1]]))


def test_landmarks_follow_their_pixels() -> None:
    transform = transforms.create_train_transforms(128)
    image = np.zeros((150, 120, 3), np.uint8)
    for x, y in 2 * LANDMARKS:
        cv2.circle(image, (int(x), int(y)), 4, (255, 255, 255), -1)
    dots = FaceExample(image, image[..., 0].copy(), 2 * LANDMARKS, REAL)
    for number in range(40):
        transforms.seed_transform(transform, 5, number)
        drawn = transforms.transform_face(transform, dots)
        for x, y in drawn.landmarks[((drawn.landmarks >= 0) & (drawn.landmarks < 127)).all(axis=1)]:
            assert drawn.crop[round(y), round(x)].min() > 100, number
            assert drawn.mask[round(y), round(x)] == 255, number


@pytest.mark.parametrize(("height", "width"), [(300, 231), (40, 31), (31, 40)])
def test_resizes_differ_in_their_interpolation(height: int, width: int) -> None:
    image = face(height, width).crop
    parts = parts_of(transforms.create_train_transforms(SIZE))[4:7]
    first, second, third = (part(image=image)["image"] for part in parts)
    assert first.shape == second.shape == third.shape == (*fitted_shape(height, width, SIZE), 3)
    enlarged = max(height, width) < SIZE
    assert np.array_equal(first, second) != enlarged  # shrinking: both area; enlarging: cubic and linear
    assert np.array_equal(second, third) == enlarged  # shrinking: area and linear; enlarging: both linear


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (300, 231), (40, 31), (31, 40), (64, 63)])
def test_validation_equals_prediction(height: int, width: int) -> None:
    validated = transforms.transform_face(transforms.create_val_transforms(SIZE), face(height, width)).crop
    assert np.array_equal(validated, fit_to_square(face(height, width).crop, Recipe(size=SIZE)))


def test_unknown_keys_and_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="keys"):
        transforms.create_train_transforms(SIZE)(picture=IMAGE, image=IMAGE, mask=face().mask, keypoints=LANDMARKS)
    with pytest.raises(ValueError, match="ImageCompression"), pytest.warns(UserWarning):
        transforms._compose(A.ImageCompression(quality_lower=60, quality_upper=100))


def test_similar_seeds_differ() -> None:
    transform = transforms.create_train_transforms(SIZE)

    def draw(*numbers: int) -> tuple[float, float]:
        transforms.seed_transform(transform, *numbers)
        return transform.py_random.random(), transform.random_generator.random()

    seeds = [(0, 1), (1, 0), (1,), (1, 23), (12, 3), (2**32, 0)]
    assert len({draw(*seed) for seed in seeds}) == len(seeds)
    assert all(draw(*seed) == draw(*np.array(seed)) for seed in seeds)
