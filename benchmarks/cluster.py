"""Time, memory and quality of the clusterers, each against its reference, in one run.

    python benchmarks/cluster.py                                  # time as ratios, peak memory
    python benchmarks/cluster.py --channels 6400 --repeats 5      # maps as large as those of Stable Diffusion
    python benchmarks/cluster.py --device cuda --batch 16         # K-means in PyTorch on a GPU
    python benchmarks/cluster.py --quality 20                     # regions of sticker development scenes, one change at a time

Times are given as ratios to scikit-learn's K-means as the release calls it, and to one copy of the features in memory: median, smallest and largest of the repeats.
The normalized cut is also compared with the plain way: all eigenvectors, then one threshold after the other. Peak memory is that of a fresh process for each clusterer.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from memory import peak_of

from freesegdiff import masks
from freesegdiff.metrics import best_overlap


def made_features(batch, channels, size):
    """Maps of six regions in some noise, (B, C, size, size); with as much noise as signal every position would be a part of its own."""
    rng, maps = np.random.default_rng(0), []
    for _ in range(batch):
        centres, grid = rng.random((6, 2)) * size, np.stack(np.mgrid[:size, :size], -1)
        nearest = ((grid[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
        directions = rng.standard_normal((6, channels))
        maps.append((directions[nearest] + 0.3 * rng.standard_normal((size, size, channels))).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(maps).astype(np.float32))


def plain_cut(weights, tau):
    """Recursive normalized cut by a full eigendecomposition and a loop over 100 thresholds."""
    labels, degree = np.zeros(len(weights), int), weights.sum(1)
    if len(weights) < 2:
        return labels
    vector = np.linalg.eigh(np.eye(len(weights)) - weights / np.sqrt(np.outer(degree, degree)))[1][:, 1] / np.sqrt(degree)
    best, side = np.inf, None
    for place in np.linspace(0.99 * vector.min(), 0.99 * vector.max(), 100):
        a = vector > place
        cut = weights[a][:, ~a].sum()
        cost = cut / degree[a].sum() + cut / degree[~a].sum() if 0 < a.sum() < len(a) else np.inf
        if cost < best:
            best, side = cost, a
    if best >= tau:
        return labels
    labels[side] = plain_cut(weights[np.ix_(side, side)], tau)
    labels[~side] = plain_cut(weights[np.ix_(~side, ~side)], tau) + labels[side].max() + 1
    return labels


def alternatives(device):
    """Name -> clusterer; the first is the reference."""
    return {
        "kmeans": masks.KMeansClusterer(),
        "kmeans, cosine": masks.KMeansClusterer(metric="cosine"),
        "kmeans, PCA 32": masks.KMeansClusterer(pca=32),
        f"kmeans_torch, {device}": masks.TorchKMeansClusterer(device=device),
        "agglomerative": masks.AgglomerativeClusterer(),
        "ncut": masks.NCutClusterer(),
        "autosc": masks.AutoSCClusterer(),
        "spectral": masks.SpectralClusterer(),
        "pieces": masks.ComponentsClusterer(),
    }


def seconds(work, repeats):
    """Seconds of each call after one to warm up."""
    out = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        out.append(time.perf_counter() - start)
    return np.array(out[1:])


def ratio(values, reference):
    return f"{np.median(values) / np.median(reference):8.2f} ({values.min() / np.median(reference):.2f}-{values.max() / np.median(reference):.2f})"


def compare(options):
    """Print the time of each clusterer, as ratios, and its peak memory."""
    features = made_features(options.batch, options.channels, options.size)
    copy = seconds(features.clone, options.repeats)
    print("clusterer               seconds | to kmeans              | to a copy of the features      | peak memory, MB above the features")
    reference = None
    for name, clusterer in alternatives(options.device).items():
        took = seconds(lambda c=clusterer: c(features, 6), options.repeats)
        reference = took if reference is None else reference
        code = f"import sys; sys.path.insert(0, 'benchmarks'); from cluster import peak; peak({name!r}, {options.batch}, {options.channels}, {options.size}, {options.device!r})"
        memory = subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1], capture_output=True, text=True).stdout.strip()
        print(f"{name:22s} {np.median(took):8.3f} | {ratio(took, reference)} | {ratio(took, copy)} | {memory}", flush=True)
    graph = masks.affinity(features[0].flatten(1).T.numpy())
    fast, slow = seconds(lambda: masks.normalized_cut(graph, 0.5), options.repeats), seconds(lambda: plain_cut(graph, 0.5), 1)
    shape = features.shape[2:]
    same = (masks.renumber(masks.normalized_cut(graph, 0.5).reshape(shape)) == masks.renumber(plain_cut(graph, 0.5).reshape(shape))).mean()
    print(f"normalized cut: the plain way takes {ratio(slow, fast)} times as long; {100 * same:.1f} % of the positions in the same region")


def peak(name, batch, channels, size, device):
    """Print the peak memory of one clusterer."""
    features, clusterer = made_features(batch, channels, size), alternatives(device)[name]
    clusterer(features[:, :2, :4, :4], 2)  # imports
    print(f"{peak_of(lambda: clusterer(features, 6)):.0f}")


def quality(count):
    """Print how well the regions of sticker scenes are met, with as many regions as there are and with an automatic number."""
    from freesegdiff.pipeline import FreeSegDiff
    from freesegdiff.stickers import make_scene

    pipe, scenes = FreeSegDiff.from_preset("mini", device="cpu"), [make_scene(i, "dev") for i in range(count)]
    features = torch.cat([pipe.extractor([s.image], [0]) for s in scenes])
    targets = [np.asarray(s.instances) for s in scenes]
    numbers, sizes = [len(np.unique(t)) for t in targets], [t.shape for t in targets]
    print(f"{count} development scenes, features {tuple(features.shape)}: mean best overlap (standard error of the difference to kmeans)")
    ways = {f"{name}, K given": (lambda f, c=c: masks.upsample(c(f, numbers), sizes)) for name, c in alternatives("cpu").items()}
    ways["kmeans, K given, concepts"] = lambda f: masks.upsample_by_features(f, masks.KMeansClusterer()(f, numbers), sizes)
    for name in ("kmeans", "ncut", "autosc", "spectral"):
        ways[f"{name}, K automatic"] = lambda f, c=masks.CLUSTERERS[name](n_clusters=None): masks.upsample(c(f), sizes)
    reference = None
    for name, way in ways.items():
        found = np.array([best_overlap(r, np.stack([t == i for i in np.unique(t)])).mean() for r, t in zip(way(features), targets)])
        reference = found if reference is None else reference
        error = (found - reference).std() / np.sqrt(count)
        print(f"{name:30s} {found.mean():.3f} {found.mean() - reference.mean():+.3f} ({error:.3f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", default=2, type=int, help="images")
    parser.add_argument("--channels", default=640, type=int)
    parser.add_argument("--size", default=32, type=int, help="positions along each side")
    parser.add_argument("--repeats", default=3, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quality", type=int, metavar="SCENES", help="measure quality on so many sticker scenes instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, device {options.device}, {options.repeats} repeats, load {os.getloadavg()[0]:.1f}")
    quality(options.quality) if options.quality else compare(options)


if __name__ == "__main__":
    main()
