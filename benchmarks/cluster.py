"""Time, memory and quality of the clusterers, each against its reference, in one run.

    python benchmarks/cluster.py                                  # time as ratios, peak memory
    python benchmarks/cluster.py --channels 6400 --repeats 5      # maps as large as those of Stable Diffusion
    python benchmarks/cluster.py --kmeans                         # K-means alone, at several sizes
    python benchmarks/cluster.py --device cuda --batch 16         # features on a GPU
    python benchmarks/cluster.py --quality 20                     # regions of sticker development scenes

Times are ratios to scikit-learn's K-means as the preset `paper` calls it, and to one copy of the features in memory:
median, smallest and largest of the repeats. On a CPU they count the seconds of the processor. The normalized cut is
also compared with a plain implementation: all eigenvectors, then one threshold after the other. Peak memory is that of
a fresh process per clusterer.
"""

import argparse
import os
import time

import numpy as np
import torch

from freesegdiff.graphs import (
    AutoSCClusterer,
    NCutClusterer,
    SpectralClusterer,
    compute_affinity,
    normalized_cut,
)
from freesegdiff.kmeans import (
    AgglomerativeClusterer,
    KMeansClusterer,
    SklearnKMeansClusterer,
    renumber,
)
from freesegdiff.masks import (
    CLUSTERERS,
    ComponentsClusterer,
    resize_regions,
    upsample_by_features,
)
from freesegdiff.metrics import best_overlap

from tools import format_spread, measure_peak, run_apart, time_call


def make_features(batch, channels, size):
    """Make maps of six regions in some noise, (B, C, size, size); stronger noise would hide the regions."""
    rng, maps = np.random.default_rng(0), []
    for _ in range(batch):
        centres, grid = rng.random((6, 2)) * size, np.stack(np.mgrid[:size, :size], -1)
        nearest = ((grid[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
        directions = rng.standard_normal((6, channels))
        maps.append((directions[nearest] + 0.3 * rng.standard_normal((size, size, channels))).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(maps).astype(np.float32))


def find_plain_cut(vector, weights, degree):
    """Return the cheapest of 100 cuts of a vector, and its cost."""
    best, side = np.inf, None
    for threshold in np.linspace(0.99 * vector.min(), 0.99 * vector.max(), 100):
        inside = vector > threshold
        cut = weights[inside][:, ~inside].sum()
        is_cut = 0 < inside.sum() < len(inside)
        cost = cut / degree[inside].sum() + cut / degree[~inside].sum() if is_cut else np.inf
        if cost < best:
            best, side = cost, inside
    return side, best


def cut_plainly(weights, tau):
    """Compute the recursive normalized cut by a full eigendecomposition and a loop over thresholds."""
    labels, degree = np.zeros(len(weights), int), weights.sum(1)
    if len(weights) < 2:
        return labels
    laplacian = np.eye(len(weights)) - weights / np.sqrt(np.outer(degree, degree))
    side, cost = find_plain_cut(np.linalg.eigh(laplacian)[1][:, 1] / np.sqrt(degree), weights, degree)
    if cost >= tau:
        return labels
    labels[side] = cut_plainly(weights[np.ix_(side, side)], tau)
    labels[~side] = cut_plainly(weights[np.ix_(~side, ~side)], tau) + labels[side].max() + 1
    return labels


def time_calls(work, repeats, device="cpu"):
    """Return the seconds of each call, (repeats,), after one call to warm up; on a CPU those of the processor."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    return np.array([time_call(work, device, clock) for _ in range(repeats + 1)][1:])


def list_clusterers():
    """List the clusterers by name; the first is the reference."""
    return {
        "kmeans_sklearn": SklearnKMeansClusterer(),
        "kmeans": KMeansClusterer(),
        "kmeans, cosine": KMeansClusterer(metric="cosine"),
        "kmeans, PCA 32": KMeansClusterer(pca=32),
        "agglomerative": AgglomerativeClusterer(),
        "ncut": NCutClusterer(),
        "autosc": AutoSCClusterer(),
        "spectral": SpectralClusterer(),
        "components": ComponentsClusterer(),
    }


def compare(options):
    """Print the time of each clusterer, as ratios, and its peak memory."""
    sizes, reference = vars(options), None
    features = make_features(options.batch, options.channels, options.size).to(options.device)
    copy = time_calls(features.clone, options.repeats, options.device)
    print("clusterer               seconds | to kmeans_sklearn    | to a copy of the features | peak memory, MB")
    for name, clusterer in list_clusterers().items():
        seconds = time_calls(lambda c=clusterer: c(features, 6), options.repeats, options.device)
        reference = seconds if reference is None else reference
        ratios = [format_spread(seconds / np.median(other)) for other in (reference, copy)]
        arguments = [sizes[key] for key in ("batch", "channels", "size", "device")]
        memory = run_apart("cluster", "print_peak", name, *arguments)
        print(f"{name:22s} {np.median(seconds):8.3f} | {ratios[0]:20s} | {ratios[1]:25s} | {memory}", flush=True)
    compare_cuts(features[0].cpu(), options.repeats)


def compare_cuts(features, repeats):
    """Print the time and the agreement of the two implementations of the normalized cut."""
    graph = compute_affinity(features.flatten(1).T.numpy())
    fast, slow = time_calls(lambda: normalized_cut(graph, 0.5), repeats), time_calls(lambda: cut_plainly(graph, 0.5), 1)
    maps = [renumber(cut(graph, 0.5).reshape(features.shape[1:])) for cut in (normalized_cut, cut_plainly)]
    print(
        f"normalized cut: the plain implementation takes {format_spread(slow / np.median(fast))} times as long;",
        f"{100 * (maps[0] == maps[1]).mean():.1f} % of the positions in the same region",
    )


def print_peak(name, batch, channels, size, device):
    """Print the peak memory of one clusterer above the features, in megabytes."""
    features, clusterer = make_features(batch, channels, size).to(device), list_clusterers()[name]
    clusterer(features[:, :2, :4, :4], 2)  # imports
    print(f"{measure_peak(lambda: clusterer(features, 6)):.0f}")


def compare_kmeans(options):
    """Print how many times as long scikit-learn takes, at the sizes of the bundled models and of Stable Diffusion."""
    for channels, batch, number in ((368, 1, 4), (6400, 1, 4), (6400, 1, 6), (6400, 8, 4)):
        features = make_features(batch, channels, 32).to(options.device)
        old, new = (
            time_calls(lambda c=kind(): c(features, number), options.repeats, options.device)
            for kind in (SklearnKMeansClusterer, KMeansClusterer)
        )
        sizes = f"{batch} x {channels} channels x 1024 positions, K = {number}"
        print(f"{sizes:45s} {format_spread(old / new.min())}", flush=True)


def compare_with_sklearn(features, numbers):
    """Print how far K-means is from scikit-learn's, beside how far scikit-learn is from itself with other seeds."""
    from sklearn.metrics import adjusted_rand_score

    rows = [item.flatten(1).T.numpy() for item in features]
    makers = [KMeansClusterer(), *(SklearnKMeansClusterer(seed=seed) for seed in range(4))]
    maps = [[regions.numpy().ravel() for regions in make(features, numbers)] for make in makers]
    inertia = np.array([[measure_inertia(x, labels) for x, labels in zip(rows, own)] for own in maps])
    rand = np.array([[adjusted_rand_score(a, b) for a, b in zip(own, maps[1])] for own in maps])
    agrees = rand[2:].min(0) >= 0.99
    for name, ratio, index in (
        ("kmeans", inertia[0] / inertia[1], rand[0]),
        ("scikit-learn, other seed", inertia[2] / inertia[1], rand[2]),
    ):
        print(
            f"{name}: inertia / scikit-learn's: mean {ratio.mean():.5f}, largest {ratio.max():.5f},",
            f"above 1.001 in {(ratio > 1.001).sum()} of {len(ratio)};",
            f"adjusted Rand index, least of the {agrees.sum()} maps where four seeds agree: {index[agrees].min(initial=1):.3f},",
            f"median {np.median(index):.3f}",
        )


def measure_inertia(rows, labels):
    """Return the sum of squared distances to the means."""
    return sum(((rows[labels == k] - rows[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels))


def list_ways(numbers, sizes):
    """List functions from features to region maps, by name; the first is the reference."""

    def cut(clusterer, numbers=None):
        return lambda features: resize_regions(clusterer(features, numbers), sizes)

    ways = {f"{name}, K given": cut(clusterer, numbers) for name, clusterer in list_clusterers().items()}
    ways["kmeans, K given, features"] = lambda f: upsample_by_features(f, KMeansClusterer()(f, numbers), sizes)
    for name in ("kmeans", "ncut", "autosc", "spectral"):
        ways[f"{name}, K automatic"] = cut(CLUSTERERS[name](n_clusters=None))
    return ways


def measure_quality(count):
    """Print how well regions fit the objects of sticker scenes, with the true and with an automatic number."""
    from freesegdiff.pipeline import FreeSegDiff
    from freesegdiff.stickers import make_scene

    pipe, scenes = FreeSegDiff.from_preset("mini", device="cpu"), [make_scene(i, "dev") for i in range(count)]
    features = torch.cat([pipe.extractor([s.image], [0]) for s in scenes])
    targets = [np.asarray(s.instances) for s in scenes]
    masks = [np.stack([target == i for i in np.unique(target)]) for target in targets]
    print(f"{count} development scenes, features {tuple(features.shape)}:")
    compare_with_sklearn(features, [len(m) for m in masks])
    print("mean best overlap (standard error of the difference to kmeans_sklearn)")
    reference = None
    for name, way in list_ways([len(m) for m in masks], [t.shape for t in targets]).items():
        overlaps = np.array([best_overlap(r, m).mean() for r, m in zip(way(features), masks)])
        reference = overlaps if reference is None else reference
        difference = overlaps - reference
        error = difference.std() / np.sqrt(count)
        print(f"{name:30s} {overlaps.mean():.3f} {difference.mean():+.3f} ({error:.3f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", default=2, type=int, help="number of images")
    parser.add_argument("--channels", default=640, type=int, help="number of channels of the features")
    parser.add_argument("--size", default=32, type=int, help="positions along each side")
    parser.add_argument("--repeats", default=3, type=int, help="number of timed calls")
    parser.add_argument("--threads", default=2, type=int, help="number of CPU threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kmeans", action="store_true", help="compare K-means with scikit-learn's alone")
    parser.add_argument("--quality", type=int, metavar="SCENES", help="measure quality on sticker scenes instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.threads} threads, device {options.device},",
        f"{options.repeats} repeats, load {os.getloadavg()[0]:.1f}",
    )
    if options.quality:
        measure_quality(options.quality)
    else:
        compare_kmeans(options) if options.kmeans else compare(options)


if __name__ == "__main__":
    main()
