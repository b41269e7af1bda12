"""Models as files: loading returns what was saved, and anything else is an error."""

import hashlib
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dfdc_lib.classifier import released
from dfdc_lib.classifier.checkpoints import load_classifier, load_model, save_model
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.classifier.model_files import RELEASED_NAME, find_model, read_model_folder, released_files
from dfdc_lib.records import Calibration, DetectorSettings, ModelCard, Recipe, Seen
from dfdc_lib.run_folder import Run, open_run

SMALL = "test_efficientnet"  # timm, 0.4 million weights
NAME = f"final_1_DeepFakeClassifier_{SMALL}_3_7"
TRAINING = {"seed": 1, "rate": 0.01, "optimizer": "sgd", "balanced": True}
SEEN = {"trained_on": Seen(names=("ffpp/youtube/007", "NA"), contents=("01",)), "chosen_by": Seen(contents=("02",))}
RESULTS = {"training": TRAINING, "metrics": {"log_loss": 0.25}, "train_folds": (1, 2), "test_fold": 0} | SEEN
CARD = ModelCard.model_validate({"name": "m", "encoder": SMALL, "recipe": Recipe(size=160, margin=0.3)} | RESULTS)
CALIBRATION = Calibration(temperature=1.5, clip=1e-6, videos=40, fakes=20, log_loss_before=0.5, log_loss_after=0.4)

State = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model(SMALL, pretrained=False).eval()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "run")


@pytest.fixture
def folder(model: Classifier, run: Run) -> Path:
    save_model(run.root / "models" / "m", model, CARD)
    return run.root / "models" / "m"


def logits(model: Classifier) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))


def released_state(model: Classifier) -> State:
    return {f"module.{key}": tensor for key, tensor in model.state_dict().items()}


def write_released(path: Path, state: State, **more: object) -> Path:
    torch.save({"epoch": 8, "state_dict": state} | more, path)
    return path


@pytest.mark.parametrize("noise", [False, True])
def test_a_reloaded_model_gives_equal_logits(noise: bool, tmp_path: Path) -> None:
    model = create_model(SMALL, pretrained=False, noise=noise)
    model(torch.randn(4, 3, 64, 64))  # moves the running statistics
    card = CARD.model_copy(update={"noise": noise})
    save_model(tmp_path / "m", model.eval(), card)
    loaded, loaded_card = load_model(tmp_path / "m")
    assert loaded_card == card
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(model))  # bit for bit
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["model.json", "seen.csv", "weights.safetensors"]


def test_saving_again_replaces_only_the_model(folder: Path, model: Classifier) -> None:
    (folder / "history.csv").write_text("loss\n")
    other = create_model(SMALL, pretrained=False).eval()
    save_model(folder, other, CARD.model_copy(update={"data": "other"}))
    loaded, card = load_model(folder)
    assert card.data == "other"
    assert torch.equal(logits(loaded), logits(other))
    assert not torch.equal(logits(loaded), logits(model))
    assert (folder / "history.csv").read_text(encoding="utf-8") == "loss\n"


def test_what_a_model_has_seen_lies_beside_its_card(folder: Path, model: Classifier) -> None:
    assert "youtube" not in (folder / "model.json").read_text(encoding="utf-8")
    rows = (folder / "seen.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == ["trained on,names,ffpp/youtube/007", "trained on,names,NA", *rows[3:]] and len(rows) == 5
    save_model(folder, model, CARD.model_copy(update={"trained_on": None, "chosen_by": None}))
    assert load_model(folder)[1].trained_on is None  # not the list of other weights
    (folder / "seen.csv").write_text("role,value\n")
    with pytest.raises(ValueError, match="kind"):
        load_model(folder)


def test_an_interruption_between_weights_and_card_leaves_no_mixed_model(
    folder: Path, model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == "model.json":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(folder, model, CARD)
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        load_model(folder)


def test_card_that_cannot_be_read_back_is_not_written(tmp_path: Path, model: Classifier) -> None:
    with pytest.raises(ValueError, match="log_loss"):
        save_model(tmp_path / "m", model, CARD.model_copy(update={"metrics": {"log_loss": float("nan")}}))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("spoil", "count", "keyword"),
    [
        (lambda state: state.pop("fc.bias"), "1", r"Missing.*fc\.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "1", "Unexpected.*extra"),
        (lambda state: state.update({"fc.weight": torch.zeros(2, 9)}), "1", r"fc\.weight.*2, 9"),
        (dict.clear, r"\d\d+", r"Missing.*encoder\.conv_stem\.weight"),
    ],
)
def test_weights_that_do_not_fit(
    spoil: Callable[[State], None], count: str, keyword: str, folder: Path, tmp_path: Path, model: Classifier
) -> None:
    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    spoil(state)
    save_file(state, folder / "weights.safetensors")
    with pytest.raises(ValueError, match=rf"weights\.safetensors.* {count} .*{keyword}"):
        load_model(folder)
    path = write_released(tmp_path / NAME, {f"module.{key}": tensor for key, tensor in state.items()})
    with pytest.raises(ValueError, match=rf"{NAME}.* {count} .*{keyword}"):
        load_classifier(released_files(path))


def test_noise_weights_with_a_card_without_noise(tmp_path: Path) -> None:
    save_model(tmp_path, create_model(SMALL, pretrained=False, noise=True), CARD)
    with pytest.raises(ValueError, match=r"noise\.kernels"):
        load_model(tmp_path)


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def change_card(change: Callable[[dict], object]) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.json").write_text(json.dumps(change(CARD.model_dump())))


@pytest.mark.parametrize(
    ("spoil", "error", "keyword"),
    [
        (lambda folder: (folder / "model.json").unlink(), FileNotFoundError, r"model\.json"),
        (lambda folder: (folder / "weights.safetensors").unlink(), FileNotFoundError, r"weights\.safetensors"),
        *[(cut("weights.safetensors", size), ValueError, "damaged") for size in (0, 5, 100_000)],
        (change_card(lambda card: card | {"colour": 1}), ValueError, "colour"),
        (change_card(lambda card: card.pop("recipe") and card), ValueError, "recipe"),
        (change_card(lambda _: "not a card"), ValueError, "model card"),
        (change_card(lambda card: card | {"encoder": "resnest50"}), ValueError, "timm"),
    ],
)
def test_damaged_folder(spoil: Callable[[Path], object], error: type[Exception], keyword: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(error, match=keyword):
        load_model(folder)


def test_calibration_and_test_metrics_belong_to_their_weights(run: Run, folder: Path, model: Classifier) -> None:
    assert load_model(folder)[1] == CARD
    run.write_record(run.calibration_path("m"), CALIBRATION)
    run.write_json(folder / "test_metrics.json", {"test AUC": 0.75})
    expected = {"calibration": CALIBRATION, "metrics": {"log_loss": 0.25, "test AUC": 0.75}}
    for files in (read_model_folder(folder), find_model("m", run), find_model(str(folder), run)):
        assert files.card == CARD.model_copy(update=expected)
    save_model(folder, model, CARD.model_copy(update={"calibration": CALIBRATION}))
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "seen.csv", "weights.safetensors"]
    assert "calibration" not in json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert load_model(folder)[1] == CARD


VALID = CALIBRATION.model_dump_json()


@pytest.mark.parametrize("content", ["", "{}", VALID.replace("1.5", "0.0"), VALID.replace("1.5", '"warm"'), VALID[:20]])
def test_invalid_calibration(content: str, run: Run, folder: Path) -> None:
    run.calibration_path("m").parent.mkdir()
    run.calibration_path("m").write_text(content)
    with pytest.raises(ValueError, match="notebook 08"):
        load_model(folder)


@pytest.mark.parametrize("zipped", [True, False], ids=["torch 1.6 and later", "earlier"])
@pytest.mark.parametrize("best", [0.25, np.float64(0.25)], ids=["float", "NumPy"])
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_released_form(zipped: bool, best: object, prefix: str, tmp_path: Path, model: Classifier) -> None:
    state = {f"{prefix}{key}": tensor for key, tensor in model.state_dict().items()}
    content = {"epoch": 8, "state_dict": state, "bce_best": best}
    torch.save(content, tmp_path / NAME, _use_new_zipfile_serialization=zipped)
    files = released_files(tmp_path / NAME)
    loaded, card = load_classifier(files), files.card
    assert torch.equal(logits(loaded), logits(model)) and not loaded.training
    assert (card.name, card.encoder, card.noise) == (NAME, SMALL, False)
    assert (card.validation_fold, card.training) == (3, {"epoch": 7})
    assert (card.trained_on, card.chosen_by) == (None, None)  # unknown: not one of the seven
    detector = DetectorSettings(thresholds=(0.7, 0.8, 0.8), resize="winner", min_face_pixels=20)
    crops = {"margin": 1 / 3, "edges": "winner", "frames": "opencv", "size": 380}
    fed = {"interpolation_down": "area", "interpolation_up": "cubic"}
    assert card.recipe == Recipe.model_validate({"detector": detector} | crops | fed)
    assert (card.recipe.mean, card.recipe.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_released_numpy_number_of_numpy_1(tmp_path: Path, model: Classifier) -> None:
    path, content = tmp_path / NAME, {"state_dict": released_state(model), "bce_best": np.float64(0.25)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    written = path.read_bytes()
    assert b"numpy._core.multiarray" in written
    path.write_bytes(written.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert torch.equal(logits(load_classifier(released_files(path))), logits(model))


class Bomb:
    """Unpickling it creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_released_with_other_objects_runs_nothing(tmp_path: Path, model: Classifier) -> None:
    path = write_released(tmp_path / NAME, released_state(model), recipe=Fraction(1, 3))
    with pytest.raises(ValueError, match=r"fractions\.Fraction"):
        load_classifier(released_files(path))
    path = write_released(tmp_path / NAME, released_state(model), extra=Bomb(tmp_path / "it ran"))
    with pytest.raises(ValueError, match=r"posix\.mkdir"):
        load_classifier(released_files(path))
    assert not (tmp_path / "it ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "it ran").exists()  # the test can fail


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("size", [0, 1, 40, 3000, 100_000, -1])
def test_truncated_release(zipped: bool, size: int, tmp_path: Path, model: Classifier) -> None:
    path = tmp_path / NAME
    torch.save({"state_dict": released_state(model)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="damaged"):
        load_classifier(released_files(path))


def test_released_with_other_content(tmp_path: Path) -> None:
    for content in ([], {}, {"state_dict": 3}, {"state_dict": {"module.fc.bias": "text"}}, torch.zeros(3)):
        torch.save(content, tmp_path / NAME)
        with pytest.raises(ValueError, match="state_dict"):
            load_classifier(released_files(tmp_path / NAME))


def test_released_names(tmp_path: Path) -> None:
    matches = [RELEASED_NAME.search(checkpoint.name) for checkpoint in released.RELEASED]
    assert {match["encoder"] for match in matches if match} == {"tf_efficientnet_b7_ns"}
    assert [int(match["epoch"]) for match in matches if match] == [36, 19, 29, 31, 37, 40, 23]
    for name in ("model.pth", "final_1_DeepFakeClassifierSRM_resnet18_0_1", "DeepFakeClassifier_resnet18_best"):
        with pytest.raises(ValueError, match=name):
            released_files(tmp_path / name)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Classifier) -> Path:
    """A cache folder with one of two released checkpoints."""
    folder = tmp_path / "cache"
    folder.mkdir()
    content = write_released(folder / NAME, released_state(model)).read_bytes()
    first = released.Released(name=NAME, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), url="")
    monkeypatch.setattr(released, "RELEASED", (first, first.model_copy(update={"name": "final_2"})))
    monkeypatch.setenv("DFDC_WEIGHTS", str(folder))
    return folder


def test_unknown_name_lists_the_models_that_exist(run: Run, cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{run.root}: none; .*{cache}: {NAME}"):
        find_model("b7", run)
    (cache / NAME).unlink()
    for name in ("m", "n"):
        (run.root / "models" / name).mkdir(parents=True)
        (run.root / "models" / name / "model.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=rf"{run.root}: m, n; .*{cache}: none.*dfdc weights download"):
        find_model("b7", run)


def test_every_way_to_name_a_model(run: Run, folder: Path, cache: Path, model: Classifier) -> None:
    elsewhere = (cache / NAME).rename(cache.parent / NAME)
    (cache / NAME).write_bytes(elsewhere.read_bytes())
    winner = [f"dfdc/part {part}" for part in range(50)]
    for name, expected in (("m", "m"), (str(folder), "m"), (NAME, NAME), (str(elsewhere), NAME)):
        files = find_model(name, run)
        loaded, card = load_classifier(files), files.card
        assert card.name == expected
        trained_on, chosen_by = (list(card.trained_on.names), list(card.chosen_by.names))
        assert expected == "m" or (trained_on, chosen_by) == (winner[3:], winner[:3])
        assert torch.equal(logits(loaded), logits(model))


def test_released_file_is_verified_before_it_is_read(run: Run, cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dfdc weights download final_2"):
        find_model("final_2", run)
    content = (cache / NAME).read_bytes()
    (cache / NAME).write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match="SHA-256"):
        find_model(NAME, run)


def test_the_fingerprint_is_that_of_the_weights(folder: Path, model: Classifier) -> None:
    before = read_model_folder(folder).fingerprint
    save_model(folder, model, CARD.model_copy(update={"data": "other"}))
    assert read_model_folder(folder).fingerprint == before
    with torch.no_grad():
        model.fc.bias += 1e-3
    save_model(folder, model, CARD)
    assert read_model_folder(folder).fingerprint != before
