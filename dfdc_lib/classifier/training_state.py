"""The state of a training run, and the file models/<name>/state.pt from which an interrupted run resumes."""

import io
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.objective import create_optimizer, create_scheduler
from dfdc_lib.classifier.training_plan import STATE_FILE, Plan
from dfdc_lib.run_folder import Run

PARTS = ("model", "optimizer", "scheduler", "scaler")
PROGRESS = ("epoch", "iteration", "losses", "history")


class TrainingState:
    """Everything that training changes: a network and its optimizer, schedule, gradient scaler and progress.

    The network is the classifier on its device, or its DistributedDataParallel wrapper.
    """

    def __init__(self, plan: Plan, network: nn.Module) -> None:
        self.path, self.network = plan.folder / STATE_FILE, network
        self.origin = {"fingerprint": plan.fingerprint, "settings": plan.settings.model_dump()}
        self.number_format = str(plan.dtype).removeprefix("torch.")
        wrapped = isinstance(network, DistributedDataParallel)
        self.model = cast(Classifier, network.module if wrapped else network)
        self.optimizer = create_optimizer(self.model, plan.settings)
        self.scheduler = create_scheduler(self.optimizer, plan.settings)
        self.scaler = torch.amp.GradScaler(plan.device.type, enabled=plan.dtype == torch.float16)
        self.epoch, self.iteration = 0, 0
        self.losses: list[float] = []  # of every iteration
        self.history: list[dict[str, float]] = []  # one entry per epoch

    def save(self, run: Run) -> None:
        """Write the state to models/<name>/state.pt; if interrupted, the earlier file stays."""
        content = self.origin | {"number format": self.number_format}
        content |= {name: getattr(self, name).state_dict() for name in PARTS}
        content |= {name: getattr(self, name) for name in PROGRESS}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        run.write_bytes(self.path, buffer.getvalue())

    def load(self) -> bool:
        """Restore the saved state and return True; return False if none was saved with these settings and crops.

        Raise ValueError if it was saved in another number format than this training uses; with TRAINING_PRECISION
        "auto", the format depends on the device.
        """
        content = torch.load(self.path, map_location="cpu", weights_only=True) if self.path.exists() else {}
        if content.get("fingerprint") != self.origin["fingerprint"]:
            return False
        if content["number format"] != self.number_format:
            formats = f"was computed in {content['number format']}, and this device computes in {self.number_format}"
            raise ValueError(f"{self.path} {formats}: resume on such a device, or start again with --force")
        for name in PARTS:
            getattr(self, name).load_state_dict(content[name])
        for name in PROGRESS:
            setattr(self, name, content[name])
        return True

    def end_epoch(self, measured: dict[str, float], train_loss: float) -> bool:
        """Append an epoch to the history; return whether its validation log loss is the lowest so far.

        `measured` are the validation metrics, among them "log loss"; `train_loss` is the epoch's mean loss.
        """
        lowest = min((entry["log loss"] for entry in self.history), default=float("inf"))
        rate = float(self.scheduler.get_last_lr()[0])
        self.history.append({"epoch": self.epoch, "train loss": train_loss, "learning rate": rate} | measured)
        return measured["log loss"] < lowest
