"""Settings as frozen dataclasses, and a strict reader for them: an unknown or missing key is an error that names it."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class NetworkConfig:
    """Size and parts of the equivariant trunk.

    Attributes:
        scalars, vectors: channels of 0e and 1o features an atom.
        pairs: channels of the pair stream; `pair_hidden` the width inside its update. Half of 128 there explained
            95 to 98 % of the rest in a trained network, and learns more in the same time (`benchmarks/choices.py`).
        heads: attention heads; `products`: channels of low-rank node products fed to the pairs.
        blocks: depth.
        condition: width of the clock-and-property embedding.
        radial: radial basis functions a distance.
    """

    scalars: int = 192
    vectors: int = 32
    pairs: int = 64
    pair_hidden: int = 64
    heads: int = 8
    products: int = 12
    blocks: int = 8
    condition: int = 128
    radial: int = 20


#: Network sizes by name: about 4 and 8 million parameters.
PRESETS: dict[str, NetworkConfig] = {
    "s": NetworkConfig(),
    "m": NetworkConfig(scalars=256, vectors=48, pairs=96, pair_hidden=160, products=16, condition=160),
}


@dataclass(frozen=True)
class GaussianConfig:
    """Noise on positions: ln s linear in the clock, s in units of the data's deviation (Karras et al. 2022).

    Attributes:
        smallest, largest: s at clock 0 and 1.
        deviation_scale, deviation_power: s_data = scale * n_atoms ** power, angstrom, measured on the training set.
    """

    smallest: float = 0.001
    largest: float = 80.0
    deviation_scale: float = 0.43
    deviation_power: float = 0.405


@dataclass(frozen=True)
class CategoricalConfig:
    """Absorbing noise on symbols: hidden with probability clamp((t - begin) / (end - begin), 0, 1)."""

    begin: float = 0.25
    end: float = 0.70


@dataclass(frozen=True)
class LatticeConfig:
    """Noise on the cell: a Gaussian path of six standardised invariants of its logarithm.

    Attributes:
        mean, deviation: of ln(volume per atom / angstrom^3) and of the five shape coefficients, over the training set.
    """

    mean: tuple[float, ...] = (3.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (0.4, 0.3, 0.3, 0.3, 0.3, 0.3)

    def __post_init__(self) -> None:
        if len(self.mean) != 6 or len(self.deviation) != 6 or min(self.deviation) <= 0:
            raise ValueError(f"a cell has six means and six positive deviations, not {self.mean} and {self.deviation}")


@dataclass(frozen=True)
class DiffusionConfig:
    """The joint process over all fields; molecules use positions, elements, charges and bonds, crystals the lattice.

    Attributes:
        weights: loss weight of each field.
        clock_mean, clock_deviation: normal distribution of the training clock (molecules; that of crystals is uniform).
        clock_small: share of molecules whose clock is uniform below clock_mean - clock_deviation instead: the normal
            distribution hardly ever shows the small noise that decides bond lengths (`benchmarks/lengths.py`).
        clock_jitter: deviation of each symbol field's clock (crystals: of the cell's, too) around the shared one.
    """

    positions: GaussianConfig = field(default_factory=GaussianConfig)
    elements: CategoricalConfig = field(default_factory=CategoricalConfig)
    charges: CategoricalConfig = field(default_factory=CategoricalConfig)
    bonds: CategoricalConfig = field(default_factory=CategoricalConfig)
    lattice: LatticeConfig = field(default_factory=LatticeConfig)
    weights: dict[str, float] = field(
        default_factory=lambda: {"positions": 3.0, "elements": 0.4, "charges": 1.0, "bonds": 2.0, "properties": 0.1}
    )
    clock_mean: float = 0.5
    clock_deviation: float = 0.125
    clock_small: float = 0.1
    clock_jitter: float = 0.05

    @staticmethod
    def for_crystals(lattice: LatticeConfig) -> DiffusionConfig:
        """The settings with which crystals are trained, for the statistics of a training set."""
        return DiffusionConfig(
            elements=CategoricalConfig(0.1, 0.9),
            lattice=lattice,
            weights={"fractional": 1.0, "cell": 0.5, "elements": 0.3, "properties": 0.05},
            clock_small=0.0,
            clock_jitter=0.1,
        )


#: Power of the share of steps by which `SamplerConfig.in_steps` cools symbols.
COOLING = 0.4


@dataclass(frozen=True)
class SamplerConfig:
    """How to walk from noise to data.

    Attributes:
        steps: sampler steps; one network evaluation each.
        density: rho of the time grid; 0 is uniform in the clock, 2 dense in the middle.
        last: clock from which the last step goes to 0; steps of small noise decide little, and where training hardly
            saw them (see `DiffusionConfig.clock_small`) bond lengths drift.
        order: 1 steps continuous fields along the guess of now; 2 along one extrapolated from the evaluation before
            (Adams-Bashforth, no further evaluation), wherever churn has not raised the noise in between.
        churn: share by which the noise on positions is raised before each step while it is between `churn_from` and
            `churn_to` (units of s_data).
        remask: rate eta at which shown symbols are hidden again per unit of the clock.
        temperature: divides the logits of symbols before they are drawn.
        cooled: part of the temperature by which symbols are colder than the settings were made for, at most 1; few
            steps need it, see `in_steps`.
        bond_shares: share of each bond symbol after "none" in the data. What was `cooled` then sharpens what the
            network knows beyond these shares, where it would else make rare orders rarer. Empty: all is sharpened
            alike. Molecules only.
        confidence: weight of a draw's log-probability in the order in which hidden symbols are shown, beside unit
            Gumbel noise; 0 is random order.
        redraw: steps kept for the end, at most a fifth, in which charges and bonds are drawn anew on the finished
            positions and elements, which decide them; 0 for none. Molecules only.
        closed_shell: elements are drawn together so that each molecule has an even sum of atomic numbers, as every
            neutral molecule without unpaired electrons has. Molecules only.
        anneal: fractional coordinates move faster towards the end than their velocity says, 1 + anneal (1 - t) times;
            `anneal_given` counts instead where all elements are given (structure prediction).
    """

    steps: int = 50
    density: float = 2.0
    last: float = 0.0
    order: int = 1
    churn: float = 0.4
    churn_from: float = 0.03
    churn_to: float = 3.0
    remask: float = 25.0
    temperature: float = 1.0
    cooled: float = 1.0
    bond_shares: tuple[float, ...] = ()
    confidence: float = 0.0
    redraw: int = 0
    closed_shell: bool = False
    anneal: float = 3.0
    anneal_given: float = 3.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}: 50 is the default, 30 fast, 100 best")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}: 1 draws as predicted")
        if not 0 < self.cooled <= 1:
            raise ValueError(f"cooled must be above 0 and at most 1, not {self.cooled}: 1 is not cooled")
        if any(not share > 0 for share in self.bond_shares):
            raise ValueError(
                f"bond_shares must be above 0, not {self.bond_shares}: count a symbol that is never seen once"
            )
        if not 0 <= self.last < 1:
            raise ValueError(f"last must be in [0, 1), not {self.last}: 0 walks the whole clock")
        if self.order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, not {self.order}")
        for name in ("churn", "remask", "confidence", "redraw"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.anneal < 0 or self.anneal_given < 0:
            raise ValueError(f"anneal and anneal_given must not be negative, not {self.anneal} and {self.anneal_given}")

    @property
    def redraws(self) -> int:
        """Steps at the end in which charges and bonds are drawn anew."""
        return min(self.redraw, self.steps // 5)

    def in_steps(self, steps: int) -> SamplerConfig:
        """These settings for another number of steps; with fewer than they were made for, each is larger.

        A larger step takes less churn, and symbols that are drawn together contradict each other less often when they
        are colder, which makes no rare bond rarer (`bond_shares`); of few steps fewer are kept for drawing anew.
        Measured on QM9 (`benchmarks/sampler.py`, the curve); less diverse, the fewer the steps.
        """
        share = min(1.0, steps / self.steps)
        colder = share**COOLING
        return replace(
            self,
            steps=steps,
            churn=self.churn * share,
            temperature=self.temperature * colder,
            cooled=self.cooled * colder,
            redraw=max(round(self.redraw * share), min(self.redraw, 1)),
        )


@dataclass(frozen=True)
class PropertyConfig:
    """A property that a model can be conditioned on.

    Attributes:
        name, unit: as in the archive.
        mean, deviation: over the training set, for standardising.
        low, high: range in training.
        classes: 0 for a number; else the property is one of the classes 1..classes, which are not standardised.
    """

    name: str
    unit: str
    mean: float
    deviation: float
    low: float
    high: float
    classes: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed, beside the weights, to build a model and to sample from it; the header of a weights file.

    Attributes:
        data: name of the data set.
        network, diffusion, sampler: settings; `sampler` holds the defaults of sampling.
        alphabets: field name -> symbols.
        sizes: atom count (as text, since it is stored as JSON) -> structures of that size in training.
        properties: what can be conditioned on, in the order of the network's columns.
        facts: what is known of the run that made the weights (passes, hours, hardware, seed), as text.
        kind: ``"molecule"`` or ``"crystal"``.
    """

    data: str
    network: NetworkConfig
    diffusion: DiffusionConfig
    sampler: SamplerConfig
    alphabets: dict[str, tuple[str, ...]]
    sizes: dict[str, int]
    properties: tuple[PropertyConfig, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    kind: str = "molecule"

    def __post_init__(self) -> None:
        if self.kind not in ("molecule", "crystal"):
            raise ValueError(f"kind must be molecule or crystal, not {self.kind!r}")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained; everything that decides the result of a run beside the data.

    Attributes:
        minutes: wall-clock budget, compilation included; the number of steps follows from the measured speed.
        steps: number of steps, instead of minutes.
        size: preset of `PRESETS`; by default that of the weights a run starts from, or ``"s"``.
        batch: molecules a step and rank; 0 chooses 64 on a CPU and 768 on a GPU.
        rate: peak learning rate. `optimiser`: ``"muon"`` for the matrices of the blocks with AdamW for the rest,
            ``"adamw"`` for all, or ``"auto"`` for the first where torch has it. `matrix_rate`: factor on the rate for
            the matrices under Muon. `clip`: largest gradient norm. `horizon`: see `moldiff.training.ema.Average`.
        seed: decides initial weights, batches and noise.
        aromatic: bond symbols with an aromatic one, else kekulised.
        tasks: task -> share, instead of the mix of `moldiff.diffusion.tasks`. `unconditional`: share of structures that
            are shown no property.
        teacher: a trained model (see `moldiff.shipped.find_weights`) whose predictions are learned, too, with
            the share `teacher_share` of the loss; see `moldiff.training.teacher`. `distil`: sampler steps that it is
            distilled to; nothing is then learned from the data beside, see `moldiff.training.distillation`.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        precision: ``"bf16"`` (autocast) or ``"fp32"``.
        compile: whether to compile the network: ``"on"``, ``"off"``, or ``"auto"`` to do so on a GPU, and on a CPU in
            runs of at least 30 minutes or 3,000 steps.
        save_seconds: time between checkpoints. `save_steps`: instead, steps between them.
        check_every: share of the run between two checks by sampling; 0 for none.
        check_samples: molecules a check.
    """

    minutes: float | None = None
    steps: int | None = None
    size: str | None = None
    batch: int = 0
    rate: float = 1e-3
    optimiser: str = "auto"
    matrix_rate: float = 5.0
    clip: float = 1.0
    horizon: float = 0.03
    seed: int = 0
    aromatic: bool = True
    tasks: dict[str, float] = field(default_factory=dict)
    unconditional: float = 0.4
    teacher: str | None = None
    teacher_share: float = 0.75
    distil: int | None = None
    device: str = "auto"
    precision: str = "bf16"
    compile: str = "auto"
    save_seconds: float = 120.0
    save_steps: int | None = None
    check_every: float = 0.1
    check_samples: int = 128

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError(f"give either minutes or steps, not minutes={self.minutes} and steps={self.steps}")
        given = self.minutes if self.steps is None else self.steps
        if (given or 0) <= 0 or self.batch < 0:
            raise ValueError(f"minutes={self.minutes}, steps={self.steps} and batch={self.batch} must be positive")
        for name, value, known in (
            ("size", self.size, (None, *PRESETS)),
            ("precision", self.precision, ("bf16", "fp32")),
            ("compile", self.compile, ("auto", "on", "off")),
            ("optimiser", self.optimiser, ("auto", "muon", "adamw")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(filter(None, known))}, not {value!r}")
        for name in ("unconditional", "teacher_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share between 0 and 1, not {getattr(self, name)}")
        if self.distil is not None and (self.distil < 2 or self.teacher is None):
            raise ValueError(
                f"distil={self.distil} with teacher={self.teacher}: give the sampler steps to distil to, at least 2, "
                "and the model that takes more of them"
            )
        if self.tasks and (min(self.tasks.values()) < 0 or sum(self.tasks.values()) <= 0):
            raise ValueError(f"the shares of tasks must not be negative, and not all 0: {self.tasks}")


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested plain dictionaries and lists, as JSON holds them."""
    result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return result


def from_dict(kind: type[T], values: Mapping[str, Any]) -> T:
    """A configuration dataclass from nested dictionaries; strict.

    Raises:
        ValueError: for unknown or missing keys and for values of another type; the message names them.
    """
    hints = get_type_hints(kind)
    names = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"{kind.__name__} has no settings {unknown}: it has {', '.join(names)}")
    needed = [
        name
        for name, f in names.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in values
    ]
    if needed:
        raise ValueError(f"{kind.__name__} lacks {needed}")
    return kind(**{name: _convert(f"{kind.__name__}.{name}", hints[name], value) for name, value in values.items()})


def _convert(name: str, hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a mapping of settings, not {value!r}")
        return from_dict(hint, value)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return _convert(name, next(a for a in get_args(hint) if a is not type(None)), value)
    if origin is tuple:
        if not isinstance(value, list | tuple):  # a text would fall apart into its letters
            raise ValueError(f"{name} must be a list, not {value!r}")
        return tuple(_convert(f"{name}[{i}]", get_args(hint)[0], item) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a mapping, not {value!r}")
        return {key: _convert(f"{name}.{key}", get_args(hint)[1], item) for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise ValueError(f"{name} must be {hint.__name__}, not {value!r}")
    return value
