"""Time and peak memory of each way to crop regions for CLIP, as ratios to the bare forward passes, in one run.

    python benchmarks/classify.py                       # ViT-B-32 with random weights; nothing is downloaded
    python benchmarks/classify.py --model ViT-L-14 --device cuda --regions 12
    python benchmarks/classify.py --model mini          # the bundled model

Times do not depend on the weights. There are four references, with the smallest and the largest of the repeats:

- the bare passes: crops that are ready, in batches of the same size through the image encoder;
- one pass per crop, as in the authors' release;
- Pillow for every crop: composed at the size of the image, scaled and converted one after the other;
- the words embedded anew in each call.

On a CPU the times are processor seconds, so other processes hardly disturb them; on a GPU they are seconds of the
clock. Peak memory is that of a fresh process, above the model and the images.
"""

import argparse
import logging
import os
import time
from functools import partial

import numpy as np
import torch
from PIL import Image

from freesegdiff.classify import ClipClassifier
from freesegdiff.clip import prepare_batch
from freesegdiff.core import DATA
from freesegdiff.crops import CROPS, compose_crops, find_region_boxes, make_background
from tools import format_spread, measure_peak, run_apart, time_call

WAYS = (*CROPS, "pooled")


def time_work(options, work, repeats=None):
    """Return the seconds of each call after one to warm up: of the processor, or of the clock if a GPU works."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    work()
    return np.array([time_call(work, options.device, clock) for _ in range(repeats or options.repeats)])


def make_images(count, regions):
    """Make images of 375x500 pixels in colour gradients, and their region maps: stripes of blocks."""
    rng, images, maps = np.random.default_rng(0), [], []
    for _ in range(count):
        colours = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        images.append(colours.resize((500, 375), Image.BICUBIC))
        blocks = Image.fromarray(rng.permutation(np.arange(64) % regions).reshape(8, 8).astype(np.uint8))
        maps.append(np.asarray(blocks.resize((500, 375), Image.NEAREST)).astype(np.int64))
    return images, maps


def load_parts(model, device):
    """Load model, preprocessing and tokenizer: random weights, or the bundled ones."""
    if model == "mini":
        classifier = ClipClassifier.from_pretrained(DATA / "mini" / "clip", device=device)
        return classifier.model, classifier.preprocess, classifier.tokenizer
    import open_clip

    logging.disable(logging.WARNING)  # the weights are random on purpose
    torch.manual_seed(0)
    network, _, preprocess = open_clip.create_model_and_transforms(model, device=device)
    return network, preprocess, open_clip.get_tokenizer(model)


def crop_with_pillow(image, regions, crop):
    """Compose the crops of an image with Pillow, each at the size of the image: the way before tensors."""
    background, colour = make_background(image, CROPS[crop])
    for region, (x0, y0, x1, y1) in find_region_boxes(regions, 0.05).items():
        composed = Image.composite(image, background, Image.fromarray(regions == region))
        square = composed if crop == "blackout" else Image.new("RGB", (x1 - x0, y1 - y0), colour)
        if crop != "blackout":
            square.paste(composed, (-x0, -y0))
        yield square


def prepare_with_pillow(preprocess, images, regions, crop):
    """Prepare all crops, (n, 3, size, size) float32."""
    return torch.stack([preprocess(square) for pair in zip(images, regions) for square in crop_with_pillow(*pair, crop)])


def prepare_tensors(preprocess, images, regions, crop, device):
    """Prepare all crops as the classifier does, (n, 3, size, size) float32 on the device."""
    crops = (batch for pair in zip(images, regions) for batch in compose_crops(*pair, crop, device=device))
    rows = torch.stack([row for batch in crops for row in prepare_batch(preprocess, batch)])
    return preprocess.transforms[-1](rows.float().div_(255))


@torch.inference_mode()
def encode(model, crops, batch_size):
    """Send crops through the image encoder, batch by batch."""
    for batch in crops.split(batch_size):
        model.encode_image(batch)


def print_bare(parts, images, regions, options):
    """Print and return the seconds of the bare passes, (repeats,)."""
    model, preprocess, _ = parts
    ready = prepare_with_pillow(preprocess, images, regions, "blackout").to(options.device)
    size = ClipClassifier(*parts).batch_size
    bare = options.time(lambda: encode(model, ready, size))
    single = options.time(lambda: encode(model, ready, 1), 1) / np.median(bare)
    print(
        f"bare passes of {len(ready)} ready crops, {size} at a time: {np.median(bare):.3f} s;",
        f"one at a time, as in the release: {format_spread(single)} times as long",
    )
    return bare


def compare(options):
    """Print the time of each crop as ratios, and its peak memory."""
    images, regions = make_images(options.images, options.regions)
    parts, words = load_parts(options.model, options.device), [list_words(options.words)] * options.images
    bare = print_bare(parts, images, regions, options)
    print("crop        seconds |   to the bare passes | Pillow's preparation / ours | peak memory, MB above model and images")
    settings = (options.model, options.images, options.regions, options.threads, options.device)
    for crop in WAYS:
        seconds = options.time(partial(ClipClassifier(*parts, crop=crop), images, regions, words))
        ratio, memory = format_spread(seconds / np.median(bare)), run_apart("classify", "print_peak", crop, *settings)
        gain = compare_preparations(parts[1], images, regions, crop, options) if crop in CROPS else ""
        print(f"{crop:10s} {np.median(seconds):8.3f} | {ratio:20s} | {gain:27s} | {memory}", flush=True)

    def embed_anew():
        ClipClassifier(*parts, crop=WAYS[-1])(images, regions, words)

    anew = options.time(embed_anew)
    ratio = format_spread(anew / np.median(seconds))
    print(f"the last with {options.words} words embedded anew in each call: {ratio} times as long")


def compare_preparations(preprocess, images, regions, crop, options):
    """Return the time of Pillow's preparation of all crops as a ratio to ours, as text."""
    pillow = options.time(lambda: prepare_with_pillow(preprocess, images, regions, crop).to(options.device))
    ours = options.time(lambda: prepare_tensors(preprocess, images, regions, crop, options.device))
    return f"{format_spread(pillow / ours.min(), 1)}, {1000 * ours.min() / len(images):.1f} ms"


def list_words(count):
    return [f"thing {i}" for i in range(count)]


def print_peak(crop, model, images, regions, threads, device):
    """Print the peak memory of one crop."""
    torch.set_num_threads(threads)
    images, regions = make_images(images, regions)
    classifier = ClipClassifier(*load_parts(model, device), crop=crop)
    classifier(images[:1], [regions[0] * 0], [["thing"]])  # imports, and the embedding of the word
    print(f"{measure_peak(lambda: classifier(images, regions, [['thing']] * len(images))):.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip's name of an architecture, or mini")
    parser.add_argument("--images", default=4, type=int, help="number of images")
    parser.add_argument("--regions", default=6, type=int, help="number of regions per image")
    parser.add_argument("--words", default=100, type=int, help="number of words per image")
    parser.add_argument("--repeats", default=3, type=int, help="number of timed calls")
    parser.add_argument("--threads", default=1, type=int, help="number of CPU threads")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.time = partial(time_work, options)
    print(
        f"torch {torch.__version__}, {options.model}, {options.threads} threads, device {options.device},",
        f"{options.repeats} repeats, load {os.getloadavg()[0]:.1f}",
    )
    compare(options)


if __name__ == "__main__":
    main()
