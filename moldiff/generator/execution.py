"""How a generator runs its network: on which device, in which precision, and compiled where that pays."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, final

import torch
from torch import nn

from moldiff.denoiser import Clocks, Network
from moldiff.device import choose_device
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.generator import threads
from moldiff.networks.compilation import When, running, works
from moldiff.networks.trunk import Trunk
from moldiff.state import State

#: Structures times evaluations from which ``compile="auto"`` compiles on a CPU: 4,000 molecules at 50 steps, where two
#: cores sample for minutes and compiling pays twice (`benchmarks/cost.py --compile` tells both times).
PAYS = 200_000
#: Structures and atoms a structure when compiling: unlike one another and any width, see `works`.
EXAMPLE = (61, 19)

Example = Callable[[list[int]], tuple[JointProcess, State]]
"""``example(sizes)``: processes, and structures of these atom counts to try the network on."""

Part = TypeVar("Part", bound=nn.Module)


@final
class Execution:
    """How a generator runs its network.

    Args:
        network: raw network; only a `Trunk` can be compiled.
        example: what to try a compiled network on.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        compile: ``"on"``, ``"off"``, or ``"auto"`` for large samples on a CPU, see `PAYS`.

    Attributes:
        network: the network on its device; where matrices are multiplied in bf16, a copy of the `Trunk` `halved`.
        device: where the network is.
        half: whether matrices are multiplied in bf16.

    Raises:
        ValueError: for an unknown device, precision or choice of compilation.
    """

    def __init__(
        self,
        network: Network,
        *,
        example: Example,
        device: str = "auto",
        precision: str = "auto",
        compile: str = "auto",
    ) -> None:
        for name, value, known in (
            ("precision", precision, ("auto", "bf16", "fp32")),
            ("compile", compile, ("auto", "on", "off")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be {known[0]}, {known[1]} or {known[2]}, not {value!r}")
        self.device = choose_device(device)
        self.half = precision == "bf16" or (precision == "auto" and multiplies_half(self.device))
        self.network = network.to(self.device) if isinstance(network, nn.Module) else network
        if self.half and isinstance(self.network, Trunk):
            self.network = halved(self.network)
        self.compile = compile
        self._example = example
        self._lock = threading.Lock()
        self._works: dict[int, bool] = {}

    def pays(self, work: int) -> bool:
        """Whether to compile for so many structures times evaluations."""
        if self.compile == "off" or not isinstance(self.network, Trunk):
            return False
        return self.compile == "on" or (self.device.type == "cpu" and work >= PAYS)

    def prepare(self, work: int, *, bar: Any = None) -> bool:
        """Compile if that pays and was not done yet; whether the network then runs compiled.

        Args:
            work: structures times evaluations.
            bar: progress bar that says what is waited for.
        """
        if not self.pays(work):
            return False
        # compiled code is made for a number of threads
        count = torch.get_num_threads()
        with self._lock:
            if count not in self._works:
                if bar is not None:
                    bar.set_description("compiling")
                with self._computing(compiled=True):
                    self._works[count] = works(self._evaluate)
                if bar is not None:
                    bar.set_description()
            return self._works[count]

    def each(
        self, draw: Callable[[int], threads.Result], places: Sequence[int], *, alone: bool = False
    ) -> Iterator[threads.Result]:
        """Draw batches in order: several at once on a CPU, see `moldiff.generator.threads`.

        Args:
            draw: of its place, a batch.
            places: of the batches.
            alone: draw one after the other, as what runs a function of the user's must.
        """
        if alone or self.device.type != "cpu" or not isinstance(self.network, Trunk):
            return map(draw, places)
        return threads.each(draw, places)

    def running(self, work: int = 0, *, bar: Any = None) -> contextlib.AbstractContextManager[None]:
        """A context in which the network is evaluated; arguments as for `prepare`."""
        return self._computing(compiled=self.prepare(work, bar=bar))

    @contextlib.contextmanager
    def _computing(self, *, compiled: bool) -> Iterator[None]:
        nothing: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        half = torch.autocast(self.device.type, torch.bfloat16) if self.half else nothing
        when: When = "sampling" if compiled else "never"
        with half, running(when):
            yield

    @torch.no_grad()
    def _evaluate(self) -> None:
        process, state = self._example([EXAMPLE[1]] * EXAMPLE[0])
        state = state.to(self.device)
        model, clocks = denoiser(self.network, process), Clocks.shared(state, 0.5)
        noisy = process.prior(state, clocks, generator=torch.Generator(self.device).manual_seed(0))
        model(noisy, clocks, None, model(noisy, clocks, None, None))


def multiplies_half(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices faster than float32: GPUs, and CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name)()) for name in known if hasattr(torch.cpu, name))


def halved(network: Part) -> Part:
    """A copy of a network whose linear maps hold their weights in bf16, as autocast else makes them at every use.

    Under autocast it computes bit for bit what the network does (its matrices are multiplied in bf16 either way).
    """
    half = copy.deepcopy(network)
    for part in half.modules():
        if isinstance(part, nn.Linear):
            part.to(torch.bfloat16)
    return half
