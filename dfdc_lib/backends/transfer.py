"""Copy a batch to the device of its network. In: a tensor on the CPU. Out: the tensor on the device."""

import torch


def to_device(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a batch on a device. To a GPU it is copied from pinned memory, and the CPU does not wait for the copy."""
    if device.type == "cuda" and batch.device.type == "cpu":
        batch = batch.pin_memory()  # the batch itself if a loader has pinned it
    return batch.to(device, non_blocking=True)
