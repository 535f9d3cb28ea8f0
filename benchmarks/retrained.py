"""Figures of two trainings of the miniature on the two evaluation sets, and their paired differences.

    python -m freesegdiff.miniature --out again
    python benchmarks/retrained.py again                 # against the bundled models
    python benchmarks/retrained.py again --other once    # against another training
    python benchmarks/retrained.py again --parts clip    # one model only, in the other training's pipeline

    python -m freesegdiff.miniature --out six --without emojione --scenes 12000 --times 0.3
    python benchmarks/retrained.py six --drawings emojione               # on the set that it never saw
    python benchmarks/retrained.py again --drawings unseen --styles 1    # on drawings in other styles

All figures are percent. A difference is positive where the first folder is better, with its 95 % bootstrap interval
over scenes. An interval without zero is marked by a star.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from freesegdiff import FreeSegDiff
from freesegdiff.annotations import Item
from freesegdiff.backbones import LatentFeatures
from freesegdiff.core import DATA
from freesegdiff.datasets import load_dataset
from freesegdiff.evaluate import evaluate
from freesegdiff.measures import (
    cluster_scenes,
    count_captions,
    measure_overlap,
    name_cutouts,
)
from freesegdiff.metrics import bootstrap
from freesegdiff.report import compare
from freesegdiff.stickers import ART_SETS, OBJECTS, make_scene


def take_mean(means):
    return means


def compute_f1(means):  # of hits, false and missed
    hits, false, missed = np.moveaxis(means, -1, 0)
    return 2 * hits / (2 * hits + false + missed)


def compute_share(means):  # of hits in all
    return means[..., 0] / means[..., 1]


def measure_captions(pipe, scenes):
    counts = count_captions(pipe.captioner([s.image for s in scenes]), scenes)
    is_exact = (counts[:, 1:] == 0).all(1)
    return {
        "captions, F1 of objects": (counts, compute_f1),
        "captions with exactly the objects": (is_exact, take_mean),
    }


def measure_names(pipe, scenes):
    pairs = name_cutouts(pipe.classifier, scenes, pipe.preset.vocabulary.templates)
    hits = [[name == word for name, word in row if name in OBJECTS] for row in pairs]
    return {"CLIP top-1 on true object masks": (np.array([(sum(row), len(row)) for row in hits]), compute_share)}


def measure_clusters(pipe, scenes):
    regions = cluster_scenes(pipe.extractor, pipe.clusterer, scenes)
    refined = [pipe.refiner([s.image], [r])[0] for s, r in zip(scenes, regions)]
    overlap = measure_overlap(regions, scenes)
    rival = LatentFeatures(pipe.extractor.vae, size=pipe.extractor.size)
    latents = measure_overlap(cluster_scenes(rival, pipe.clusterer, scenes), scenes)
    return {
        "overlap of objects with their best cluster": (overlap, take_mean),
        "the same after the CRF": (measure_overlap(refined, scenes), take_mean),
        "clusters of VAE latents": (latents, take_mean),
        "diffusion's lead over them": (overlap - latents, take_mean),
    }


# part -> function of a pipeline and scenes; it returns by name the entries of each scene, and the figure of their means
MEASURES = {"captioner": measure_captions, "clip": measure_names, "diffusion": measure_clusters}


def compare_entries(a, b, statistic):
    """Return both figures, and the interval of the first minus the second."""
    values = np.stack([a, b], 1)
    return *statistic(values.mean(0)), *bootstrap(values, statistic=lambda means: -np.diff(statistic(means))[:, 0])


def compare_miou(pipes, dataset, caption):
    """Return the mIoU of both pipelines over objects and background, and the interval of their difference."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, name) for name in "ab"]
        for pipe, run in zip(pipes, runs):
            evaluate(pipe, dataset, run, captions=caption)
        row = compare(runs[1], runs[0], "dataset", dataset)["rows"][0]
    return row["b"], row["a"], row["low"], row["high"]


def paint_dataset(drawings, styles, count=100):
    """Return scenes of the `eval` stream as a data set."""
    scenes = [make_scene(i, "eval", drawings, styles=styles) for i in range(count)]
    items = tuple(Item(f"{drawings}_{i:03d}", s.image, s, s.caption) for i, s in enumerate(scenes))
    name = f"stickers-{drawings}" + f"-styles-{styles:g}" * bool(styles)
    return replace(load_dataset("stickers-seen"), name=name, items=items, expected=count)


def compare_on(pipes, parts, dataset):
    """Return (first, second, low, high) by figure."""
    scenes, rows = [item.target for item in dataset.items], {}
    for part in parts:
        a, b = (MEASURES[part](pipe, scenes) for pipe in pipes)
        rows |= {key: compare_entries(a[key][0], b[key][0], statistic) for key, (_, statistic) in a.items()}
    rows["mIoU of the whole pipeline"] = compare_miou(pipes, dataset, "pipeline")
    rows["the same, the true caption given"] = compare_miou(pipes, dataset, "true")
    return rows


def print_rows(title, rows):
    print(f"{title:44}{'folder':>8}{'other':>8}   difference")
    for key, row in rows.items():
        one, two, low, high = (100 * value for value in row)
        star = "" if low <= 0 <= high else " *"
        print(f"{key:44}{one:8.1f}{two:8.1f}   {one - two:+5.1f} [{low:+.1f}, {high:+.1f}]{star}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a training, the `--out` of `freesegdiff.miniature`")
    parser.add_argument("--other", type=Path, default=DATA / "mini", help="the other one (default: the bundled models)")
    parser.add_argument(
        "--parts", nargs="+", choices=MEASURES, default=list(MEASURES),
        help="models of the folder to compare; the rest is of the other training on both sides",
    )  # fmt: skip
    parser.add_argument(
        "--drawings", choices=("seen", "unseen", *ART_SETS),
        help="100 scenes of these drawings (default: both sets of the package)",
    )  # fmt: skip
    parser.add_argument("--styles", type=float, default=0.0, help="share of their stickers in another style, 0..1")
    options = parser.parse_args()
    if options.styles and not options.drawings:
        parser.error("--styles needs --drawings")
    other = {part: str(options.other / part) for part in MEASURES}
    mixed = other | {part: str(options.folder / part) for part in options.parts}
    pipes = [FreeSegDiff.from_preset("mini", device="cpu", **models) for models in (mixed, other)]
    for pipe in pipes:
        pipe.domain_check = None  # some scenes are unlike the training images
    datasets = (load_dataset(name) for name in ("stickers-seen", "stickers-unseen"))
    if options.drawings:
        datasets = (paint_dataset(options.drawings, options.styles),)
    for dataset in datasets:
        print_rows(f"{dataset.name}, {len(dataset)} scenes", compare_on(pipes, options.parts, dataset))


if __name__ == "__main__":
    main()
