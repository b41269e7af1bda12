"""Choose the device that the networks run on. Input: "auto" or a device's name. Output: a `torch.device`."""

import torch


def choose_device(device: str = "auto") -> torch.device:
    """Return the device of this name ("cpu", "cuda", "cuda:1"); "auto" returns a GPU if there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
