"""Agreement, quality, time and memory of `DenseCRF` against pydensecrf, in one process, and the time of writing.

    python benchmarks/refine.py --ratios                # processor time on one thread, as ratios; 12-megapixel results
    python benchmarks/refine.py                         # sticker scenes, and the authors' clusters if they are present
    python benchmarks/refine.py --device cuda --repeats 10
    python benchmarks/refine.py --clock cpu --threads 1 # on a busy machine: processor time instead of wall time
    python benchmarks/refine.py --memory                # peak memory on images up to 24 megapixels instead

It needs the extra `crf`. Each image has K regions. Both CRFs run as in the release, one two-label CRF per region
(K runs), and once with all labels. Times are medians over the repeats, with the smallest and the largest. The set-up
is the part that does not depend on the labels (the lattices).
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from freesegdiff.crf import label_energy, lattice_solver
from freesegdiff.refine import DenseCRF
from tools import format_spread, run_apart, time_call

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def read_map(path, size):
    """Read a map of small integers, enlarged to a (width, height)."""
    return np.array(Image.open(path).resize(size, Image.NEAREST)).astype(np.int64)


def list_shared_images(folder):
    """Yield name, image, clusters, the best cluster for the object, published mask and ground truth (255: void)."""
    for path in sorted(Path(folder).glob("*_clusters32.png")):
        name = path.name.removesuffix("_clusters32.png")
        image = Image.open(path.with_name(f"{name}.jpg")).convert("RGB")
        clusters = read_map(path, image.size)
        published = np.array(Image.open(path.with_name(f"{name}_published_mask.png"))) > 127
        target = read_map(path.with_name(f"{name}_truth.png"), image.size)
        best = max(np.unique(clusters), key=lambda k: compute_iou(clusters == k, target))
        yield name, image, clusters, best, published.astype(int), target


def make_scenes(count, side):
    """Yield name, image and a coarse region map: the true instances on a 32x32 grid, three cells in a hundred wrong."""
    from freesegdiff.stickers import make_scene

    for index in range(count):
        scene, rng = make_scene(index, "dev", size=side), np.random.default_rng(index)
        instances = Image.fromarray(scene.instances.astype(np.uint8))
        grid = np.array(instances.resize((32, 32), Image.NEAREST)).astype(np.int64)
        wrong = rng.random(grid.shape) < 0.03
        grid[wrong] = rng.choice(np.unique(grid), wrong.sum())
        regions = np.array(Image.fromarray(grid.astype(np.uint8)).resize((side, side), Image.NEAREST))
        yield f"scene {index}", scene.image, regions.astype(np.int64)


def compute_iou(mask, target):
    """Compute the IoU of a mask with the object of a ground truth map; 255 is void, 0 is background."""
    valid, is_object = target != 255, target > 0
    return (mask & is_object & valid).sum() / max(1, ((mask | is_object) & valid).sum())


def compute_least_iou(a, b):
    """Compute the smallest IoU of a label between two label maps."""
    return min(((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in np.union1d(a, b))


def time_one_run(pixels, labels, count, clock):
    """Return the seconds of set-up and inference of one run of pydensecrf, with the release's settings."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_labels

    start = clock()
    crf = DenseCRF2D(*labels.shape[::-1], count)
    crf.addPairwiseGaussian(sxy=20, compat=5)
    crf.addPairwiseBilateral(sxy=20, srgb=20, rgbim=pixels, compat=100)
    middle = clock()
    crf.setUnaryEnergy(unary_from_labels(labels, count, gt_prob=0.9, zero_unsure=False))
    np.argmax(crf.inference(10), axis=0)
    return middle - start, clock() - middle


def time_original(image, regions, repeats, clock):
    """Return the seconds of set-up and inference of pydensecrf's K two-label runs, (2, repeats)."""
    pixels, masks = np.array(image), [(regions == region).astype(int) for region in np.unique(regions)]
    return np.array([[time_one_run(pixels, mask, 2, clock) for mask in masks] for _ in range(repeats)]).sum(1).T


def time_joint(image, regions, repeats, clock, device):
    """Return the seconds of set-up and inference of one joint run of `lattice_solver`, (2, repeats)."""
    pixels, index = np.array(image), np.unique(regions, return_inverse=True)[1].reshape(regions.shape)
    pixels, labels, solvers = torch.from_numpy(pixels).to(device), torch.from_numpy(index).to(device), []
    count = int(labels.max()) + 1

    def set_up():
        solvers[:] = [lattice_solver([pixels], (20, 5), (20, 20, 100), 10, 2**20)]

    def infer():
        solvers[0]([lambda ys, xs: label_energy(labels[ys][:, xs], count, 0.9)[None]])

    return np.array([[time_call(work, device, clock) for _ in range(repeats)] for work in (set_up, infer)])


def refine_all_ways(image, regions, device):
    """Return label maps by (backend, joint)."""
    devices = {"torch": device, "pydensecrf": "cpu"}
    return {
        (backend, joint): DenseCRF(joint=joint, background=-1, backend=backend, device=where)([image], [regions])[0]
        for backend, where in devices.items() for joint in (True, False)
    }  # fmt: skip


def measure_masks(image, regions, labels, best, published, target, device):
    """Return the IoU of the object's mask with the published mask and with the ground truth, by way of refinement."""
    mask = (regions == best).astype(int)
    masks = {
        "clusters": mask == 1,
        "pydensecrf": DenseCRF(backend="pydensecrf")([image], [mask])[0] == 1,
        "torch": DenseCRF(device=device)([image], [mask])[0] == 1,
        "pydensecrf joint": labels["pydensecrf", True] == best,
        "torch joint": labels["torch", True] == best,
    }
    return {way: (compute_iou(m, published), compute_iou(m, target)) for way, m in masks.items()}


def compare(images, options):
    """Print agreement, quality and time of each image."""
    device, clock = options.device, CLOCKS[options.clock]
    print(
        "image       K | agreement, least IoU: joint   per mask | seconds: pydensecrf, K runs  torch, one joint run"
        " | faster, with and without set-up"
    )
    for name, image, regions, *answers in images:
        labels = refine_all_ways(image, regions, device)
        pairs = [(labels["torch", joint], labels["pydensecrf", joint]) for joint in (True, False)]
        agreements = " | ".join(f"{(a == b).mean():.4f} {compute_least_iou(a, b):.4f}" for a, b in pairs)
        time_joint(image, regions, 1, clock, device)  # to warm up
        theirs = time_original(image, regions, options.repeats, clock)
        joint = time_joint(image, regions, options.repeats, clock, device)
        whole = np.median(theirs.sum(0)) / np.median(joint.sum(0))
        inference = np.median(theirs[1]) / np.median(joint[1])
        seconds = " | ".join(format_spread(each.sum(0), 3) for each in (theirs, joint))
        print(
            f"{name:12s} {len(np.unique(regions)):2d} | {agreements} | {seconds}, set-up {np.median(joint[0]):.3f}",
            f"| {whole:.1f} {inference:.1f}",
            flush=True,
        )
        if answers:
            quality = measure_masks(image, regions, labels, *answers, device)
            ways = "; ".join(f"{way} {a:.3f} / {b:.3f}" for way, (a, b) in quality.items())
            print(f"{name}: IoU with the published mask / with VOC's ground truth: {ways}")


def make_photo(height, width, count):
    """Return an image with the edges of a sticker scene and the noise of a camera, and a coarse map of labels."""
    from freesegdiff.stickers import make_scene

    rng = np.random.default_rng(0)
    image = make_scene(0, "dev", size=512).image.resize((width, height), Image.BICUBIC)
    image = np.asarray(image).astype(np.int16) + rng.integers(-8, 9, (height, width, 3), dtype=np.int16)
    waves = Image.fromarray(rng.integers(0, 256, (6, 8), dtype=np.uint8)).resize((32, 32), Image.BICUBIC)
    blocks = Image.fromarray((np.asarray(waves).astype(int) * count // 256).astype(np.uint8))
    return image.clip(0, 255).astype(np.uint8), np.asarray(blocks.resize((width, height), Image.NEAREST)).astype(int)


def print_ratios(repeats):
    """Print processor seconds of our CRF and pydensecrf's, each one joint run on one thread, and of writing."""
    torch.set_num_threads(1)
    clock = CLOCKS["cpu"]
    print("joint CRF, 500x333 pixels, processor seconds on one thread, minima of", repeats)
    for count in (3, 6, 12):
        pixels, labels = make_photo(333, 500, count)
        count = len(np.unique(labels))
        ours, theirs = [], []
        for _ in range(repeats):  # in turn, since the machine may slow down
            ours.append(time_joint(Image.fromarray(pixels), labels, 1, clock, "cpu").sum())
            theirs.append(sum(time_one_run(pixels, labels, count, clock)))
        ours, theirs = min(ours), min(theirs)
        print(f"  {count:2d} labels: ours {ours:.3f}, pydensecrf {theirs:.3f}, ratio {ours / theirs:.2f}")
    print(f"writing a result of 4000x3000 pixels, png and json: {time_writing(repeats, clock):.2f} s")


def time_writing(repeats, clock):
    """Return the seconds of writing the files of one result of 12 megapixels with ragged edges."""
    from freesegdiff.core import Segmentation
    from freesegdiff.export import save

    pixels, regions = make_photo(3000, 4000, 6)
    shift = np.random.default_rng(1).integers(-3, 4, regions.shape)
    ragged = np.take_along_axis(regions, (np.arange(4000) + shift).clip(0, 3999), 1)
    classes = ["background", *"abcde"]
    maps = {"labels": ragged, "regions": regions, "image": Image.fromarray(pixels)}
    texts = {"classes": classes, "words": classes, "caption": "six regions"}
    seg = Segmentation(**maps, **texts, scores=np.full((6, 6), 1 / 6, np.float32), assigned=np.arange(6))
    with tempfile.TemporaryDirectory() as folder:
        return min(time_call(lambda: save(seg, folder, stem="photo"), clock=clock) for _ in range(repeats))


def print_peak(height, width, device):
    """Refine one image of a given size with five labels, and print time and peak memory."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    image = colours.resize((width, height), Image.BICUBIC)
    grid = Image.fromarray(rng.integers(0, 5, (32, 32), dtype=np.uint8))
    labels = np.array(grid.resize((width, height), Image.NEAREST)).astype(np.int64)
    crf, base = DenseCRF(device=device), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time_call(lambda: crf([image], [labels]), device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = f", on the device {torch.cuda.max_memory_allocated() / 2**20:.0f} MB" if device != "cpu" else ""
    print(
        f"{height}x{width}: {seconds:.2f} s, peak memory {(peak - base) / 1024:.0f} MB above {base / 1024:.0f} MB",
        f"(imports, image and label map){on_device}",
    )


def print_memory(device):
    """Print time and peak memory on large images, each in a fresh process."""
    for height, width in ((333, 500), (1024, 1024), (2160, 3840), (4000, 6000)):
        print(run_apart("refine", "print_peak", height, width, device), flush=True)


def main():
    shared = Path(os.environ.get("FREESEGDIFF_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default=shared, type=Path, help="folder with data/authors-clusters")
    parser.add_argument("--scenes", default=3, type=int, help="number of sticker scenes of 512x512 pixels")
    parser.add_argument("--repeats", default=5, type=int, help="number of timed calls")
    parser.add_argument("--threads", default=2, type=int, help="number of CPU threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    parser.add_argument("--ratios", action="store_true", help="print ratios of processor time on one thread instead")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    options = parser.parse_args()
    if options.memory:
        return print_memory(options.device)
    if options.ratios:
        return print_ratios(options.repeats)
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.clock} time, {options.threads} threads, device {options.device},",
        f"{options.repeats} repeats, load {os.getloadavg()[0]:.1f}",
    )
    folder = options.shared / "data" / "authors-clusters"
    if folder.exists():
        compare(list_shared_images(folder), options)
    else:
        print(f"skipped: the authors' clusters are missing ({folder}); set FREESEGDIFF_SHARED")
    compare(make_scenes(options.scenes, 512), options)


if __name__ == "__main__":
    main()
