"""Time of the diffusion features against the forward passes that they cannot avoid, on full-size networks with random weights, in one run.

    python benchmarks/features.py                                        # Stable Diffusion 1.x, one image at 512 pixels, float32: about 5 GB and some minutes
    python benchmarks/features.py --size 256 --repeats 5                 # quicker
    python benchmarks/features.py --device cuda --dtype float16 --batch 8
    python benchmarks/features.py --architecture ssd1b --size 1024 --layers down.2.attn.1.3.self.out

Each repeat times, one after the other: the extractor's call; the VAE's encoder alone; the UNet as far as the last layer, with nothing but the exit; the whole UNet. Given are the medians, and ratios with
the smallest and largest of the repeats. Random weights cost what trained ones cost.
"""

import argparse
import copy
import os
import resource
import time

import numpy as np
import torch

from freesegdiff.denoiser import PAPER_LAYERS, build_added_conditions, name_layers
from freesegdiff.features import DiffusionFeatures, _build_diffusion, images_to_tensor
from freesegdiff.stickers import make_scene


class Exit(Exception):
    """The last layer has run."""


def stop(module, inputs, output):
    raise Exit


def seconds(work, device):
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def contestants(options):
    """Name -> function; the extractor's UNet shares its weights with the whole one."""
    parts = _build_diffusion(options.architecture, options.device, options.dtype, seed=0)
    unet, vae = parts["unet"], parts["vae"]
    shared = copy.deepcopy(unet, {id(p): p for p in unet.parameters()})
    extractor = DiffusionFeatures(**{**parts, "unet": shared}, layers=options.layers, size=options.size)
    images, side = [make_scene(i).image for i in range(options.batch)], options.size // extractor.scale
    weight = next(unet.parameters())
    x = images_to_tensor(images, options.size).to(weight)
    latents = torch.randn(options.batch, unet.config.in_channels, side, side).to(weight)
    prompt = extractor.prompt.expand(options.batch, -1, -1)
    pooled = None if extractor.pooled is None else extractor.pooled.expand(options.batch, -1)
    added = build_added_conditions(unet, pooled, (options.size, options.size))
    modules = name_layers(unet)
    last = modules[max(extractor.layer_names, key=list(modules).index)]

    def early():
        handle = last.register_forward_hook(stop)
        try:
            unet(latents, 0, encoder_hidden_states=prompt, added_cond_kwargs=added)
        except Exit:
            handle.remove()

    return extractor.cost(), {
        "extractor": lambda: extractor(images, [0] * options.batch),
        "VAE encoder": lambda: vae.encode(x),
        "UNet to the last layer": early,
        "whole UNet": lambda: unet(latents, 0, encoder_hidden_states=prompt, added_cond_kwargs=added),
    }


def ratio(a, b):
    each = a / b
    return f"{np.median(each):.3f} ({each.min():.3f}-{each.max():.3f})"


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="sd1", help="a name in freesegdiff.features.ARCHITECTURES")
    parser.add_argument("--layers", nargs="+", default=PAPER_LAYERS)
    parser.add_argument("--size", default=512, type=int, help="pixels along each side")
    parser.add_argument("--batch", default=1, type=int, help="images")
    parser.add_argument("--repeats", default=3, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, device {options.device}, {options.dtype}, {options.repeats} repeats, load {os.getloadavg()[0]:.1f}", flush=True)
    cost, work = contestants(options)
    for call in work.values():  # to warm up
        call()
    took = {name: [] for name in work}
    for _ in range(options.repeats):
        for name, call in work.items():
            took[name].append(seconds(call, options.device))
    took = {name: np.array(each) for name, each in took.items()}
    gflop = dict(zip(work, (cost["vae_gflop"] + cost["unet_gflop"], cost["vae_gflop"], cost["unet_gflop"], cost["whole_unet_gflop"])))
    for name, each in took.items():
        print(f"{name:24} {np.median(each):8.3f} s {gflop[name] * options.batch:8.0f} GFLOP {gflop[name] * options.batch / np.median(each):8.0f} GFLOP/s")
    bare = took["VAE encoder"] + took["UNet to the last layer"]
    print(f"extractor to the bare forward passes:     {ratio(took['extractor'], bare)}")
    print(f"UNet to the last layer to the whole UNet: {ratio(took['UNet to the last layer'], took['whole UNet'])}, in GFLOP {cost['unet_gflop'] / cost['whole_unet_gflop']:.3f}")
    print(f"weights kept {(cost['vae_bytes'] + cost['unet_bytes']) / 1e6:.0f} MB of {(cost['vae_bytes'] + cost['whole_unet_bytes']) / 1e6:.0f} MB (without the VAE's decoder and the text encoder)")
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
