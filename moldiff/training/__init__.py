"""Training: loop, average, checkpoints, data-parallel runs."""

from moldiff.training.run import train

__all__ = ["train"]
