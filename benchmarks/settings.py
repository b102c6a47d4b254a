"""Change the sampler's settings that a run's weights carry, after a study has chosen better ones.

    python benchmarks/settings.py runs/qm9 order=2 churn=0 temperature=0.9 --out runs/qm9-final

The weights keep every bit; only the header changes. What is written is what `moldiff.load` will sample with.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from moldiff.config import SamplerConfig
from moldiff.networks.weights import load, save
from moldiff.shipped import WEIGHTS


def setting(text: str) -> tuple[str, Any]:
    """``name=value`` as a field of `SamplerConfig` and its value in the field's type."""
    name, _, value = text.partition("=")
    kinds = {field.name: type(field.default) for field in dataclasses.fields(SamplerConfig)}
    if name not in kinds or not value:
        raise ValueError(f"{text!r} is no setting: give name=value with a name of {', '.join(kinds)}")
    if kinds[name] is bool:
        if value not in ("True", "False"):
            raise ValueError(f"{text!r}: {name} is True or False")
        return name, value == "True"
    if kinds[name] is tuple:
        return name, tuple(float(part) for part in value.split(","))
    return name, kinds[name](value)


def main() -> None:
    """Read, change the header, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("settings", nargs="+", help="name=value, of several numbers name=1,2")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights with the new header")
    args = parser.parse_args()
    changes = dict(setting(text) for text in args.settings)
    network, config = load(args.run / WEIGHTS)
    config = dataclasses.replace(config, sampler=dataclasses.replace(config.sampler, **changes))
    args.out.mkdir(parents=True, exist_ok=True)
    print(save(args.out / WEIGHTS, config, tensors=network.state_dict()), config.sampler)


if __name__ == "__main__":
    main()
