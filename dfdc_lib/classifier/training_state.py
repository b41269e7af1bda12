"""Everything that training changes, and the file that holds it while training is not finished."""

import io
from pathlib import Path
from typing import Any

import torch

from dfdc_lib.run_folder import Run


class TrainingState:
    """Everything that training changes, and the file that holds it while training is not finished."""

    def __init__(self, path: Path, mark: str, **parts: Any) -> None:
        self.path, self.fingerprint, self.parts = path, mark, parts
        self.epoch, self.iteration = 0, 0
        self.losses: list[float] = []  # of every iteration so far
        self.history: list[dict[str, float]] = []  # one entry an epoch

    def save(self, run: Run) -> None:
        """Write the state whole or not at all."""
        content = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {name: getattr(self, name) for name in ("fingerprint", "epoch", "iteration", "losses", "history")}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        run.write_bytes(self.path, buffer.getvalue())

    def load(self) -> None:
        """Go on from a saved state; one of other settings or other crops is passed over, and training begins anew."""
        if not self.path.exists():
            return
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        if content["fingerprint"] != self.fingerprint:
            return
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        for name in ("epoch", "iteration", "losses", "history"):
            setattr(self, name, content[name])

    def end_epoch(self, found: dict[str, float], train_loss: float, rate: float) -> bool:
        """Enter an epoch into the history; say whether its checkpoint is the best so far."""
        best = min((entry["log loss"] for entry in self.history), default=float("inf"))
        self.history.append({"epoch": self.epoch, "train loss": train_loss, "learning rate": rate} | found)
        return found["log loss"] < best

    @property
    def moment(self) -> str:
        """Say where training is."""
        return f"epoch {self.epoch}, iteration {self.iteration}"
