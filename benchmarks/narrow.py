"""A network with fewer hidden channels of pairs, cut out of a trained one, to be trained on.

    python benchmarks/narrow.py qm9 --data qm9 --pair-hidden 80 --products 8 --out runs/narrow

In each block the channels that are kept explain most of what the others did (greedy choice), and the maps behind them
take over the rest by least squares, on noisy training molecules of all tasks. That is a start, no finished model: train
on with ``moldiff train --init-from``, taught by the wide one (``--teacher``), and judge it by its samples.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from moldiff.config import ModelConfig
from moldiff.data.archive import Archive
from moldiff.data.batching import Batches
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.tasks import draw_noisy
from moldiff.networks.layers import Block
from moldiff.networks.trunk import Trunk
from moldiff.networks.weights import alphabets, build, load, save
from moldiff.shipped import WEIGHTS, find_weights
from moldiff.training.run import open_archive


class Moments:
    """Mean and covariance of channels, collected batch by batch."""

    def __init__(self) -> None:
        self.count, self.sum, self.square = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        """Rows of channels (M, C)."""
        values = values.double()
        self.count += len(values)
        self.sum = self.sum + values.sum(0)
        self.square = self.square + values.t() @ values

    @property
    def mean(self) -> Tensor:
        """(C,)"""
        return cast(Tensor, self.sum) / self.count

    @property
    def covariance(self) -> Tensor:
        """(C, C)"""
        return cast(Tensor, self.square) / self.count - torch.outer(self.mean, self.mean)


class Kept(NamedTuple):
    """What is kept of C channels, and all of them from it: ``channels ~ channels[index] @ map + constant``.

    Attributes:
        index: (K,) of the channels kept. map: (K, C). constant: (C,).
        lost: share of what follows that is not explained.
    """

    index: Tensor
    map: Tensor
    constant: Tensor
    lost: float


def choose(moments: Moments, weight: Tensor, keep: int) -> Kept:
    """The channels that explain most of what follows, one after the other.

    Args:
        moments: of the channels.
        weight: (C, C) how much an error of the channels matters, a quadratic form.
        keep: how many are kept.
    """
    covariance, mean = moments.covariance, moments.mean
    left, index = covariance.clone(), []
    floor = 1e-9 * float(covariance.diagonal().mean())
    for _ in range(keep):
        own = left.diagonal()
        gain = ((left @ weight) * left).sum(1) / own.clamp_min(floor)
        gain[index] = -1.0
        best = int(gain.argmax())
        index.append(best)
        left = left - torch.outer(left[best], left[best]) / own[best].clamp_min(floor)
    chosen = torch.tensor(sorted(index))
    inner = covariance[chosen][:, chosen] + floor * torch.eye(keep, dtype=covariance.dtype)
    explained = torch.linalg.solve(inner, covariance[chosen])
    rest = covariance - covariance[:, chosen] @ explained
    lost = float((rest * weight).sum() / (covariance * weight).sum())
    return Kept(chosen, explained, mean - mean[chosen] @ explained, lost)


@torch.no_grad()
def collect(
    network: Trunk, model: ModelConfig, archive: Archive, *, batches: int, seed: int = 0
) -> list[dict[str, Moments]]:
    """Moments of the hidden channels and the products of each block, on noisy training molecules."""
    process = JointProcess.for_molecules(model.diffusion, alphabets(model))
    source = Batches(archive, alphabets(model), batch=64, seed=seed)
    found = [{"hidden": Moments(), "products": Moments()} for _ in network.blocks]
    seen: dict[str, Tensor] = {}
    pairs = torch.zeros(())

    def of(place: int) -> list[Any]:
        block = cast(Block, network.blocks[place])

        def nodes(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen["nodes"] = output

        def vectors(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            vq, vk, _ = output.split((2 * block.products, 2 * block.products, block.v), -1)
            found[place]["products"].add(block.multiply(seen["nodes"][..., : block.splits[0]], vq, vk)[pairs])

        def hidden(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[place]["hidden"].add(inputs[0].view(*pairs.shape, -1)[pairs])

        return [
            block.from_nodes.register_forward_hook(nodes),
            block.from_vectors.register_forward_hook(vectors),
            block.pair_out.register_forward_pre_hook(hidden),
        ]

    hooks = [hook for place in range(len(network.blocks)) for hook in of(place)]
    guess, generator = denoiser(network, process), torch.Generator().manual_seed(seed)
    elements = model.alphabets["elements"]
    hydrogen = elements.index("H") if "H" in elements else None
    for number in range(batches):
        state = source.draw(number).state
        state, noisy, clocks = draw_noisy(state, process, model.diffusion, hydrogen=hydrogen, generator=generator)
        pairs = state.pair_mask
        guess(noisy, clocks, None, guess(noisy, clocks, None, None))
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def cut(block: Block, narrow: Block, moments: dict[str, Moments]) -> dict[str, float]:
    """Fill a narrower block with what explains most of a trained one; returns the shares lost."""
    tensors = {name: value.clone() for name, value in block.state_dict().items()}
    many, few = block.products, narrow.products
    width, hidden = block.product_width, block.pair_out.in_features
    weight_in = tensors["pair_in.weight"].double()
    features = weight_in.shape[1] - many

    into = weight_in[:, features:]
    product = choose(moments["products"], into.t() @ into, few)
    out, attended = tensors["pair_out.weight"].double(), tensors["attended.weight"].double()
    groups = [*out.split((block.p, block.heads, block.v)), attended[:, block.c : block.c + hidden]]
    spread = moments["hidden"].covariance
    forms = [group.t() @ group for group in groups]
    kept = choose(moments["hidden"], sum(form / (form * spread).sum() for form in forms), narrow.pair_out.in_features)

    # the constant part of the products that are gone joins what the first atom adds
    nodes, bias = tensors["from_nodes.weight"], tensors["from_nodes.bias"].clone()
    start = block.splits[0]
    bias[start : start + hidden] += (into @ product.constant).to(bias.dtype)
    wide = product.index[:, None] * width + torch.arange(width)
    rows = torch.cat([wide.flatten(), many * width + wide.flatten()])
    ends = torch.cat([start + kept.index, start + hidden + kept.index])
    rest = torch.arange(start + 2 * hidden, len(nodes))
    rows = torch.cat([rows, ends, rest])
    # a vector product has two channels, `many` apart, on each side
    two = torch.cat([product.index, many + product.index])
    vectors = torch.cat([two, 2 * many + two, torch.arange(4 * many, len(tensors["from_vectors.mix.weight"]))])

    tensors["from_nodes.weight"], tensors["from_nodes.bias"] = nodes[rows], bias[rows]
    tensors["from_vectors.mix.weight"] = tensors["from_vectors.mix.weight"][vectors]
    tensors["pair_in.weight"] = torch.cat([weight_in[:, :features], into @ product.map.t()], 1)[kept.index]
    tensors["pair_out.weight"] = out @ kept.map.t()
    tensors["pair_out.bias"] = tensors["pair_out.bias"] + out @ kept.constant
    message = attended[:, block.c : block.c + hidden]
    tensors["attended.weight"] = torch.cat(
        [attended[:, : block.c], message @ kept.map.t(), attended[:, block.c + hidden :]], 1
    )
    tensors["attended.bias"] = tensors["attended.bias"] + message @ kept.constant
    narrow.load_state_dict({name: value.float() for name, value in tensors.items()})
    return {"products": product.lost, "hidden": kept.lost}


def narrowed(
    network: Trunk, model: ModelConfig, archive: Archive, *, pair_hidden: int, products: int, batches: int = 16
) -> tuple[Trunk, ModelConfig, list[dict[str, float]]]:
    """A narrower network, its description and the shares lost in each block.

    Args:
        network, model: of molecules, trained.
        archive: training molecules to look at, `batches` of 64.
        pair_hidden, products: channels that are kept.
    """
    sizes = dataclasses.replace(model.network, pair_hidden=pair_hidden, products=products)
    narrow = build(dataclasses.replace(model, network=sizes)).eval()
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("blocks.")}
    narrow.load_state_dict(own, strict=False)
    found = collect(network, model, archive, batches=batches)
    blocks = zip(network.blocks, narrow.blocks, found, strict=True)
    lost = [cut(cast(Block, block), cast(Block, few), moments) for block, few, moments in blocks]
    before, after = (sum(value.numel() for value in one.parameters()) / 1e6 for one in (network, narrow))
    told = f"from {before:.2f} to {after:.2f} million parameters after {model.facts.get('passes', '?')} passes"
    return narrow, dataclasses.replace(model, network=sizes, facts={**model.facts, "narrowed": told}), lost


def main() -> None:
    """Cut and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--pair-hidden", type=int, required=True)
    parser.add_argument("--products", type=int, required=True)
    parser.add_argument("--batches", type=int, default=16, help="of 64 training molecules to look at")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    network, model = load(find_weights(args.model))
    archive = open_archive(args.data)[0]
    if not isinstance(archive, Archive):
        parser.error(f"--data {args.data} are crystals: only networks of molecules are cut")
    narrow, described, lost = narrowed(
        network,
        model,
        archive.subset("train"),
        pair_hidden=args.pair_hidden,
        products=args.products,
        batches=args.batches,
    )
    for place, shares in enumerate(lost):
        print(f"block {place}: lost " + ", ".join(f"{value:.1%} of {name}" for name, value in shares.items()))
    args.out.mkdir(parents=True, exist_ok=True)
    print(save(args.out / WEIGHTS, described, tensors=narrow.state_dict()))


if __name__ == "__main__":
    main()
