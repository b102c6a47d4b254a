from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from moldiff.training import checkpoint
from moldiff.training.loop import Trainer


def stored(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(folder / checkpoint.NAME, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture
def run(trainer: Callable[..., Trainer]) -> Trainer:
    """A trainer three steps into its run, saved."""
    made = trainer()
    for _ in range(3):
        made.update()
    made.save()
    return made


def test_round_trip(run: Trainer, trainer: Callable[..., Trainer]) -> None:
    again = trainer(resume=True)
    assert (again.step, again.passes, again.batch, again.plan) == (3, run.passes, run.batch, run.plan)
    for (name, one), (_, other) in zip(run.network.named_parameters(), again.network.named_parameters(), strict=True):
        assert torch.equal(one, other), name
        assert torch.equal(run.average.values[name], again.average.values[name]), name
        before, after = run.optimiser.state(one), again.optimiser.state(other)
        assert set(before) == set(after)
        for key in before:
            assert torch.equal(before[key], after[key]), (name, key)


def test_nothing_temporary_is_left(run: Trainer) -> None:
    assert sorted(path.name for path in run.out.iterdir()) == ["checkpoint.safetensors", "model.safetensors"]


def test_a_failed_write_keeps_the_old_one(run: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run.out / checkpoint.NAME).read_bytes()

    def fail(*arguments: object, **others: object) -> None:
        Path(str(arguments[1])).write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    run.update()
    with pytest.raises(OSError, match="No space"):
        run.save()
    assert (run.out / checkpoint.NAME).read_bytes() == before
    assert checkpoint.read_header(run.out)["step"] == 3


@pytest.mark.parametrize("kind", ["network", "average", "exp_avg", "step"])
def test_a_missing_tensor_is_named(run: Trainer, trainer: Callable[..., Trainer], kind: str) -> None:
    tensors, header = stored(run.out)
    name = next(name for name in tensors if name.startswith(f"{kind}/"))
    del tensors[name]
    save_file(tensors, run.out / checkpoint.NAME, metadata=header)
    with pytest.raises(ValueError, match=rf"missing \['{name}'\]"):
        trainer(resume=True)


@pytest.mark.parametrize("name", ["network/ghost", "exp_avg/ghost"])
def test_an_extra_tensor_is_named(run: Trainer, trainer: Callable[..., Trainer], name: str) -> None:
    tensors, header = stored(run.out)
    save_file(tensors | {name: torch.zeros(1)}, run.out / checkpoint.NAME, metadata=header)
    with pytest.raises(ValueError, match=rf"extra \['{name}'\]"):
        trainer(resume=True)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(run: Trainer, trainer: Callable[..., Trainer], share: float) -> None:
    path = run.out / checkpoint.NAME
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is not a readable checkpoint .*another folder"):
        trainer(resume=True)


def test_weights_are_no_checkpoint(run: Trainer, trainer: Callable[..., Trainer]) -> None:
    (run.out / "model.safetensors").replace(run.out / checkpoint.NAME)
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        trainer(resume=True)


def test_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing to resume in .*start without --resume"):
        checkpoint.read_header(tmp_path)
