"""Training: the Trainer, its history, callbacks and schedules; checkpoints that resume exactly."""

from . import schedules
from .callbacks import Averaging, Callback, Checkpoint, EarlyStopping, ReduceLROnPlateau
from .checkpoint import check_arrays, load_checkpoint, load_weights, save_weights, weights_sha256
from .history import History
from .storage import atomic_write, read_safetensors, write_safetensors
from .trainer import Evaluation, Loss, Trainer
from .transfer import features

__all__ = [
    "Averaging", "Callback", "Checkpoint", "EarlyStopping", "Evaluation", "History", "Loss",
    "ReduceLROnPlateau", "Trainer", "atomic_write", "check_arrays", "features", "load_checkpoint",
    "load_weights", "read_safetensors", "save_weights", "schedules", "weights_sha256",
    "write_safetensors",
]  # fmt: skip
