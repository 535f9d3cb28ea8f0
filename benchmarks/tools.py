"""Times, ratios, peak memory and random models for the benchmarks."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


def time_call(work, device="cpu", clock=time.perf_counter):
    """Return the seconds of one call; a GPU finishes its work first."""
    start = clock()
    work()
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    return clock() - start


def time_calls(work, repeats, device="cpu"):
    """Return the seconds of each call, (repeats,), after one call to warm up."""
    time_call(work, device)
    return np.array([time_call(work, device) for _ in range(repeats)])


def format_spread(values, digits=2):
    """Format the median, the smallest and the largest of some values."""
    return f"{np.median(values):8.{digits}f} ({values.min():.{digits}f}-{values.max():.{digits}f})"


def read_memory(field):
    """Read a memory figure of this process from Linux, such as VmRSS (now) or VmHWM (peak), in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure_peak(work):
    """Return the megabytes at the peak of `work()` above the memory in use before it."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = read_memory("VmRSS")
    work()
    return (read_memory("VmHWM") - before) / 1024


def run_apart(module, function, *arguments):
    """Call a function of a benchmark in a fresh process and return what it prints."""
    code = f"import {module}; {module}.{function}(*{arguments!r})"
    paths = os.pathsep.join(map(str, (FOLDER, FOLDER.parent)))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout.strip()


def write_diffusion(folder):
    """Write a random Stable Diffusion 1.x in half precision, with the tiny tokenizer of the tests."""
    import torch
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from freesegdiff.denoiser import ARCHITECTURES, VAE_ARCHITECTURE
    from freesegdiff.testing import write_tiny_diffusion

    with tempfile.TemporaryDirectory() as place:
        tiny = StableDiffusionPipeline.from_pretrained(write_tiny_diffusion(place), safety_checker=None)
    tokens = {"vocab_size": 49408, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    tiny.text_encoder = CLIPTextModel(CLIPTextConfig(**sizes, **tokens))
    tiny.vae, tiny.unet = AutoencoderKL(**VAE_ARCHITECTURE), UNet2DConditionModel(**ARCHITECTURES["sd1"])
    tiny.to(torch.float16).save_pretrained(folder, variant="fp16")


def write_captioner(folder):
    """Write a random BLIP base, with a tokenizer of numbered words."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(30517)), "[DEC]", "[ENC]"]
    special = {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, **special)
    ends = {"bos_token_id": 30522, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    model = BlipForConditionalGeneration(BlipConfig(text_config=ends, vision_config={"image_size": 384}))
    model.half().save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(), tokenizer).save_pretrained(folder)


def write_clip(folder, name):
    """Write a random CLIP model in open_clip's format."""
    import open_clip
    from safetensors.torch import save_file

    config = open_clip.get_model_config(name)
    weights = open_clip.CLIP(**config).half().state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / "open_clip_model.safetensors")
    pixels = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    pixels |= {"interpolation": "bicubic", "resize_mode": "shortest"}
    content = {"model_cfg": config, "preprocess_cfg": pixels}
    (folder / "open_clip_config.json").write_text(json.dumps(content))


def write_models(folder, tiny=False):
    """Write random models of the sizes of the preset sd15 and sd15-fast, 3.3 GB, or tiny ones; what is there stays."""
    folder = Path(folder)
    if (folder / "done").exists():
        return folder
    from diffusers import AutoencoderTiny

    from freesegdiff import testing

    if tiny:
        testing.write_tiny_diffusion(folder / "diffusion", variant="fp16")
        testing.write_tiny_captioner(folder / "captioner")
        testing.write_tiny_vae(folder / "taesd")
        for name in ("clip16", "clip32"):
            testing.write_tiny_clip(folder / name)
    else:
        write_diffusion(folder / "diffusion")
        write_captioner(folder / "captioner")
        AutoencoderTiny().save_pretrained(folder / "taesd")
        write_clip(folder / "clip16", "ViT-B-16")
        write_clip(folder / "clip32", "ViT-B-32")
    (folder / "done").touch()
    return folder
