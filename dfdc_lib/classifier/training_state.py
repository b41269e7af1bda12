"""The state of a training run, and the file models/<name>/state.pt from which an interrupted run resumes."""

import io
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.objective import create_optimizer, create_scheduler
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.run_folder import Run

PARTS = ("model", "optimizer", "scheduler", "scaler")
PROGRESS = ("fingerprint", "epoch", "iteration", "losses", "history")


class TrainingState:
    """Everything that training changes: a network and its optimizer, schedule, gradient scaler and progress.

    The network is the classifier on its device, or its DistributedDataParallel wrapper.
    """

    def __init__(
        self, path: Path, fingerprint: str, network: nn.Module, settings: TrainSettings, scaler: torch.amp.GradScaler
    ) -> None:
        self.path, self.fingerprint, self.network, self.scaler = path, fingerprint, network, scaler
        wrapped = isinstance(network, DistributedDataParallel)
        self.model = cast(Classifier, network.module if wrapped else network)
        self.optimizer = create_optimizer(self.model, settings)
        self.scheduler = create_scheduler(self.optimizer, settings)
        self.epoch, self.iteration = 0, 0
        self.losses: list[float] = []  # of every iteration
        self.history: list[dict[str, float]] = []  # one entry per epoch

    def save(self, run: Run) -> None:
        """Write the state atomically."""
        content = {name: getattr(self, name).state_dict() for name in PARTS}
        content |= {name: getattr(self, name) for name in PROGRESS}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        run.write_bytes(self.path, buffer.getvalue())

    def load(self) -> bool:
        """Restore the saved state; return False if there is none with this fingerprint."""
        content = torch.load(self.path, map_location="cpu", weights_only=True) if self.path.exists() else {}
        if content.get("fingerprint") != self.fingerprint:
            return False
        for name in PARTS:
            getattr(self, name).load_state_dict(content[name])
        for name in PROGRESS:
            setattr(self, name, content[name])
        return True

    def end_epoch(self, measured: dict[str, float], train_loss: float) -> bool:
        """Append an epoch to the history; return whether its validation log loss is the lowest so far."""
        lowest = min((entry["log loss"] for entry in self.history), default=float("inf"))
        rate = float(self.scheduler.get_last_lr()[0])
        self.history.append({"epoch": self.epoch, "train loss": train_loss, "learning rate": rate} | measured)
        return measured["log loss"] < lowest
