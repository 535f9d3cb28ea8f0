"""Are two trainings of the miniature equally good? Figures of both on the two evaluation sets, and their paired differences.

    python -m freesegdiff.miniature --out again
    python benchmarks/retrained.py again                 # against the bundled models
    python benchmarks/retrained.py again --other once    # against another training
    python benchmarks/retrained.py again --parts clip    # one model only, in the other training's pipeline

All in percent. A difference is what the first folder has more, with its 95 % bootstrap interval over scenes; an interval without zero gets a star.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from freesegdiff import FreeSegDiff
from freesegdiff.datasets import load_dataset
from freesegdiff.report import compare
from freesegdiff.evaluate import evaluate
from freesegdiff.backbones import LatentFeatures
from freesegdiff.metrics import bootstrap
from freesegdiff.measures import count_captions, name_cutouts, measure_overlap, cluster_scenes
from freesegdiff.core import DATA
from freesegdiff.stickers import OBJECTS


def mean(means):
    return means


def f1(means):  # of hits, false and missed
    hits, false, missed = np.moveaxis(means, -1, 0)
    return 2 * hits / (2 * hits + false + missed)


def share(means):  # of right and all
    return means[..., 0] / means[..., 1]


def caption_measures(pipe, scenes):
    counts = count_captions(pipe.captioner([s.image for s in scenes]), scenes)
    return {"captions, F1 of objects": (counts, f1), "captions with exactly the objects": ((counts[:, 1:] == 0).all(1), mean)}


def clip_measures(pipe, scenes):
    right = [[name == word for name, word in pairs if name in OBJECTS] for pairs in name_cutouts(pipe.classifier, scenes, pipe.preset.templates)]
    return {"CLIP top-1 on true object masks": (np.array([(sum(row), len(row)) for row in right]), share)}


def diffusion_measures(pipe, scenes):
    regions = cluster_scenes(pipe.extractor, pipe.clusterer, scenes)
    sharp = [pipe.refiner([s.image], [r])[0] for s, r in zip(scenes, regions)]
    overlap = measure_overlap(regions, scenes)
    latents = measure_overlap(cluster_scenes(LatentFeatures(pipe.extractor.vae, size=pipe.preset.size), pipe.clusterer, scenes), scenes)
    return {
        "overlap of objects with their best cluster": (overlap, mean),
        "the same after the CRF": (measure_overlap(sharp, scenes), mean),
        "clusters of VAE latents": (latents, mean),
        "diffusion's lead over them": (overlap - latents, mean),
    }


MEASURES = {"captioner": caption_measures, "clip": clip_measures, "diffusion": diffusion_measures}  # pipeline, scenes -> name -> (entries of each scene, what makes the figure of their means)


def paired(a, b, statistic):
    """Both figures, and the interval of the first less the second."""
    values = np.stack([a, b], 1)
    return *statistic(values.mean(0)), *bootstrap(values, statistic=lambda means: -np.diff(statistic(means))[:, 0])


def miou(pipes, data, caption):
    """The whole pipeline's mIoU over objects and background, paired as the others are."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, name) for name in "ab"]
        for pipe, run in zip(pipes, runs):
            evaluate(pipe, data, run, caption=caption)
        row = compare(runs[1], runs[0], "dataset", data)["rows"][0]
    return row["b"], row["a"], row["low"], row["high"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `python -m freesegdiff.miniature --out` filled")
    parser.add_argument("--other", type=Path, default=DATA / "mini", help="what to compare with (default: the bundled models)")
    parser.add_argument("--parts", nargs="+", choices=MEASURES, default=list(MEASURES), help="which models of the folder to look at; the rest is of the other training on both sides")
    args = parser.parse_args()
    other = {part: str(args.other / part) for part in MEASURES}
    mixed = other | {part: str(args.folder / part) for part in args.parts}
    pipes = [FreeSegDiff.from_preset("mini", device="cpu", **models) for models in (mixed, other)]
    for name in ("stickers-seen", "stickers-unseen"):
        data = load_dataset(name)
        scenes = [item.target for item in data.items]
        rows = {}
        for part in args.parts:
            a, b = (MEASURES[part](pipe, scenes) for pipe in pipes)
            rows |= {key: paired(a[key][0], b[key][0], statistic) for key, (_, statistic) in a.items()}
        rows["mIoU of the whole pipeline"] = miou(pipes, data, "pipeline")
        rows["the same, the true caption given"] = miou(pipes, data, "true")
        print(f"{f'{name}, {len(scenes)} scenes':44}{'folder':>8}{'other':>8}   difference")
        for key, (one, two, low, high) in rows.items():
            print(f"{key:44}{100 * one:8.1f}{100 * two:8.1f}   {100 * (one - two):+5.1f} [{100 * low:+.1f}, {100 * high:+.1f}]{'' if low <= 0 <= high else ' *'}", flush=True)


if __name__ == "__main__":
    main()
