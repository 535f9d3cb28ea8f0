"""Time of the diffusion features against the forward passes that they need, and against hooks of each call, in one run.

    python benchmarks/features.py                        # Stable Diffusion 1.x, one image at 512 pixels, float32: 6 GB
    python benchmarks/features.py --size 256 --repeats 5 # quicker
    python benchmarks/features.py --tiny --threads 1     # tiny networks: what Python itself costs
    python benchmarks/features.py --device cuda --dtype float16 --batch 8
    python benchmarks/features.py --architecture ssd1b --size 1024 --layers down.2.attn.1.3.self.out

Each repeat times in turn: the extractor's call, the VAE's encoder alone, the UNet that ends after the last layer, the
same layers read from a whole UNet by hooks that are set for the call and left by an exception, and the whole UNet. The
table has medians, and ratios with the smallest and the largest of the repeats; with one thread on a CPU it counts
processor time. The weights are random; they cost what trained ones cost.
"""

import argparse
import os
import resource
import tempfile
import time

import numpy as np
import torch

from freesegdiff.denoiser import PAPER_LAYERS, UNet, name_layers
from freesegdiff.features import DiffusionFeatures, images_to_tensor
from freesegdiff.stickers import make_scene
from freesegdiff.testing import write_tiny_diffusion
from freesegdiff.weights import silence_libraries
from tools import format_spread, time_call


class Exit(Exception):
    """The last layer has run."""


def read_by_hooks(network, layers, *inputs):
    """Read layers with hooks of this call, and leave the network by an exception."""
    outputs, modules = {}, name_layers(network)

    def record(name):
        def hook(module, inputs, output):
            outputs[name] = output[0] if isinstance(output, tuple) else output
            if len(outputs) == len(layers):
                raise Exit

        return hook

    handles = [modules[name].register_forward_hook(record(name)) for name in layers]
    try:
        UNet.run(network, *inputs)
    except Exit:
        return outputs
    finally:
        for handle in handles:
            handle.remove()


def load_extractor(options):
    """Return an extractor of a full-size architecture, or of a tiny model."""
    settings = {"device": options.device, "dtype": options.dtype}
    if not options.tiny:
        settings |= {"layers": options.layers, "size": options.size}
        return DiffusionFeatures.from_architecture(options.architecture, **settings)
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_diffusion(folder, options.architecture)
        return DiffusionFeatures.from_pretrained(model, layers=("up.0.attn.0.cross.query",), size=64, **settings)


@silence_libraries()
def list_work(options):
    """Return the extractor's cost, and the functions to time by name."""
    extractor, count = load_extractor(options), options.batch
    unet, prompt, pooled = extractor.unet, extractor.prompt, extractor.pooled
    with torch.device(options.device):
        whole = type(unet).from_config(unet.config).to(prompt.dtype).eval()
    images, side = [make_scene(i).image for i in range(count)], extractor.size // extractor.scale
    x = images_to_tensor(images, extractor.size, device=options.device).to(prompt)
    steps = torch.zeros(count, dtype=torch.long, device=options.device)
    latents = torch.randn(count, unet.config.in_channels, side, side).to(prompt)
    prompts = prompt.expand(count, -1, -1), None if pooled is None else pooled.expand(count, -1)
    inputs = latents, steps, *prompts, (extractor.size, extractor.size)
    return extractor.cost(), {
        "extractor": lambda: extractor(images, [0] * count),
        "VAE encoder": lambda: extractor.vae.encode(x),
        "UNet to the last layer": lambda: UNet.run(unet, *inputs),
        "hooks of each call": lambda: read_by_hooks(whole, extractor.layer_names, *inputs),
        "whole UNet": lambda: UNet.run(whole, *inputs),
    }


def print_work(cost, seconds, batch):
    """Print seconds and floating-point work of each function."""
    unet, vae = cost["unet_gflop"], cost["vae_gflop"]
    gflop = dict(zip(seconds, (vae + unet, vae, unet, unet, cost["whole_unet_gflop"])))
    for name, values in seconds.items():
        work, median = gflop[name] * batch, np.median(values)
        print(f"{name:24} {median:8.3f} s {work:8.0f} GFLOP {work / median:8.0f} GFLOP/s")


def print_ratios(cost, seconds):
    """Print the ratios of times, of work and of weights, and the peak memory."""
    part, whole = seconds["UNet to the last layer"], seconds["whole UNet"]
    needed = format_spread(seconds["extractor"] / (seconds["VAE encoder"] + part), 3)
    print(f"extractor to the bare forward passes:     {needed}")
    print(f"hooks of each call to the network's end:  {format_spread(seconds['hooks of each call'] / part, 3)}")
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


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="sd1", help="a name in freesegdiff.denoiser.ARCHITECTURES")
    parser.add_argument("--tiny", action="store_true", help="a tiny model of the architecture")
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
    clock = time.process_time if options.device == "cpu" and options.threads == 1 else time.perf_counter
    rows = [[time_call(call, options.device, clock) for call in work.values()] for _ in range(options.repeats)]
    seconds = dict(zip(work, np.array(rows).T))
    print_work(cost, seconds, options.batch)
    print_ratios(cost, seconds)


if __name__ == "__main__":
    main()
