"""Compare `DenseCRF` with pydensecrf in one process: agreement, quality, time and memory.

    python benchmarks/refine.py                         # sticker scenes, and the authors' clusters where the shared data is
    python benchmarks/refine.py --device cuda --repeats 10
    python benchmarks/refine.py --clock cpu --threads 1 # on a busy machine: processor time instead of wall time
    python benchmarks/refine.py --memory                # peak memory on images up to 24 megapixels instead

Needs the `crf` extra. Each image has K regions. pydensecrf is run as the release does, one two-label CRF a region (K runs), and once with all labels;
so is ours. Times are medians over the repeats, with the smallest and the largest; set-up is what can be built before the labels are known (the lattices).
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = CLOCKS["wall"]


def shared_images(folder):
    """Yield name, image, cluster map at the image's size, best cluster for the object, published mask and ground truth (255: ignore)."""
    for path in sorted(Path(folder).glob("*_clusters32.png")):
        name = path.name.removesuffix("_clusters32.png")
        image = Image.open(path.with_name(f"{name}.jpg")).convert("RGB")
        clusters = np.array(Image.open(path).resize(image.size, Image.NEAREST)).astype(np.int64)
        published = np.array(Image.open(path.with_name(f"{name}_published_mask.png"))) > 127
        target = np.array(Image.open(path.with_name(f"{name}_truth.png"))).astype(np.int64)
        best = max(np.unique(clusters), key=lambda k: iou(clusters == k, target))
        yield name, image, clusters, best, published, target


def sticker_scenes(count, size):
    """Yield name, image and a coarse region map: the true instances on a 32x32 grid, three cells in a hundred wrong."""
    from freesegdiff.stickers import make_scene

    for index in range(count):
        made, rng = make_scene(index, "dev", size=size), np.random.default_rng(index)
        grid = np.array(Image.fromarray(made.instances.astype(np.uint8)).resize((32, 32), Image.NEAREST)).astype(np.int64)
        wrong = rng.random(grid.shape) < 0.03
        grid[wrong] = rng.choice(np.unique(grid), wrong.sum())
        regions = np.array(Image.fromarray(grid.astype(np.uint8)).resize((size, size), Image.NEAREST)).astype(np.int64)
        yield f"scene {index}", made.image, regions


def iou(mask, target):
    """IoU of a mask with a ground truth map in which 255 is void and anything else but 0 is the object."""
    valid, wanted = target != 255, target > 0
    return (mask & wanted & valid).sum() / max(1, ((mask | wanted) & valid).sum())


def least_iou(a, b):
    """Smallest IoU of a label between two label maps."""
    return min(((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in np.union1d(a, b))


def timed(work, repeats, device):
    """Result of the last call and the seconds of each."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        result = work()
        if device != "cpu":
            import torch

            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return result, np.array(seconds)


def original(image, regions, repeats):
    """pydensecrf as in the release: label maps of the K two-label runs, seconds of their set-up and of their inference."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_labels

    pixels, (width, height) = np.array(image), image.size
    setup, inference = np.zeros(repeats), np.zeros(repeats)
    for repeat in range(repeats):
        for region in np.unique(regions):
            start = clock()
            crf = DenseCRF2D(width, height, 2)
            crf.addPairwiseGaussian(sxy=20, compat=5)
            crf.addPairwiseBilateral(sxy=20, srgb=20, rgbim=pixels, compat=100)
            middle = clock()
            crf.setUnaryEnergy(unary_from_labels((regions == region).astype(int), 2, gt_prob=0.9, zero_unsure=False))
            np.argmax(crf.inference(10), axis=0)
            setup[repeat] += middle - start
            inference[repeat] += clock() - middle
    return setup, inference


def ours(image, regions, repeats, device):
    """Seconds of the set-up and of one joint run with all K labels."""
    import torch

    from freesegdiff.crf import label_energy, lattice_solver

    pixels, labels = torch.from_numpy(np.array(image)).to(device), torch.from_numpy(np.unique(regions, return_inverse=True)[1].reshape(regions.shape)).to(device)
    count = int(labels.max()) + 1
    solve, setup = timed(lambda: lattice_solver(pixels, (20, 5), (20, 20, 100), 10, 2**20), repeats, device)
    _, inference = timed(lambda: solve(lambda ys, xs: label_energy(labels[ys][:, xs], count, 0.9)).cpu(), repeats, device)
    return setup, inference


def spread(values):
    return f"{np.median(values):7.3f} ({values.min():.3f}-{values.max():.3f})"


def compare(images, repeats, device):
    """Print agreement, quality and time for each image."""
    from freesegdiff.refine import DenseCRF

    print("image       K | agreement, least IoU: joint   per mask | seconds: pydensecrf K runs         ours, one joint run     | faster, with and without set-up")
    quality = []
    for name, image, regions, *known in images:
        labels = {}
        for backend in ("torch", "pydensecrf"):
            for joint in (True, False):
                crf = DenseCRF(joint=joint, background=-1, backend=backend, device=device if backend == "torch" else "cpu")
                labels[backend, joint] = crf([image], [regions])[0]
        agree = [f"{(labels['torch', j] == labels['pydensecrf', j]).mean():.4f} {least_iou(labels['torch', j], labels['pydensecrf', j]):.4f}" for j in (True, False)]
        ours(image, regions, 1, device)  # warm up
        theirs, mine = original(image, regions, repeats), ours(image, regions, repeats, device)
        ratios = [np.median(sum(theirs)) / np.median(sum(mine)), np.median(theirs[1]) / np.median(mine[1])]
        print(f"{name:12s} {len(np.unique(regions)):2d} | {agree[0]} | {agree[1]} | {spread(sum(theirs))} | {spread(sum(mine))}, set-up {np.median(mine[0]):.3f} | {ratios[0]:.1f} {ratios[1]:.1f}", flush=True)
        if known:
            best, published, target = known
            for how, found in {
                "clusters": regions == best,
                "pydensecrf": DenseCRF(backend="pydensecrf")([image], [(regions == best).astype(int)])[0] == 1,
                "ours": DenseCRF(device=device)([image], [(regions == best).astype(int)])[0] == 1,
                "pydensecrf joint": labels["pydensecrf", True] == best,
                "ours joint": labels["torch", True] == best,
            }.items():
                quality.append((name, how, iou(found, published.astype(int)), iou(found, target)))
    for name in dict.fromkeys(row[0] for row in quality):
        print(f"{name}: IoU with the published mask / with VOC's ground truth: " + "; ".join(f"{how} {a:.3f} / {b:.3f}" for n, how, a, b in quality if n == name))


def memory(device):
    """Print time and peak memory on big images, each in a process of its own."""
    for height, width in ((333, 500), (1024, 1024), (2160, 3840), (4000, 6000)):
        code = f"from benchmarks.refine import peak; peak({height}, {width}, {device!r})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def peak(height, width, device):
    """Refine one image of a given size with five labels and print what it took."""
    import torch

    from freesegdiff.refine import DenseCRF

    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    labels = np.array(Image.fromarray(rng.integers(0, 5, (32, 32), dtype=np.uint8)).resize((width, height), Image.NEAREST)).astype(np.int64)
    crf, base = DenseCRF(device=device), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    crf([small], [labels])
    took, grown = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
    device_memory = f", on the device {torch.cuda.max_memory_allocated() / 2**20:.0f} MB" if device != "cpu" else ""
    print(f"{height}x{width}: {took:.2f} s, peak memory {grown / 1024:.0f} MB above {base / 1024:.0f} MB (imports, image and label map){device_memory}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default=os.environ.get("FREESEGDIFF_SHARED", Path(__file__).parents[2] / "shared"), type=Path, help="folder with data/authors-clusters")
    parser.add_argument("--scenes", default=3, type=int, help="number of sticker scenes of 512x512 pixels")
    parser.add_argument("--repeats", default=5, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    options = parser.parse_args()
    if options.memory:
        return memory(options.device)
    import torch

    global clock
    clock = CLOCKS[options.clock]
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.clock} time, {options.threads} threads, device {options.device}, {options.repeats} repeats, load {os.getloadavg()[0]:.1f}")
    folder = options.shared / "data" / "authors-clusters"
    if not folder.exists():
        print(f"skipped: the authors' clusters ({folder} is not there; set FREESEGDIFF_SHARED)")
    compare(shared_images(folder), options.repeats, options.device)
    compare(sticker_scenes(options.scenes, 512), options.repeats, options.device)


if __name__ == "__main__":
    main()
