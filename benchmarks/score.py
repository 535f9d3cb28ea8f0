"""How fast is scoring, and what does `evaluate` add to the pipeline's own time?

    python benchmarks/score.py [--images 1449] [--workers 2] [--part all]

Makes VOC-sized ground truth maps (500 x 375, 21 classes, void edges) and predictions for them, then
1. scores all of them under every protocol (with the class-agnostic overlap and the boundary IoU), and a fifth of them, for memory;
2. runs `evaluate` with a stand-in pipeline that computes for a known time, against the bare pipeline on images loaded beforehand;
3. the same with the bundled miniature.
On a busy machine look at the CPU seconds: they hardly depend on what else runs.
Everything lies in a temporary folder; nothing is downloaded. Prints one JSON object.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from freesegdiff.core import Segmentation
from freesegdiff.datasets import load_dataset
from freesegdiff.annotations import load_image
from freesegdiff.evaluate import evaluate
from freesegdiff.report import score

HEIGHT, WIDTH = 375, 500


def ellipses(rng, count):
    "A map of random ellipses: object numbers 1..count on 0, and a thin edge between them."
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    objects, edge = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), bool)
    for i in range(1, count + 1):
        cy, cx, ry, rx = rng.uniform((60, 80, 30, 40), (315, 420, 150, 200))
        distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
        objects[distance < 1] = i
        edge |= np.abs(distance - 1) < 0.05
    return objects, edge


class StandIn:
    "A pipeline that knows the ground truth, gets some of it wrong and computes for a while."

    def __init__(self, names, compute=0):
        self.settings, self.names, self.compute = {"kind": "stand-in", "compute": compute}, names, compute

    def __call__(self, image, classes=None):
        red = np.asarray(image)[..., 0]
        for _ in range(self.compute):
            np.sort(red.astype(np.float32), axis=None)
        present, regions = np.unique(np.minimum((np.roll(red, 5, 1) + 6.0) // 12, 20).astype(int), return_inverse=True)
        regions = regions.reshape(red.shape)
        rng = np.random.default_rng(int(red.sum()))
        scores = rng.dirichlet(np.full(len(self.names), 0.1), len(present)).astype(np.float32)
        scores[np.arange(len(present)), np.clip(present - 1, 0, None)] += 2
        scores /= scores.sum(1, keepdims=True)
        assigned = np.where(present == 0, 0, scores.argmax(1) + 1)
        return Segmentation(assigned[regions], ["background", *self.names], "a photo", image, regions, list(self.names), scores, assigned)


def make_voc(root, images, rng):
    "Write images whose red channel holds 12 times the class number, and masks with void edges."
    base = root / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    names = [f"{i:06d}" for i in range(images)]
    for name in names:
        objects, edge = ellipses(rng, rng.integers(1, 5))
        target = rng.integers(1, 21, 5).astype(np.uint8)[objects] * (objects > 0)
        Image.fromarray(np.stack([12 * target] * 3, -1).astype(np.uint8)).save(base / f"JPEGImages/{name}.jpg", quality=95)
        Image.fromarray(np.where(edge, 255, target).astype(np.uint8)).save(base / f"SegmentationClass/{name}.png")
    (base / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))


def peak_mb():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def cpu_seconds():
    "Of this process and of the workers that have ended."
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def measure_scoring(root, images, workers):
    "Time and peak memory of scoring a fifth of the images, and all."
    voc, result = load_dataset("voc2012", root), {}
    failed = evaluate(StandIn(voc.prompts), voc, root / "run")["failed"]
    assert not failed, failed
    part = load_dataset("voc2012", root, limit=max(1, images // 5))
    for name, dataset in (("fifth", part), ("all", voc)):
        start, cpu = time.perf_counter(), cpu_seconds()
        score(root / "run", "all", dataset=dataset, workers=workers)
        result[f"score_{name}"] = {
            "images": len(dataset), "seconds": round(time.perf_counter() - start, 2), "cpu_seconds": round(cpu_seconds() - cpu, 2), "peak_mb": peak_mb(),
        }
    return result


def measure_evaluate(root, pipe, name, images, repeats):
    "What `evaluate` adds to a pipeline: seconds and CPU seconds with and without it."
    few = load_dataset("voc2012", root, limit=images)
    images, found = [load_image(item) for item in few.items], {"bare": [], "run": []}
    for repeat in range(repeats):  # the best of a few, in turn: other work on the machine disturbs both alike
        for kind in found:
            start, cpu = time.perf_counter(), cpu_seconds()
            if kind == "run":
                evaluate(pipe, few, root / f"{name}{repeat}")
            else:
                for image in images:
                    pipe(image)
            found[kind].append((time.perf_counter() - start, cpu_seconds() - cpu))
    (bare, bare_cpu), (run, run_cpu) = (np.min(found[kind], 0) for kind in ("bare", "run"))
    return {
        "images": images, "bare_seconds": round(bare, 2), "run_seconds": round(run, 2), "added": round(run / bare - 1, 3),
        "bare_cpu_seconds": round(bare_cpu, 2), "run_cpu_seconds": round(run_cpu, 2), "added_cpu": round(run_cpu / bare_cpu - 1, 3),
    }


def miniature():
    "The bundled models."
    import warnings

    from freesegdiff import FreeSegDiff

    warnings.simplefilter("ignore")  # "this is nothing like a sticker"
    return FreeSegDiff.from_preset("mini", device="cpu")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=1449)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--part", choices=("all", "score", "evaluate", "mini"), default="all")
    asked, result = arguments.parse_args(), {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_voc(root, asked.images, np.random.default_rng(0))
        if asked.part in ("all", "score"):
            result |= measure_scoring(root, asked.images, asked.workers)
        if asked.part in ("all", "evaluate"):
            names = load_dataset("voc2012", root).prompts
            result["evaluate"] = measure_evaluate(root, StandIn(names, compute=250), "stand-in", 40, 3)
        if asked.part in ("all", "mini"):
            result["evaluate_mini"] = measure_evaluate(root, miniature(), "mini", 40, 3)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
