"""What the ways to show a region to CLIP cost, as ratios to the bare forward passes, in one run.

    python benchmarks/classify.py                       # ViT-B-32 with random weights: times do not depend on them, nothing is downloaded
    python benchmarks/classify.py --model ViT-L-14 --device cuda --regions 12
    python benchmarks/classify.py --model mini          # the bundled model

Three references, all as ratios with the smallest and the largest of the repeats: the bare work (crops that are ready, in the same passes through the vision tower), a pass for each crop as the release has it,
and the words read anew. Peak memory is that of a fresh process, above the model and the images.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from memory import peak_of

from freesegdiff.classify import ClipClassifier, crop_regions

WAYS = ("blackout", "box", "blur", "mean", "pooled")


def made_images(count, regions):
    """Images of 375x500 pixels in colour gradients and their region maps: stripes of blocks."""
    rng, out = np.random.default_rng(0), []
    for _ in range(count):
        image = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        small = rng.permutation(np.arange(64) % regions).reshape(8, 8).astype(np.uint8)
        out.append((image, np.asarray(Image.fromarray(small).resize((500, 375), Image.NEAREST)).astype(np.int64)))
    return [list(column) for column in zip(*out)]


def made_classifier(options):
    """A classifier with random weights, or the bundled one."""
    if options.model == "mini":
        return ClipClassifier.from_pretrained(Path(__file__).parents[1] / "freesegdiff/data/mini/clip", device=options.device)
    import open_clip

    logging.disable(logging.WARNING)  # that the weights are random
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(options.model, device=options.device)
    return ClipClassifier(model, preprocess, open_clip.get_tokenizer(options.model))


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def seconds(work, repeats, device):
    """Seconds of each call after one to warm up."""
    out = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        wait(device)
        out.append(time.perf_counter() - start)
    return np.array(out[1:])


def ratio(values, reference):
    values = values / np.median(reference)
    return f"{np.median(values):6.2f} ({values.min():.2f}-{values.max():.2f})"


@torch.no_grad()
def passes(classifier, batch, batch_size):
    for part in batch.split(batch_size):
        classifier.model.encode_image(part)


def compare(options):
    """Print the time of each way as ratios, and its peak memory."""
    images, regions = made_images(options.images, options.regions)
    classifier, words = made_classifier(options), [[f"thing {i}" for i in range(options.words)]] * options.images
    crops = [crop for image, ids in zip(images, regions) for _, crop in crop_regions(image, ids)]
    ready = torch.stack([classifier.preprocess(crop) for crop in crops]).to(options.device)
    bare = seconds(lambda: passes(classifier, ready, classifier.batch_size), options.repeats, options.device)
    single = seconds(lambda: passes(classifier, ready, 1), 1, options.device)
    print(f"bare passes of {len(crops)} ready crops, {classifier.batch_size} at a time: {np.median(bare):.3f} s; one at a time, as the release: {ratio(single, bare)} times as long")
    print("crop        seconds | to the bare passes   | peak memory, MB above model and images")
    classifier(images, regions, words)  # reads the words
    for way in WAYS:
        classifier.crop = way
        took = seconds(lambda: classifier(images, regions, words), options.repeats, options.device)
        arguments = [f"--{name}={getattr(options, name)}" for name in ("model", "images", "regions", "words", "threads", "device")]
        command = [sys.executable, __file__, *arguments, f"--peak={way}"]
        memory = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}).stdout.strip()
        print(f"{way:10s} {np.median(took):8.3f} | {ratio(took, bare):20s} | {memory}", flush=True)

    def read_again():
        classifier.known.clear()
        classifier(images, regions, words)

    anew = seconds(read_again, options.repeats, options.device)
    print(f"the last with {options.words} words read anew each time: {ratio(anew, took)} times as long")


def peak(options):
    """Print the peak memory of one way."""
    images, regions = made_images(options.images, options.regions)
    classifier = made_classifier(options)
    classifier(images[:1], [regions[0] * 0], [["thing"]])
    classifier.crop = options.peak
    print(f"{peak_of(lambda: classifier(images, regions, [['thing']] * options.images)):.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip's name for an architecture, or mini")
    parser.add_argument("--images", default=4, type=int)
    parser.add_argument("--regions", default=6, type=int, help="in each image")
    parser.add_argument("--words", default=100, type=int)
    parser.add_argument("--repeats", default=3, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        return peak(options)
    print(f"torch {torch.__version__}, {options.model}, {options.threads} threads, device {options.device}, {options.repeats} repeats, load {os.getloadavg()[0]:.1f}")
    compare(options)


if __name__ == "__main__":
    main()
