"""The plan of a run: how many steps, and the learning rate as a function of the step alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Warm-up, stable, decay.

    Attributes:
        steps: when the run ends.
        warmup: steps of linear growth of the learning rate.
        decay_from: step from which it falls linearly to zero.
        shortened: whether the decay was started early because the time ran short.
    """

    steps: int
    warmup: int
    decay_from: int
    shortened: bool = False

    @staticmethod
    def of(steps: int) -> Plan:
        """The plan of a run of so many steps: decay over the last quarter."""
        if steps < 1:
            raise ValueError(f"a run needs at least one step, not {steps}")
        return Plan(steps=steps, warmup=max(1, min(500, steps // 20)), decay_from=max(1, steps - steps // 4))

    def rate(self, step: int) -> float:
        """Factor on the peak learning rate at a step (counted from 0)."""
        up = min(1.0, (step + 1) / self.warmup)
        down = 1.0 if step < self.decay_from else (self.steps - step) / max(1, self.steps - self.decay_from)
        return up * max(down, 0.0)

    def hurry(self, step: int, affordable: int) -> Plan:
        """The plan if only `affordable` more steps fit in the time: the decay starts now if it must.

        The decay is kept at no more than a quarter of all steps made.
        """
        if step >= self.decay_from or step + affordable >= self.steps:
            return self
        needed = max(1, round((step + affordable) / 4))
        if affordable > needed:
            return self
        return Plan(steps=step + max(1, affordable), warmup=self.warmup, decay_from=step, shortened=True)
