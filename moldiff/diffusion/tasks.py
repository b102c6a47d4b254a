"""Tasks are only a choice of what is given: clocks and given-masks for training, drawn structure by structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from moldiff.config import DiffusionConfig
from moldiff.denoiser import Clocks
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.process import normal, uniform
from moldiff.state import SYMBOL_FIELDS, State, centred

#: Share of each task in the training of molecules (DESIGN: one checkpoint for all of them).
MOLECULE_TASKS: dict[str, float] = {
    "generate": 0.60,
    "conformer": 0.10,
    "perception": 0.10,
    "completion": 0.15,
    "decoration": 0.05,
}
#: Share of each task in the training of crystals.
CRYSTAL_TASKS: dict[str, float] = {"generate": 0.50, "prediction": 0.35, "substitution": 0.10, "completion": 0.05}
#: What a task gives as whole fields.
GIVEN_FIELDS: dict[str, tuple[str, ...]] = {
    "generate": (),
    "conformer": ("elements", "charges", "bonds"),
    "perception": ("positions", "elements"),
    "completion": (),
    "decoration": ("positions",),
}
#: The same for the tasks of crystals.
GIVEN_CRYSTAL_FIELDS: dict[str, tuple[str, ...]] = {
    "generate": (),
    "prediction": ("elements",),
    "substitution": ("fractional", "cell"),
    "completion": (),
}


def given_atoms(state: State, atoms: Tensor) -> dict[str, Tensor]:
    """Given-masks of a completion: some atoms (B, N) with their places, elements, charges and mutual bonds."""
    return {
        "positions": atoms,
        "elements": atoms,
        "charges": atoms,
        "bonds": atoms[:, :, None] & atoms[:, None, :] & state.pair_mask,
    }


def given_fields(state: State, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Given-masks of whole fields."""
    return {name: state.entries(name) for name in names}


def draw_part(state: State, *, hydrogen: int | None, generator: torch.Generator) -> Tensor:
    """(B, N) bool: a part of each molecule to be given, as a chemist would keep one.

    Heavy atoms are ordered by their bond distance from a random one (ties broken at random); a random share of them,
    from one atom to all but one, is the inner part, which is connected. The inner part or its complement is given. A
    hydrogen is given with its heavy atom if all heavy neighbours of that atom are given, too; at the attachment points
    it is given in half of the structures only. Never is everything given: an only heavy atom comes without its
    hydrogens, and of a lone atom nothing is given.

    Args:
        state: clean molecules with bonds.
        hydrogen: index of hydrogen in the element alphabet, or None if it has none.
        generator: random numbers.
    """
    mask, n = state.mask, state.size
    bonded = (state.field("bonds") > 0) & state.pair_mask
    heavy = mask if hydrogen is None else mask & (state.field("elements") != hydrogen)
    heavy = torch.where(heavy.any(1, keepdim=True), heavy, mask)
    device = state.device

    tickets = uniform((len(state), n), generator, device).masked_fill(~heavy, -1.0)
    reached = torch.nn.functional.one_hot(tickets.argmax(1), n).bool()
    distance = torch.where(reached, 0.0, float(n))
    links = (bonded & heavy[:, :, None] & heavy[:, None, :]).float()
    for step in range(1, n):
        near = (torch.einsum("bij,bj->bi", links, reached.float()) > 0) & ~reached
        # a pass that finds nothing changes nothing; on a GPU asking would wait for the device
        if device.type == "cpu" and not bool(near.any()):
            break
        distance = torch.where(near, float(step), distance)
        reached = reached | near

    key = (distance + uniform((len(state), n), generator, device)).masked_fill(~heavy, float("inf"))
    rank = key.argsort(1).argsort(1)
    count = heavy.sum(1)
    draws = uniform((3, len(state)), generator, device)
    keep = 1 + (draws[0] * (count - 1).clamp_min(1)).long()
    inner = (rank < keep[:, None]) & heavy
    part = torch.where((draws[1] < 0.5)[:, None], inner, heavy & ~inner)
    part = torch.where(part.any(1, keepdim=True), part, inner)

    attached = (torch.einsum("bij,bj->bi", links, (heavy & ~part).float()) > 0) & part
    hosts = torch.where((draws[2] < 0.5)[:, None], part, part & ~attached) & (count > 1)[:, None]
    follows = torch.einsum("bij,bj->bi", bonded.float(), hosts.float()) > 0
    return (part | (follows & mask & ~heavy)) & (state.n_atoms > 1)[:, None]


def known_shares(shares: Mapping[str, float] | None, usual: Mapping[str, float]) -> Mapping[str, float]:
    """The shares of tasks if there are any, else the usual ones.

    Raises:
        ValueError: for a task that the usual ones do not name.
    """
    unknown = set(shares or {}) - set(usual)
    if unknown:
        raise ValueError(f"unknown tasks {sorted(unknown)}: choose from {', '.join(usual)}")
    return shares or usual


def draw_tasks(count: int, shares: Mapping[str, float], *, generator: torch.Generator) -> Tensor:
    """(count,) index into the keys of `shares`, drawn with those shares."""
    edges = torch.tensor(list(shares.values()), dtype=torch.float64).cumsum(0)
    edges = edges.to(generator.device)
    u = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64) * edges[-1]
    return torch.searchsorted(edges, u, right=True).clamp_max(len(shares) - 1)


def draw_clocks(
    state: State,
    config: DiffusionConfig,
    *,
    hydrogen: int | None = None,
    shares: Mapping[str, float] | None = None,
    generator: torch.Generator,
) -> Clocks:
    """Training clocks of a batch: a task a structure, a time a field.

    The clock of the positions is normal, with a share of small noise (`DiffusionConfig.clock_small`); symbols follow
    it with a jitter, so that the windows of `CategoricalConfig` can be tuned without training again, and stand anywhere
    in their window where the positions are given. Fields given whole stand at 0.

    Args:
        state: clean structures.
        config: distribution of the clocks.
        hydrogen: index of hydrogen in the element alphabet (see `draw_part`).
        shares: task name -> share; `MOLECULE_TASKS` by default.
        generator: random numbers.
    """
    shares = known_shares(shares, MOLECULE_TASKS)
    b, device = len(state), state.device
    names = list(shares)
    task = draw_tasks(b, shares, generator=generator).to(device)

    def has(chosen: str) -> Tensor:
        return task == names.index(chosen) if chosen in names else torch.zeros(b, dtype=torch.bool, device=device)

    given = _given_whole(state, [(GIVEN_FIELDS[name], has(name)) for name in shares])
    rows = has("completion")
    if "completion" in names and (device.type != "cpu" or bool(rows.any())):  # a GPU is not waited for
        for field, chosen in given_atoms(state, draw_part(state, hydrogen=hydrogen, generator=generator)).items():
            given[field] = given[field] | (chosen & rows.view(-1, *[1] * (chosen.ndim - 1)))

    t = config.clock_mean + config.clock_deviation * normal((b,), generator, device, torch.float32)
    below = (config.clock_mean - config.clock_deviation) * uniform((b,), generator, device)
    t = torch.where(uniform((b,), generator, device) < config.clock_small, below, t).clamp(1e-3, 1.0)
    times = {"positions": torch.where(has("perception") | has("decoration"), 0.0, t)}
    for field in SYMBOL_FIELDS:
        window = getattr(config, field)
        jitter = config.clock_jitter * normal((b,), generator, device, torch.float32)
        anywhere = window.begin + (window.end - window.begin) * uniform((b,), generator, device)
        clock = torch.where(times["positions"] > 0, (t + jitter).clamp(0, 1), anywhere)
        whole = has("conformer") | (has("perception") if field == "elements" else torch.zeros_like(has("conformer")))
        times[field] = torch.where(whole, 0.0, clock)
    return Clocks(times, given)


def draw_noisy(
    state: State,
    process: JointProcess,
    config: DiffusionConfig,
    *,
    hydrogen: int | None = None,
    shares: Mapping[str, float] | None = None,
    generator: torch.Generator,
) -> tuple[State, State, Clocks]:
    """A batch of training: the molecules with the origin that their task wants, the same with noise, and the clocks.

    Arguments as for `draw_clocks`, and the joint process.
    """
    clocks = draw_clocks(state, config, hydrogen=hydrogen, shares=shares, generator=generator)
    given = clocks.is_given("positions", state)
    state = state.replace(positions=centred(state.field("positions"), state.mask, given))
    return state, process.corrupt(state, clocks, generator=generator), clocks


def _given_whole(state: State, chosen: Iterable[tuple[tuple[str, ...], Tensor]]) -> dict[str, Tensor]:
    """Given-masks of fields that are given whole in some rows (B,) of the batch."""
    given = {name: torch.zeros_like(state.entries(name)) for name in state.present}
    for fields, rows in chosen:
        for field in fields:
            given[field] = given[field] | (rows.view(-1, *[1] * (given[field].ndim - 1)) & state.entries(field))
    return given


def draw_sites(state: State, *, generator: torch.Generator) -> Tensor:
    """(B, N) bool: random sites of each crystal to be given, from one to all but one; none of a lone site."""
    tickets = uniform(tuple(state.mask.shape), generator, state.device).masked_fill(~state.mask, 2.0)
    others = (state.n_atoms - 1).clamp_min(0)
    count = 1 + (uniform((len(state),), generator, state.device) * others).long()
    count = torch.minimum(count, others)
    return tickets.argsort(1).argsort(1) < count[:, None]


def draw_crystal_clocks(
    state: State,
    config: DiffusionConfig,
    *,
    shares: Mapping[str, float] | None = None,
    generator: torch.Generator,
) -> Clocks:
    """Training clocks of a batch of crystals: a task a structure, a time a field.

    The clock of the fractional coordinates is uniform. Elements and cell follow it with a jitter in three quarters of
    the structures and stand anywhere in the rest. Completion gives the cell, too, in half of the structures.

    Args:
        state: clean crystals.
        config: `clock_jitter` and the window of the elements.
        shares: task name -> share; `CRYSTAL_TASKS` by default.
        generator: random numbers.
    """
    shares = known_shares(shares, CRYSTAL_TASKS)
    b, device = len(state), state.device
    task = draw_tasks(b, shares, generator=generator).to(device)
    chosen = {name: task == index for index, name in enumerate(shares)}
    given = _given_whole(state, [(GIVEN_CRYSTAL_FIELDS[name], rows) for name, rows in chosen.items()])
    u = uniform((6, b), generator, device)
    if "completion" in chosen:
        sites = draw_sites(state, generator=generator) & chosen["completion"][:, None]
        given["fractional"] = given["fractional"] | sites
        given["elements"] = given["elements"] | sites
        given["cell"] = given["cell"] | (chosen["completion"] & (u[5] < 0.5))

    t = 1 - u[0]
    jitter = config.clock_jitter * normal((2, b), generator, device, torch.float32)
    follows = torch.where(u[1:3] < 0.75, (t + jitter).clamp(1e-3, 1.0), 1 - u[3:5])
    t = t.clamp_min(1e-3)
    placed = given["fractional"].sum(1) == state.n_atoms
    window = config.elements
    # where the geometry is known only the share of hidden elements matters
    anywhere = window.begin + (window.end - window.begin) * (1 - u[3])
    elements = torch.where(placed, anywhere, follows[0])
    return Clocks(
        {
            "fractional": torch.where(placed, 0.0, t),
            "cell": torch.where(given["cell"], 0.0, follows[1]),
            "elements": torch.where(given["elements"].sum(1) == state.n_atoms, 0.0, elements),
        },
        given,
    )
