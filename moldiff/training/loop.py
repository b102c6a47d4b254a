"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from tqdm import tqdm

from moldiff.allocator import keep_large_blocks
from moldiff.config import ModelConfig, TrainConfig, from_dict, to_dict
from moldiff.data.archive import Archive
from moldiff.data.batching import Batches, mix, widen
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.denoiser import Prediction
from moldiff.device import choose_device, hardware, out_of_memory
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import sample
from moldiff.diffusion.tasks import CRYSTAL_TASKS, MOLECULE_TASKS, draw_crystal_clocks, draw_noisy, known_shares
from moldiff.networks.compilation import running
from moldiff.networks.conditioning import drop_properties
from moldiff.networks.weights import alphabets, build, save
from moldiff.shipped import WEIGHTS
from moldiff.training import checkpoint
from moldiff.training.check import check, check_crystals
from moldiff.training.compilation import compile_network
from moldiff.training.describe import with_columns
from moldiff.training.distributed import Ranks
from moldiff.training.ema import Average
from moldiff.training.log import forget_after
from moldiff.training.optimiser import Optimiser
from moldiff.training.plan import Plan
from moldiff.training.teacher import Teacher

#: Steps and seconds after which the speed of a run is taken as measured; the first steps warm up and do not count.
MEASURE_STEPS, MEASURE_SECONDS, WARM_STEPS = 60, 45.0, 5


@final
class Trainer:
    """One run: a folder with a log, a checkpoint and the averaged weights.

    Args:
        archive: the training molecules or crystals.
        model: what to train; its header travels with the weights.
        config: settings of the run.
        out: folder of the run, made if need be.
        resume: go on from the checkpoint in the folder; `config` then only sets device, compilation and saving.
        initial: start from these weights (name -> tensor) instead of random ones.
        ranks: the processes of the run.
        process: the joint process, if not the one of `model.diffusion` (an extension point).
        teacher: weights of the model whose predictions are learned, too, see `moldiff.training.teacher`.

    Raises:
        ValueError: if the folder holds a run already and `resume` is off, or holds none and it is on; for tasks that
            are unknown and a teacher that cannot teach this model.
    """

    def __init__(
        self,
        archive: Archive | CrystalArchive,
        model: ModelConfig,
        *,
        config: TrainConfig,
        out: Path,
        resume: bool = False,
        initial: dict[str, Tensor] | None = None,
        ranks: Ranks | None = None,
        process: JointProcess | None = None,
        teacher: Path | None = None,
    ) -> None:
        keep_large_blocks()
        self.ranks = ranks or Ranks()
        self.device = choose_device(config.device, self.ranks.local)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {out}: {error.strerror}; choose another one") from error
        header = checkpoint.read_header(out) if resume else None
        if header is None and (out / checkpoint.NAME).exists():
            raise ValueError(f"{out} holds a run already: go on with --resume, or choose another folder")
        if header is not None:
            stored_model = from_dict(ModelConfig, header["model"])
            if stored_model.sizes != model.sizes:
                raise ValueError(
                    f"{out} was trained on other data ({sum(stored_model.sizes.values())} of {stored_model.data}, "
                    f"not these {sum(model.sizes.values())} of {model.data}): give the same data, or start a new run "
                    "with --init-from"
                )
            model = stored_model
            stored = from_dict(TrainConfig, header["config"])
            local = ("device", "compile", "save_seconds", "save_steps", "check_every", "check_samples")
            config = dataclasses.replace(stored, **{name: getattr(config, name) for name in local})
        self.model, self.config, self.out = model, config, out
        self.alphabets = alphabets(model)
        self.crystals = model.kind == "crystal"
        self.tasks = known_shares(config.tasks, CRYSTAL_TASKS if self.crystals else MOLECULE_TASKS)
        self.make_process = JointProcess.for_crystals if self.crystals else JointProcess.for_molecules
        self.process = process or self.make_process(model.diffusion, self.alphabets)
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(mix(config.seed))
            self.network = build(model).to(self.device)
        if initial is not None:
            self.network.load_state_dict(initial, strict=False)
        self.average = Average(self.network, horizon=config.horizon)
        self.optimiser = Optimiser(
            self.network,
            config.rate,
            kind=config.optimiser,
            matrix_rate=config.matrix_rate,
            fused=self.crystals,
        )
        self.denoiser = denoiser(self.network, self.process)
        self.teacher = Teacher.load(teacher, model, config=config, device=self.device) if teacher else None
        self.step, self.passes, self.seconds = 0, 0, 0.0
        self.batch = config.batch or (768 if self.device.type == "cuda" else 64)
        self.plan = None if config.steps is None else Plan.of(config.steps)
        if header is not None:
            checkpoint.restore(out, network=self.network, average=self.average, optimiser=self.optimiser)
            self.step, self.passes, self.seconds = header["step"], header["passes"], header["seconds"]
            self.batch = header["batch"]
            self.plan = None if header["plan"] is None else from_dict(Plan, header["plan"])
            if self.ranks.rank == 0:
                forget_after(out / "log.jsonl", self.step)
        self.archive = with_columns(archive, [p.name for p in model.properties])
        self.hydrogen = self.alphabets["elements"].symbols.index("H") if "H" in model.alphabets["elements"] else None
        self._load(self.batch)

    def _load(self, batch: int) -> None:
        self.batch = batch
        self.batches = Batches(
            self.archive,
            self.alphabets,
            batch=batch,
            seed=self.config.seed,
            device=self.device,
            aromatic=self.config.aromatic,
        )

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 for dense algebra, or nothing for fp32."""
        if self.config.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def looks_twice(self, step: int) -> bool:
        """Whether a step has a first pass for self-conditioning: one coin for all ranks, so half of the steps."""
        coin = torch.Generator().manual_seed(mix(self.config.seed, 2, step))
        return float(torch.rand(1, generator=coin)) < 0.5

    def losses(self, step: int) -> tuple[dict[str, Tensor], int]:
        """Mean loss of each field for the batch of a step, and the number of structures in it."""
        batch = self.batches.draw(step, rank=self.ranks.rank)
        seed = mix(self.config.seed, 1, step, self.ranks.rank)
        generator = torch.Generator(self.device).manual_seed(seed)
        state = batch.state
        diffusion = self.model.diffusion
        if self.crystals:
            clocks = draw_crystal_clocks(state, diffusion, shares=self.tasks, generator=generator)
            noisy = self.process.corrupt(state, clocks, generator=generator)
        else:
            state, noisy, clocks = draw_noisy(
                state, self.process, diffusion, hydrogen=self.hydrogen, shares=self.tasks, generator=generator
            )
        start = self.teacher.begin(noisy, clocks, generator=generator) if self.teacher else None
        if start:
            noisy, clocks = start.noisy, start.clocks
        condition = None
        if self.model.properties:
            condition = drop_properties(batch.properties, none=self.config.unconditional, generator=generator)

        previous: Prediction | None = None
        with self.autocast():
            if self.looks_twice(step):
                with torch.no_grad():
                    previous = self.denoiser(noisy, clocks, condition, None).detach()
            prediction = self.denoiser(noisy, clocks, condition, previous)
            told = self.teacher(start, condition, previous, generator=generator) if self.teacher and start else None
        found = self.process.losses(prediction, state, noisy, clocks)
        if self.teacher and told is not None:
            found = self.teacher.blend(found, prediction, told, state, noisy, clocks)
        parts = {name: value.mean() for name, value in found.items()}
        if condition is not None and prediction.properties is not None:
            # the property head learns where no property is shown: there it must look at the structure
            target = self.network.conditioning.standardise(batch.properties)
            if self.config.distil and told is not None and told.properties is not None:
                target = torch.where(torch.isfinite(target), told.properties.float(), target)
            known = (
                torch.isfinite(target)
                & ~condition.shown.any(1, keepdim=True)
                & cast(Tensor, self.network.conditioning.numbers)
            )
            error = torch.where(known, prediction.properties.float() - torch.nan_to_num(target), 0.0)
            parts["properties"] = (error**2).sum() / known.sum().clamp_min(1)
        return parts, len(state)

    def update(self) -> dict[str, Any]:
        """One step: losses, gradients, weights, average. Returns numbers for the log (tensors not yet read)."""
        factor = self.plan.rate(self.step) if self.plan else min(1.0, (self.step + 1) / 500)
        rate = self.config.rate * factor
        while True:
            try:
                parts, count = self.losses(self.step)
                total = self.process.total(parts)
                self.optimiser.zero_grad()
                total.backward()
                break
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not out_of_memory(error) or self.batch < 2 or self.ranks.count > 1:
                    raise
                parts, total = {}, torch.zeros(())
                self.optimiser.zero_grad()
                self._load(self.batch // 2)
                tqdm.write(f"out of memory at step {self.step}: the batch is halved to {self.batch}")
        parameters = list(self.network.parameters())
        self.ranks.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip)
        # a gradient that is not finite counts as zero; tested on the device, so that nothing waits for it
        finite = torch.isfinite(norm)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = torch.where(finite, parameter.grad, 0.0)
        self.optimiser.step(rate)
        self.step += 1
        self.passes += count * self.ranks.count
        self.average.update(self.network.named_parameters(), self.step)
        logged = {name: value.detach() for name, value in parts.items()}
        size = self.batches.size(self.step - 1)
        return {"loss": total.detach(), **logged, "gradient": norm, "rate": rate, "atoms": size}

    def compile(self) -> None:
        """Let the network be compiled where that pays, see `moldiff.training.compilation`; `fit` does it first.

        It is tried with a step that is the same after resuming, as compiled code may depend on the sizes it is made
        for, and that has both passes, with gradients and without.
        """
        first = next(step for step in itertools.count() if self.looks_twice(step))

        def step() -> None:
            self.process.total(self.losses(first)[0]).backward()
            self.optimiser.zero_grad()

        compile_network(self.network, self.config, self.device, step=step)
        if self.teacher and self.network.compiled == "always":
            self.teacher.network.compiled = "sampling"

    def fit(self, *, progress: bool = True) -> Path:
        """Train to the end of the plan. Returns the path of the averaged weights.

        An interruption (Ctrl-C) writes a checkpoint first, so that nothing is lost.
        """
        self.ranks.start(self.device)
        first = self.ranks.rank == 0
        start = time.monotonic() - self.seconds
        self.compile()
        saved = time.monotonic()
        times: list[float] = []
        checks: list[float] = []
        begin, next_check = self.step, self._next_check()
        bar = tqdm(total=self.plan.steps if self.plan else None, initial=self.step, disable=not (progress and first))
        log = (self.out / "log.jsonl").open("a") if first else None
        try:
            while self.plan is None or self.step < self.plan.steps:
                numbers = self.update()
                now = time.monotonic()
                times.append(now - start - self.seconds)
                self.seconds = now - start
                bar.update(1)
                self._budget(times, bar)
                if log and (self.step % 20 == 0 or self.step == begin + 1):
                    line = {name: float(value) for name, value in numbers.items()}
                    line |= {"step": self.step, "passes": self.passes, "seconds": round(self.seconds, 2)}
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    bar.set_postfix(loss=f"{line['loss']:.3f}", mol_s=f"{self.passes / max(self.seconds, 1e-9):.0f}")
                if log and self._check_due(next_check, times, checks):
                    next_check, check_start = self._next_check(), time.monotonic()
                    result = self.check()
                    checks.append(time.monotonic() - check_start)
                    bar.write(f"step {self.step}: {json.dumps(result)}")
                    log.write(json.dumps({"step": self.step, "check": result}) + "\n")
                if first and self._due(saved, now):
                    self.save()
                    saved = time.monotonic()
        finally:
            bar.close()
            if first:
                self.save()
            if log:
                log.close()
            self.ranks.stop()
        return self.out / WEIGHTS

    def _next_check(self) -> float:
        """Share of the run at which the next check by sampling is due."""
        every = self.config.check_every
        done = self.step / self.plan.steps if self.plan else 0.0
        return every * (math.floor(done / every + 1e-9) + 1) if every else math.inf

    def _check_due(self, share: float, times: list[float], checks: list[float]) -> bool:
        """Whether to check by sampling now; of a budget of minutes all checks take a twentieth at most."""
        if not self.config.check_every or self.plan is None or self.step < share * self.plan.steps:
            return False
        if self.config.minutes is None:
            return True
        evaluations = self.model.sampler.steps * self.config.check_samples / self.batch
        cost = checks[-1] if checks else evaluations * statistics.median(times[-20:]) / 3  # no backward pass
        return sum(checks) + cost <= self.config.minutes * 60 / 20

    def _due(self, saved: float, now: float) -> bool:
        if self.config.save_steps is not None:
            return self.step % self.config.save_steps == 0
        return now - saved > self.config.save_seconds

    def _budget(self, times: list[float], bar: Any) -> None:
        """Fix the plan once the speed is known, and start the decay early if the time runs short.

        The speed is measured by the median step, so that a pause of the machine does not decide the run; the mean of
        the steps since, pauses and checks included, tells whether the time runs short.
        """
        if self.config.minutes is None or len(times) <= WARM_STEPS or (self.plan is not None and self.step % 20):
            return
        left = 0.97 * (self.config.minutes * 60 - self.seconds)
        counted = times[WARM_STEPS:]
        if self.plan is not None and len(counted) < MEASURE_STEPS:
            return  # after resuming: a decay that starts too early cannot be taken back
        typical = statistics.median(counted) if self.plan is None else statistics.fmean(counted)
        affordable = int(self.ranks.broadcast(max(0.0, left) / max(typical, 1e-9)))
        if self.plan is None:
            measured = len(counted) >= MEASURE_STEPS or sum(counted) > MEASURE_SECONDS or affordable < 1
            if self.ranks.broadcast(float(measured)):
                self.plan = Plan.of(self.step + max(affordable, 1))
                bar.total = self.plan.steps
        else:
            plan = self.plan.hurry(self.step, affordable)
            if plan is not self.plan:
                bar.write(f"the time runs short: the decay starts at step {self.step} and ends at {plan.steps}")
                bar.total = plan.steps
                self.plan = plan

    def save(self) -> None:
        """Write the checkpoint and the averaged weights."""
        header = {
            "model": to_dict(self.model),
            "config": to_dict(self.config),
            "plan": None if self.plan is None else to_dict(self.plan),
            "step": self.step,
            "passes": self.passes,
            "seconds": self.seconds,
            "batch": self.batch,
        }
        checkpoint.save(self.out, header, network=self.network, average=self.average, optimiser=self.optimiser)
        facts = self.model.facts | {
            "passes": str(self.passes + int(self.model.facts.get("passes", "0"))),
            "hours": f"{self.seconds / 3600 + float(self.model.facts.get('hours', '0')):.2f}",
            "steps": str(self.step),
            "batch": str(self.batch),
            "seed": str(self.config.seed),
            "hardware": hardware(self.device, self.ranks.count),
        }
        if self.teacher:
            facts["teacher"] = self.teacher.about
        if self.config.distil is not None:
            facts["distilled"] = f"to {self.config.distil} steps"
        save(self.out / WEIGHTS, dataclasses.replace(self.model, facts=facts), tensors=dict(self.average.values))

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Sample with the averaged weights and count what is sound, by tensors alone.

        Molecules: stable, connected, both. Crystals: sound distances and volume.
        """
        self.average.swap(self.network)
        self.network.eval()
        try:
            generator = torch.Generator(self.device).manual_seed(mix(self.config.seed, 3, self.step))
            process = self.make_process(self.model.diffusion, self.alphabets, sampler=self.model.sampler)
            rows = self.batches.groups[int(self.batches.weights.argmax())].state
            state = widen(rows.index(slice(0, self.config.check_samples)))
            # another batch size, once in a while, is not worth its graphs
            with self.autocast(), running("never"):
                done = sample(self.denoiser, process, state=state, generator=generator, config=self.model.sampler)
            if self.crystals:
                share = {"structure_valid": check_crystals(done)}
            else:
                stable, connected = check(done, self.alphabets)
                share = {"stable": stable, "connected": connected, "both": stable & connected}
            return {name: round(float(value.float().mean()), 4) for name, value in share.items()} | {"of": len(state)}
        finally:
            self.average.swap(self.network)
            self.network.train()
