"""The optimiser: Muon for the matrices of the blocks where torch has it, AdamW for everything else.

Muon (Jordan et al. 2024) orthogonalises the momentum of each matrix. On the QM9 recipe it reaches after 280 steps the
loss that AdamW reaches after 500 (`benchmarks/optimiser.py`).
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

#: Matrices narrower than this stay with AdamW: there is little to orthogonalise.
NARROWEST = 8


@final
class Optimiser:
    """One or two torch optimisers as one.

    Args:
        network: the blocks of its trunk (`network.blocks`) hold the matrices that Muon takes.
        rate: peak learning rate.
        kind: ``"muon"``, ``"adamw"`` or ``"auto"`` for Muon where this torch has it.
        matrix_rate: factor on the rate for the matrices under Muon.
        fused: the fused kernel of AdamW; faster, and rounds a little differently.

    Raises:
        ValueError: if Muon is asked for and this torch has none.
    """

    def __init__(
        self, network: nn.Module, rate: float, *, kind: str = "auto", matrix_rate: float = 5.0, fused: bool = False
    ) -> None:
        known = hasattr(torch.optim, "Muon")
        if kind == "muon" and not known:
            raise ValueError(f"torch {torch.__version__} has no Muon: install torch 2.9 or newer, or choose adamw")
        self.kind = "adamw" if kind == "adamw" or not known else "muon"
        named = dict(network.named_parameters())
        hidden = [
            p
            for name, p in named.items()
            if self.kind == "muon" and name.startswith("blocks.") and p.ndim == 2 and min(p.shape) > NARROWEST
        ]
        taken = {id(p) for p in hidden}
        rest = [p for p in named.values() if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=fused or None), 1.0)
        ]
        if hidden:
            muon = torch.optim.Muon(hidden, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
            self.parts.append((muon, matrix_rate))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part, _ in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Move the weights at a learning rate."""
        for part, factor in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()

    def state(self, parameter: Tensor) -> dict[str, Any]:
        """The moments of a parameter, by name; empty before its first step."""
        for part, _ in self.parts:
            if parameter in part.state:
                return dict(part.state[parameter])
        return {}

    def restore(self, parameter: Tensor, state: dict[str, Tensor]) -> None:
        """Put the moments of a parameter back, on its device; AdamW counts steps on the CPU unless it is fused."""
        for part, _ in self.parts:
            for group in part.param_groups:
                if any(parameter is p for p in group["params"]):
                    away = [] if group.get("fused") else ["step"]
                    part.state[parameter] = {
                        name: value if name in away else value.to(parameter.device) for name, value in state.items()
                    }
