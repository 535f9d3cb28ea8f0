"""Draw nbs/images/method.png, the figure of the front page, with the miniature's models.

    python .github/scripts/method_figure.py

The scene is fixed by a rule, not by taste: the first one of the fixed evaluation set with two kinds of objects, each of
which is found with an IoU over 0.8. The script prints its number, and how many pixels are right in the scenes around it.
"""

import statistics
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from freesegdiff import FreeSegDiff
from freesegdiff.colours import class_colours, make_palette
from freesegdiff.lettering import letter, load_font, measure_box, place_box, write_box
from freesegdiff.stickers import canonical_name, load_evaluation_set, OBJECTS
from freesegdiff.viz import draw_overlay, find_anchors, list_used, project_pca

SIDE, GAP, TITLE, TEXT = 384, 20, 36, 27  # pixels: panel, space between panels, letters
SCENES, FOUND = 60, 0.8  # scenes that are looked at; least IoU of an object
INK, SOFT = (25, 25, 25), (90, 90, 90)


def measure(scene, seg):
    "Share of the pixels whose class is that of the scene, number of kinds of objects, and their least IoU."
    target = np.array([canonical_name(name) for name in scene.names], object)[scene.instances]
    found = np.array([canonical_name(name) for name in seg.classes], object)[seg.labels]
    kinds = {canonical_name(name) for name in scene.names} & set(OBJECTS)
    ious = [((target == kind) & (found == kind)).sum() / ((target == kind) | (found == kind)).sum() for kind in kinds]
    return float((target == found).mean()), len(kinds), min(ious)


def choose_scene(pipe):
    "Find the first scene that fits the rule; print its number."
    scenes = load_evaluation_set("seen", SCENES)
    results = [pipe(scene.image, return_features=True) for scene in scenes]
    shares, kinds, least = zip(*(measure(scene, seg) for scene, seg in zip(scenes, results)))
    fit = [i for i in range(SCENES) if kinds[i] > 1 and least[i] > FOUND]
    print(f"scene {fit[0]}: {shares[fit[0]]:.1%} of the pixels are right; median of {SCENES} scenes {statistics.median(shares):.1%}")
    print(f"scenes that fit the rule: {fit}; caption: {results[fit[0]].caption}")
    return results[fit[0]]


def enlarge(image):
    "An image or map at the size of a panel."
    smooth = isinstance(image, Image.Image)
    image = image if smooth else Image.fromarray(image)
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST)


def write_names(panel, labels, names, colours):
    "Write names on a panel at a size that a narrow page shows well."
    for i, (x, y) in find_anchors(labels).items():
        text, font = letter(names[i], i, TEXT + 3, SIDE - 20)
        corner = place_box((x, y), measure_box(text, font), panel.size)
        write_box(ImageDraw.Draw(panel), text, font, corner, colours[i].tolist())
    return panel


def draw_panels(seg):
    "The five panels, each with title and text."
    large = lambda values: np.asarray(enlarge(np.asarray(values, np.uint8))).astype(int)
    image, regions = enlarge(seg.image), large(seg.regions)
    colours = class_colours(seg.classes, list_used(seg.labels, seg.assigned))
    clusters = make_palette(int(regions.max()) + 2)[1:]
    numbers = ["", *map(str, range(int(regions.max()) + 1))]
    overlay = lambda labels: write_names(
        draw_overlay(image, labels, seg.classes, names=False, colours=colours), labels, seg.classes, colours
    )
    numbered = write_names(Image.fromarray(clusters[regions]), regions + 1, numbers, np.concatenate([clusters[:1], clusters]))
    return [
        (image, "1 Caption", f"A captioner says: \u201c{seg.caption}\u201d"),
        (enlarge(project_pca(seg.features)), "2 Features", "A diffusion model sees alike what belongs together"),
        (numbered, "3 Clusters", "K-means finds regions without names"),
        (overlay(large(seg.assigned[seg.regions])), "4 Names", "CLIP gives each region a noun of the caption"),
        (overlay(large(seg.labels)), "5 Edges", "A CRF moves borders to those of the image"),
    ]


def draw_figure(seg):
    "All panels in one image."
    panels = draw_panels(seg)
    texts = [textwrap.wrap(text, 24) for _, _, text in panels]
    width, line = len(panels) * (SIDE + GAP) + GAP, round(1.35 * TEXT)
    figure = Image.new("RGB", (width, 2 * GAP + 60 + SIDE + GAP + line * max(map(len, texts))), "white")
    draw = ImageDraw.Draw(figure)
    for i, ((panel, title, _), lines) in enumerate(zip(panels, texts)):
        x = GAP + i * (SIDE + GAP)
        draw.text((x, GAP), title, font=load_font(title, TITLE), fill=INK)
        figure.paste(panel, (x, GAP + 60))
        for row, text in enumerate(lines):
            draw.text((x, GAP + 60 + SIDE + GAP // 2 + row * line), text, font=load_font(text, TEXT), fill=SOFT)
    return figure


if __name__ == "__main__":
    path = Path(__file__).parents[2] / "nbs" / "images" / "method.png"
    figure = draw_figure(choose_scene(FreeSegDiff.from_preset("mini", device="cpu")))
    figure.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, "PNG", optimize=True)
    print(f"{path.name}: {figure.width} x {figure.height} pixels, {path.stat().st_size:,} bytes")
