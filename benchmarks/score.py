"""Speed of scoring, and the time that `evaluate` adds to the pipeline's own.

    python benchmarks/score.py [--images 1449] [--workers 2] [--part all]

It makes VOC-sized ground truth maps (500 x 375, 21 classes, void edges) and predictions for them, then

1. scores all of them under every protocol (with class-agnostic overlap and boundary IoU), and a fifth, for memory;
2. runs `evaluate` with a pipeline that computes for a fixed time, against the bare pipeline on loaded images;
3. does the same with the bundled miniature.

On a busy machine use the CPU seconds, which hardly depend on other work. All files are in a temporary folder, and
nothing is downloaded. The output is one JSON object.
"""

import argparse
import json
import resource
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from freesegdiff import FreeSegDiff
from freesegdiff.annotations import load_image
from freesegdiff.core import Segmentation
from freesegdiff.datasets import load_dataset
from freesegdiff.evaluate import evaluate
from freesegdiff.report import score

HEIGHT, WIDTH = 375, 500


def draw_ellipses(rng, count):
    """Draw a map of random ellipses, numbers 1..count on 0, and the thin edges between them, bool (H, W)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    objects, edge = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), bool)
    for i in range(1, count + 1):
        cy, cx, ry, rx = rng.uniform((60, 80, 30, 40), (315, 420, 150, 200))
        distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
        objects[distance < 1] = i
        edge |= np.abs(distance - 1) < 0.05
    return objects, edge


class StandIn:
    """A pipeline that reads the ground truth from the image with some mistakes, and computes for a while."""

    def __init__(self, names, compute=0):
        self.settings, self.names, self.compute = {"kind": "stand-in", "compute": compute}, names, compute

    def __call__(self, image, classes=None):
        red = np.asarray(image)[..., 0]
        for _ in range(self.compute):
            np.sort(red.astype(np.float32), axis=None)
        present, regions = np.unique(np.minimum((np.roll(red, 5, 1) + 6.0) // 12, 20).astype(int), return_inverse=True)
        regions, scores = regions.reshape(red.shape), self.score(present, np.random.default_rng(int(red.sum())))
        assigned = np.where(present == 0, 0, scores.argmax(1) + 1)
        classes = ["background", *self.names]
        return Segmentation(
            assigned[regions], classes, "a photo", image, regions, list(self.names), scores, assigned
        )

    def score(self, present, rng):
        """Draw scores that favour the true class of each region, (regions, words) float32."""
        scores = rng.dirichlet(np.full(len(self.names), 0.1), len(present)).astype(np.float32)
        scores[np.arange(len(present)), np.clip(present - 1, 0, None)] += 2
        return scores / scores.sum(1, keepdims=True)


def write_voc(root, images, rng):
    """Write images whose red channel is 12 times the class index, and masks with void edges."""
    base = root / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    names = [f"{i:06d}" for i in range(images)]
    for name in names:
        objects, edge = draw_ellipses(rng, rng.integers(1, 5))
        target = rng.integers(1, 21, 5).astype(np.uint8)[objects] * (objects > 0)
        image = Image.fromarray(np.stack([12 * target] * 3, -1).astype(np.uint8))
        image.save(base / f"JPEGImages/{name}.jpg", quality=95)
        mask = Image.fromarray(np.where(edge, 255, target).astype(np.uint8))
        mask.save(base / f"SegmentationClass/{name}.png")
    (base / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))


def read_peak():
    """Read the peak memory of this process, in megabytes."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def read_clocks():
    """Read the wall clock, and the CPU time of this process and of the workers that have ended, seconds (2,)."""
    workers = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    return np.array([time.perf_counter(), time.process_time() + workers])


def measure_scoring(root, images, workers):
    """Measure time and peak memory of scoring a fifth of the images, and all."""
    dataset, figures = load_dataset("voc2012", root), {}
    failed = evaluate(StandIn(dataset.prompts), dataset, root / "run")["failed"]
    assert not failed, failed
    part = load_dataset("voc2012", root, limit=max(1, images // 5))
    for name, items in (("fifth", part), ("all", dataset)):
        start = read_clocks()
        score(root / "run", "all", dataset=items, loaders=workers)
        seconds, cpu_seconds = np.round(read_clocks() - start, 2).tolist()
        times = {"seconds": seconds, "cpu_seconds": cpu_seconds}
        figures[f"score_{name}"] = {"images": len(items), **times, "peak_mb": read_peak()}
    return figures


def measure_evaluate(root, pipe, name, count, repeats=3):
    """Measure seconds and CPU seconds of a pipeline with and without `evaluate`."""
    dataset = load_dataset("voc2012", root, limit=count)
    images, times = [load_image(item) for item in dataset.items], {"bare": [], "run": []}
    for repeat in range(repeats):  # the minimum of a few, in turn, since other work on the machine disturbs both alike
        for kind, seconds in times.items():
            start = read_clocks()
            if kind == "run":
                evaluate(pipe, dataset, root / f"{name}{repeat}")
            else:
                for image in images:
                    pipe(image)
            seconds.append(read_clocks() - start)
    (bare, bare_cpu), (run, run_cpu) = (np.min(times[kind], 0) for kind in ("bare", "run"))
    wall = {"bare_seconds": round(bare, 2), "run_seconds": round(run, 2), "added": round(run / bare - 1, 3)}
    cpu = {"bare_cpu_seconds": round(bare_cpu, 2), "run_cpu_seconds": round(run_cpu, 2)}
    return {"images": len(images), **wall, **cpu, "added_cpu": round(run_cpu / bare_cpu - 1, 3)}


def load_miniature():
    """Load the bundled models, without warnings about images out of domain."""
    warnings.simplefilter("ignore")
    return FreeSegDiff.from_preset("mini", device="cpu")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1449, help="number of images")
    parser.add_argument("--workers", type=int, default=2, help="number of processes that score")
    parser.add_argument("--part", choices=("all", "score", "evaluate", "mini"), default="all")
    options, figures = parser.parse_args(), {}
    with tempfile.TemporaryDirectory() as folder:
        root, count = Path(folder), min(40, options.images)
        write_voc(root, options.images, np.random.default_rng(0))
        if options.part in ("all", "score"):
            figures |= measure_scoring(root, options.images, options.workers)
        if options.part in ("all", "evaluate"):
            names = load_dataset("voc2012", root).prompts
            figures["evaluate"] = measure_evaluate(root, StandIn(names, compute=250), "stand-in", count)
        if options.part in ("all", "mini"):
            figures["evaluate_mini"] = measure_evaluate(root, load_miniature(), "mini", count)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
