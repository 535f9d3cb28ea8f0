"""The method as a user would write it with the libraries alone: the rival of `benchmarks/all.py`.

    python benchmarks/rival.py MODELS PHOTO dog cat grass car

It has the stages, models and settings of the preset sd15, image by image: whole networks with hooks, scikit-learn's
K-means, one pass of CLIP per region, and pydensecrf. MODELS is a folder of `tools.write_models`.
"""

import sys
from pathlib import Path

import numpy as np
import open_clip
import pydensecrf.densecrf as dcrf
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from PIL import Image
from pydensecrf.utils import unary_from_labels
from sklearn.cluster import KMeans
from transformers import AutoProcessor, BlipForConditionalGeneration

LAYERS = [("down_blocks", 2, 0), ("down_blocks", 2, 1), ("up_blocks", 1, 0), ("up_blocks", 1, 1), ("up_blocks", 1, 2)]


class Rival:
    """The five stages in one class."""

    def __init__(self, models, device="cpu", dtype=torch.float32, size=512, max_new_tokens=30, layers=LAYERS):
        models, self.device, self.size, self.limit = Path(models), device, size, max_new_tokens
        options = {"variant": "fp16", "dtype": dtype, "safety_checker": None}
        self.diffusion = StableDiffusionPipeline.from_pretrained(models / "diffusion", **options).to(device)
        self.blip = BlipForConditionalGeneration.from_pretrained(models / "captioner", dtype=dtype).to(device).eval()
        self.processor = AutoProcessor.from_pretrained(models / "captioner")
        name = f"local-dir:{models / 'clip16'}"
        options = {"device": device, "require_pretrained": True}
        self.clip, _, self.preprocess = open_clip.create_model_and_transforms(name, **options)
        self.clip, self.tokenizer, self.maps = self.clip.eval().to(dtype), open_clip.get_tokenizer(name), []
        for blocks, block, number in layers:
            attention = getattr(self.diffusion.unet, blocks)[block].attentions[number].transformer_blocks[0].attn2
            attention.to_q.register_forward_hook(lambda module, inputs, output: self.maps.append(output))

    def caption(self, image):
        inputs = self.processor(image, return_tensors="pt").to(self.device, self.blip.dtype)
        tokens = self.blip.generate(**inputs, max_new_tokens=self.limit, num_beams=3)
        return self.processor.batch_decode(tokens, skip_special_tokens=True)[0]

    def features(self, image):
        pixels = np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC))
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device, self.diffusion.dtype) / 127.5 - 1
        latents = self.diffusion.vae.encode(x).latent_dist.mean * self.diffusion.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
        latents = self.diffusion.scheduler.add_noise(latents, noise, torch.tensor([50]))
        prompt = self.diffusion.encode_prompt("", self.device, 1, False)[0]
        self.maps.clear()
        self.diffusion.unet(latents, 50, encoder_hidden_states=prompt)
        sides = [int(m.shape[1] ** 0.5) for m in self.maps]
        maps = [m.transpose(1, 2).unflatten(2, (side, side)).float() for m, side in zip(self.maps, sides)]
        return torch.cat([F.interpolate(m, (32, 32), mode="bilinear") for m in maps], 1)[0]

    def regions(self, features, count, size):
        rows = features.flatten(1).T.cpu().numpy()
        labels = KMeans(count, n_init=10, random_state=0).fit_predict(rows).reshape(features.shape[1:])
        return np.array(Image.fromarray(labels.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))

    def name(self, image, regions, words):
        texts = self.clip.encode_text(self.tokenizer([f"a photo of a {word}" for word in words]).to(self.device))
        best = []
        for region in range(regions.max() + 1):
            crop = Image.fromarray(np.asarray(image) * (regions == region)[..., None])
            view = self.clip.encode_image(self.preprocess(crop)[None].to(self.device, self.blip.dtype))
            best.append(F.cosine_similarity(view, texts).argmax().item())
        return np.array(best)[regions]

    def refine(self, image, labels, count):
        crf = dcrf.DenseCRF2D(image.width, image.height, count)
        crf.setUnaryEnergy(unary_from_labels(labels, count, gt_prob=0.9, zero_unsure=False))
        crf.addPairwiseGaussian(sxy=20, compat=5)
        crf.addPairwiseBilateral(sxy=20, srgb=20, rgbim=np.array(image), compat=100)
        return np.argmax(crf.inference(10), axis=0).reshape(labels.shape)

    @torch.no_grad()
    def __call__(self, image, words):
        """Segment an RGB image into some words; the caption is made, too."""
        caption = self.caption(image)
        regions = self.regions(self.features(image), len(words) + 1, image.size)
        return self.refine(image, self.name(image, regions, words), len(words)), caption


if __name__ == "__main__":
    print(Rival(sys.argv[1])(Image.open(sys.argv[2]).convert("RGB"), sys.argv[3:])[0].shape)
