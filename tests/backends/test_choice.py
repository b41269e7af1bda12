import sys

import pytest

from dfdc_lib.backends import choice
from dfdc_lib.backends.choice import Engine, choose_engine


@pytest.mark.parametrize(
    ("backend", "device", "has_gpu", "expected"),
    [
        ("auto", "auto", False, Engine("openvino", "cpu")),
        ("auto", "auto", True, Engine("torch", "cuda")),
        ("auto", "cpu", True, Engine("openvino", "cpu")),
        ("auto", "cuda:1", False, Engine("torch", "cuda:1")),
        ("openvino", "auto", True, Engine("openvino", "cpu")),
        ("torch", "auto", False, Engine("torch", "cpu")),
        ("torch", "auto", True, Engine("torch", "cuda")),
    ],
)
def test_choose_engine(
    backend: str, device: str, has_gpu: bool, expected: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "has_gpu", lambda: has_gpu)
    assert choose_engine(backend, device) == expected
    assert expected.on_gpu == (expected.device != "cpu")


@pytest.mark.parametrize(
    ("backend", "device", "keyword"), [("onnx", "cpu", "onnx"), ("auto", "tpu", "tpu"), ("openvino", "cuda", "CPU")]
)
def test_engines_that_do_not_exist(backend: str, device: str, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        choose_engine(backend, device)


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "CUDA_LIBRARY", "libno_such_driver.so")
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    choice.has_gpu.cache_clear()
    assert not choice.has_gpu()
    choice.has_gpu.cache_clear()
