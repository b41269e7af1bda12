import pytest
import torch

from dfdc_lib.backends.transfer import to_device

BATCH = torch.arange(12, dtype=torch.uint8).view(1, 2, 2, 3).permute(0, 3, 1, 2)  # channels last, as squares are


def test_on_the_cpu_nothing_is_copied() -> None:
    assert to_device(BATCH, torch.device("cpu")) is BATCH


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("pinned", [True, False])
def test_a_copy_on_the_gpu(pinned: bool) -> None:
    moved = to_device(BATCH.pin_memory() if pinned else BATCH, torch.device("cuda"))
    assert moved.device.type == "cuda" and moved.stride() == BATCH.stride()
    assert torch.equal(moved.cpu(), BATCH)
