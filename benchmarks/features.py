"""Time of the diffusion features against the forward passes that they need, on full-size networks, in one run.

    python benchmarks/features.py                        # Stable Diffusion 1.x, one image at 512 pixels, float32: 5 GB
    python benchmarks/features.py --size 256 --repeats 5 # quicker
    python benchmarks/features.py --device cuda --dtype float16 --batch 8
    python benchmarks/features.py --architecture ssd1b --size 1024 --layers down.2.attn.1.3.self.out

Each repeat times in turn: the extractor's call, the VAE's encoder alone, the UNet as far as the last layer (the early
exit without any reading), and the whole UNet. The table has medians, and ratios with the smallest and the largest of
the repeats. The weights are random; they cost what trained ones cost.
"""

import argparse
import copy
import os
import resource

import numpy as np
import torch

from freesegdiff.denoiser import PAPER_LAYERS, build_added_conditions, name_layers
from freesegdiff.features import DiffusionFeatures, _build_diffusion, images_to_tensor
from freesegdiff.stickers import make_scene
from tools import format_spread, time_call


class Exit(Exception):
    """The last layer has run."""


def stop(module, inputs, output):
    raise Exit


def run_until(layer, unet, *arguments, **options):
    """Run a UNet as far as a layer."""
    handle = layer.register_forward_hook(stop)
    try:
        unet(*arguments, **options)
    except Exit:
        handle.remove()


def list_work(options):
    """Return the extractor's cost, and the functions to time by name; the extractor's UNet shares its weights."""
    parts = _build_diffusion(options.architecture, options.device, options.dtype, seed=0)
    unet, vae, count = parts["unet"], parts["vae"], options.batch
    shared = copy.deepcopy(unet, {id(p): p for p in unet.parameters()})
    extractor = DiffusionFeatures(**{**parts, "unet": shared}, layers=options.layers, size=options.size)
    images, side = [make_scene(i).image for i in range(count)], options.size // extractor.scale
    weight = next(unet.parameters())
    x = images_to_tensor(images, options.size).to(weight)
    latents = torch.randn(count, unet.config.in_channels, side, side).to(weight)
    pooled = None if parts["pooled"] is None else parts["pooled"].expand(count, -1).to(weight)
    conditions = {
        "encoder_hidden_states": parts["prompt"].expand(count, -1, -1).to(weight),
        "added_cond_kwargs": build_added_conditions(unet, pooled, (options.size, options.size)),
    }
    layers = name_layers(unet)
    last = layers[max(extractor.layer_names, key=list(layers).index)]
    return extractor.cost(), {
        "extractor": lambda: extractor(images, [0] * count),
        "VAE encoder": lambda: vae.encode(x),
        "UNet to the last layer": lambda: run_until(last, unet, latents, 0, **conditions),
        "whole UNet": lambda: unet(latents, 0, **conditions),
    }


def print_work(cost, seconds, batch):
    """Print seconds and floating-point work of each function."""
    unet, vae = cost["unet_gflop"], cost["vae_gflop"]
    gflop = dict(zip(seconds, (vae + unet, vae, unet, cost["whole_unet_gflop"])))
    for name, values in seconds.items():
        work, median = gflop[name] * batch, np.median(values)
        print(f"{name:24} {median:8.3f} s {work:8.0f} GFLOP {work / median:8.0f} GFLOP/s")


def print_ratios(cost, seconds):
    """Print the ratios of times, of work and of weights, and the peak memory."""
    part, whole = seconds["UNet to the last layer"], seconds["whole UNet"]
    needed = format_spread(seconds["extractor"] / (seconds["VAE encoder"] + part), 3)
    print(f"extractor to the bare forward passes:     {needed}")
    print(
        f"UNet to the last layer to the whole UNet: {format_spread(part / whole, 3)},",
        f"in GFLOP {cost['unet_gflop'] / cost['whole_unet_gflop']:.3f}",
    )
    bytes_of = {name: cost["vae_bytes"] + cost[name] for name in ("unet_bytes", "whole_unet_bytes")}
    print(
        f"weights kept {bytes_of['unet_bytes'] / 1e6:.0f} MB of {bytes_of['whole_unet_bytes'] / 1e6:.0f} MB",
        "(without the VAE's decoder and the text encoder)",
    )
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="sd1", help="a name in freesegdiff.denoiser.ARCHITECTURES")
    parser.add_argument("--layers", nargs="+", default=PAPER_LAYERS, help="names of layers")
    parser.add_argument("--size", default=512, type=int, help="side of the input, pixels")
    parser.add_argument("--batch", default=1, type=int, help="number of images")
    parser.add_argument("--repeats", default=3, type=int, help="number of timed calls")
    parser.add_argument("--threads", default=2, type=int, help="number of CPU threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="float32, float16 or bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.threads} threads, device {options.device}, {options.dtype},",
        f"{options.repeats} repeats, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    cost, work = list_work(options)
    for call in work.values():  # to warm up
        call()
    rows = [[time_call(call, options.device) for call in work.values()] for _ in range(options.repeats)]
    seconds = dict(zip(work, np.array(rows).T))
    print_work(cost, seconds, options.batch)
    print_ratios(cost, seconds)


if __name__ == "__main__":
    main()
