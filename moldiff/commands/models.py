"""`moldiff models`: what is in the package."""

from __future__ import annotations

from dataclasses import dataclass

from moldiff.commands.options import DONE, say


@dataclass(frozen=True)
class Models:
    """List the weights in the package: size, data, headline numbers, and the properties that `--target` takes.

    The first column is what every other command takes as a model:
        moldiff models
    """

    def run(self) -> int:
        """Print the list."""
        from moldiff.generator import shipped

        found = shipped()
        if not found:
            say("no weights are in this installation; train some with `moldiff train`")
        for model in found:
            size = f"{model.parameters / 1e6:.1f} M parameters, {model.megabytes:.1f} MB"
            print(f"{model.name:12}{size}, trained on {model.data}")
            print(f"{'':12}{model.headline}")
            if model.properties:
                print(f"{'':12}{'property':26}{'unit':12}{'range in training':24}labels")
            for p in model.properties:
                # a dipole that is zero by symmetry is 1e-13 as calculated
                low = 0.0 if abs(p.low) < 1e-9 else p.low
                print(f"{'':12}{p.name:26}{p.unit:12}{f'{low:.4g} to {p.high:.4g}':24}{p.level}")
        return DONE
