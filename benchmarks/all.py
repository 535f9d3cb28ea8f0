"""All benchmarks that compare the pipeline with what the hardware needs, and the page of the site with their figures.

    python benchmarks/all.py                      # writes nbs/notes/benchmarks.qmd; 7 GB of memory, about ten minutes
    python benchmarks/all.py --only start stream  # some parts, printed only
    python benchmarks/all.py --busy               # CPU seconds on one thread, for a machine with other work
    python benchmarks/all.py --tiny               # tiny models: whether everything runs, within a minute

The models of sd15 and sd15-fast have their full sizes and random weights, which cost what trained ones cost. They are
written once, into --models. Each part runs in a process of its own; a ratio is taken within one run, of the shortest
of the repeats. Parts that need a GPU are skipped where there is none, and say so.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

from tools import run_apart, time_call, write_models

WORDS = ["dog", "cat", "grass", "car"]
INTRODUCTION = """---
title: Benchmarks
---

How long the pipeline takes, against what the hardware needs for the same networks. Made by `python benchmarks/all.py`
on {machine}: {clock}, {repeats}.

The models of sd15 and sd15-fast have their full sizes and random weights. *Forward passes* are the captioner's with its
token loop, the VAE's encoder, the UNet to the last layer that is read, and CLIP's for all regions, alone. The *plain
script*, `benchmarks/rival.py`, is the method in about 80 lines with the libraries alone: diffusers with hooks,
scikit-learn, open_clip region by region, pydensecrf. All get the same photo of 500 x 333 pixels and the same caption.

| what | ratio | goal | seconds |
| --- | --- | --- | --- |
"""
PAGE = Path(__file__).resolve().parent.parent / "nbs/notes/benchmarks.qmd"


def set_clock(busy):
    """Return the clock of a measurement; on a busy machine CPU seconds of one thread."""
    import torch

    if busy:
        torch.set_num_threads(1)
    return time.process_time if busy else time.perf_counter


def make_photo():
    """Return a scene at the size of a photo of Pascal VOC."""
    from freesegdiff.image import find_sample, read_image

    return read_image(find_sample("beach")).resize((500, 333))


def load_pipeline(models, preset, device, dtype, tiny):
    """Return a preset's pipeline on random models, with a fixed caption after the captioner's, and the captioner."""
    from freesegdiff import FreeSegDiff

    clip = "clip16" if preset == "sd15" else "clip32"
    folders = {"diffusion": f"{models}/diffusion", "captioner": f"{models}/captioner", "clip": f"{models}/{clip}"}
    folders |= {"vae": f"{models}/taesd"} if preset == "sd15-fast" else {}
    small = {"size": 32, "layers": ("up.0.attn.0.cross.query",)} if tiny else {}
    pipe = FreeSegDiff.from_preset(preset, device=device, dtype=dtype, **folders, **small)
    captioner = pipe.captioner
    captioner.max_new_tokens = 12  # about the length of a caption; random weights would never stop

    def speak(images, prepared=None):
        captioner(images, prepared)
        return [f"a {WORDS[0]} and a {WORDS[1]} on {WORDS[2]} next to a {WORDS[3]}"] * len(images)

    pipe.captioner = speak
    return pipe, captioner


def list_forwards(pipe, captioner, images, regions):
    """Return the forward passes that the pipeline cannot avoid, by name; `regions` is the number of CLIP's crops."""
    import torch

    from freesegdiff.caption import caption_batch

    extractor, clip = pipe.extractor, pipe.classifier
    pixels = [captioner.prepare(image) for image in images]
    names = ("prompt", "max_new_tokens", "min_new_tokens", "num_beams")
    settings = {name: getattr(captioner, name) for name in names}
    weight = next(extractor.vae.parameters())
    x = torch.zeros(len(images), 3, extractor.size, extractor.size).to(weight)
    side = extractor.size // extractor.scale
    latents = torch.randn(len(images), 4, side, side).to(extractor.prompt)
    prompt = extractor.prompt.expand(len(images), -1, -1)
    views = torch.stack([clip.preprocess(images[0])] * regions).to(next(clip.model.parameters()))
    return {
        "BLIP": lambda: caption_batch(captioner.model, captioner.processor, images, pixels=pixels, **settings),
        "VAE": lambda: extractor.vae.encode(x),
        "UNet": lambda: extractor.unet(latents, 50, encoder_hidden_states=prompt, return_dict=False),
        "CLIP": lambda: clip.model.encode_image(views),
    }


def measure_pipeline(models, preset, device, batch, repeats, busy, tiny):
    """Print the seconds of a pipeline, and of the forward passes of its networks."""
    import torch

    clock, dtype = set_clock(busy), "float32" if device == "cpu" else "float16"
    pipe, captioner = load_pipeline(models, preset, device, dtype, tiny)
    images = [make_photo()] * batch
    run = (lambda: pipe(images[0])) if batch == 1 else (lambda: list(pipe.stream(images, batch_size=batch)))
    result = pipe(images[0])
    with torch.inference_mode():
        parts = list_forwards(pipe, captioner, images, batch * (int(result.regions.max()) + 1))
        times = {name: [] for name in ("pipeline", *parts)}
        for _ in range(repeats + (device != "cpu")):
            for name, call in {"pipeline": run, **parts}.items():
                times[name].append(time_call(call, device, clock))
    best = {name: min(values) for name, values in times.items()}
    print(json.dumps({"pipeline": best.pop("pipeline"), "forwards": sum(best.values()), "parts": best}))


def measure_rival(models, device, batch, repeats, busy, tiny):
    """Print the seconds of the plain script for some images."""
    import torch
    from rival import Rival

    clock, photo = set_clock(busy), make_photo()
    dtype = torch.float32 if device == "cpu" else torch.float16
    small = {"size": 32, "layers": [("up_blocks", 0, 0)]} if tiny else {}
    rival = Rival(models, device, dtype, max_new_tokens=12, **small)
    run = lambda: [rival(photo, WORDS) for _ in range(batch)]
    print(json.dumps({"rival": min(time_call(run, device, clock) for _ in range(repeats))}))


def measure_stream(count):
    """Print the seconds of reading, computing and writing some photos of 3 megapixels, apart and as a stream."""
    from freesegdiff import FreeSegDiff
    from freesegdiff.image import find_sample, read_image
    from freesegdiff.prefetch import open_executor, write_behind

    pipe = FreeSegDiff.from_preset("mini", device="cpu")
    pipe.domain_check = None
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.jpg" for i in range(count)]
        for path in paths:
            read_image(find_sample("beach")).resize((2000, 1500)).save(path, quality=95)
        pipe(paths[0])
        write, times = (lambda seg: seg.save(f"{folder}/out")), {}
        images, results = [], []
        times["read"] = time_call(lambda: images.extend(map(read_image, paths)))
        times["compute"] = time_call(lambda: results.extend(pipe.stream(images, batch_size=4)))
        times["write"] = time_call(lambda: list(map(write, results)))
        with open_executor(0) as writers:
            stream = write_behind(write, pipe.stream(paths, batch_size=4), writers, 4)
            times["stream"] = time_call(lambda: list(stream))
    print(json.dumps(times))


def measure_mini(count, busy):
    """Print the seconds of the bundled miniature for some images of 128 pixels."""
    from freesegdiff import FreeSegDiff
    from freesegdiff.stickers import load_evaluation_set

    clock, pipe = set_clock(busy), FreeSegDiff.from_preset("mini", device="cpu")
    images = [scene.image for scene in load_evaluation_set("seen")[:count]]
    list(pipe.stream(images[:8]))
    print(json.dumps({"seconds": time_call(lambda: list(pipe.stream(images)), clock=clock), "images": count}))


def measure_start(repeats):
    """Print the CPU seconds of a first image on the command line, and those of importing its libraries."""
    import subprocess
    import sys

    libraries = "import torch, open_clip, sklearn.cluster; from diffusers import AutoencoderKL, UNet2DConditionModel"
    libraries += "; from transformers import BlipForConditionalGeneration, BlipProcessor"
    command = "from freesegdiff.cli import main; from freesegdiff.image import find_sample"
    times = {"imports": [], "segment": []}
    for _ in range(repeats):
        for name in times:
            with tempfile.TemporaryDirectory() as folder:
                words = f"['segment', str(find_sample('beach')), '--preset', 'mini', '--out', {folder!r}]"
                call = f"{command}; main({words})"
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                program = call if name == "segment" else libraries
                subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                times[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(json.dumps({name: min(values) for name, values in times.items()}))


def call_part(function, *arguments):
    """Run one part in a process of its own and return what it measured."""
    return json.loads(run_apart("all", function, *arguments).splitlines()[-1])


def compare_models(models, device, batch, options):
    """Return rows for sd15, sd15-fast and the rival on one device."""
    rest = (batch, options.repeats, options.busy, options.tiny)
    rows, limits = [], {"sd15": 1.05, "sd15-fast": 1.08} if device == "cpu" else {"sd15": 1.25, "sd15-fast": 1.25}
    rival = call_part("measure_rival", str(models), device, *rest)["rival"]
    gains = {"sd15": 1.2, "sd15-fast": 2} if device == "cpu" else {"sd15": 10, "sd15-fast": 10}
    place = "CPU, float32, one image" if device == "cpu" else f"GPU, float16, {batch} images"
    for preset, limit in limits.items():
        got = call_part("measure_pipeline", str(models), preset, device, *rest)
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in got["parts"].items())
        pair = f"{got['pipeline']:.2f} s / {got['forwards']:.2f} s ({parts})"
        ratio, what = got["pipeline"] / got["forwards"], f"{preset} / its forward passes ({place})"
        rows.append((what, ratio, f"<= {limit}", pair))
        pair = f"{rival:.2f} s / {got['pipeline']:.2f} s"
        rows.append((f"plain script / {preset} ({place})", rival / got["pipeline"], f">= {gains[preset]}", pair))
    return rows


def list_parts(options):
    """Return the parts by name: functions that return rows of name, ratio, goal and seconds."""
    count = 8 if options.tiny else 24

    def cpu():
        return compare_models(write_models(options.models, options.tiny), "cpu", 1, options)

    def gpu():
        import torch

        if not torch.cuda.is_available():
            print("skipped: no GPU", flush=True)
            return [("sd15 and sd15-fast on a GPU", None, "<= 1.25, >= 10", "skipped: no GPU")]
        return compare_models(write_models(options.models, options.tiny), "cuda", 8, options)

    def stream():
        got = call_part("measure_stream", count // 2)
        alone = got["read"] + got["compute"] + got["write"]
        steps = ", ".join(f"{name} {got[name]:.2f}" for name in ("read", "compute", "write"))
        pair, what = f"{got['stream']:.2f} s / {alone:.2f} s ({steps})", f"mini, {count // 2} photos of 3 megapixels"
        return [(f"stream / sum of its steps ({what})", got["stream"] / alone, "< 1", pair)]

    def mini():
        got = call_part("measure_mini", 2 * count, options.busy)
        pair = f"{got['images']} images, {got['seconds']:.2f} s"
        return [("mini, images per second", got["images"] / got["seconds"], "", pair)]

    def start():
        got = call_part("measure_start", min(2, options.repeats))
        pair = f"{got['segment']:.2f} s / {got['imports']:.2f} s, CPU"
        return [("`segment` of one image with mini / bare imports", got["segment"] / got["imports"], "", pair)]

    return {"start": start, "mini": mini, "stream": stream, "gpu": gpu, "cpu": cpu}


def write_page(rows, options, page):
    """Write the page of the site."""
    import torch

    clock = "CPU seconds on one thread, since the machine was busy" if options.busy else "wall-clock seconds"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__}"
    table = []
    for what, ratio, goal, pair in rows:
        table.append(f"| {what} | {'' if ratio is None else f'{ratio:.2f}'} | {goal} | {pair} |")
    repeats = "one repeat" if options.repeats == 1 else f"the shortest of {options.repeats} repeats"
    text = INTRODUCTION.format(machine=machine, clock=clock, repeats=repeats)
    Path(page).write_text(text + "\n".join(table) + "\n", encoding="utf-8")


def main():
    """Run the parts, print their rows, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=Path(tempfile.gettempdir()) / "freesegdiff-random-models", type=Path)
    parser.add_argument("--repeats", default=3, type=int, help="number of timed calls")
    parser.add_argument("--busy", action="store_true", help="CPU seconds on one thread")
    parser.add_argument("--tiny", action="store_true", help="tiny models; no page")
    parser.add_argument("--only", nargs="+", help="names of parts; no page")
    parser.add_argument("--page", type=Path, help="file to write; without --only and --tiny that of the site")
    options = parser.parse_args()
    options.models = options.models / "tiny" if options.tiny else options.models
    parts = list_parts(options)
    rows = []
    for name in options.only or parts:
        rows += (new := parts[name]())
        for what, ratio, goal, pair in new:
            print(f"{what}: {'' if ratio is None else f'{ratio:.3f}'} {goal}; {pair}", flush=True)
    page = options.page or (None if options.only or options.tiny else PAGE)
    if page:
        write_page(rows, options, page)


if __name__ == "__main__":
    main()
