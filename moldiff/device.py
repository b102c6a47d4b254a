"""Where a model runs: one reading of a device's name, for training and sampling; what it is, and a full memory."""

from __future__ import annotations

import torch


def choose_device(name: str, local: int = 0) -> torch.device:
    """The device of a name; ``"auto"`` takes a GPU where there is one.

    Args:
        name: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        local: which GPU ``"cuda"`` means.

    Raises:
        ValueError: for another name, or if a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no GPU: use device='cpu'")
    try:
        return torch.device("cuda", local) if name == "cuda" else torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: device must be 'auto', 'cpu', 'cuda' or 'cuda:1'") from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def hardware(device: torch.device, ranks: int) -> str:
    """The hardware of a run in words."""
    if device.type == "cuda":
        return f"{ranks} x {torch.cuda.get_device_name(device)}"
    return f"{ranks * torch.get_num_threads()} CPU threads in {ranks} process{'es' if ranks > 1 else ''}"
