"""The kinds of fuzz.py: each writes the files of a case into a folder and returns its label and its call."""

import base64
import io
import json
import os
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path

import mutators
import numpy as np
from PIL import Image

# ---- images


def _image(mode, rng, size=None):
    "An image of a mode with some structure."
    width, height = size or (rng.randrange(1, 40), rng.randrange(1, 40))
    noise = np.frombuffer(rng.randbytes(width * height * 4), np.uint8).reshape(height, width, 4)
    if mode in ("F", "I"):
        return Image.fromarray(noise[..., 0].astype(np.float32 if mode == "F" else np.int32) * 300)
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    if mode == "CMYK":
        return Image.frombytes("CMYK", (width, height), noise.tobytes())
    image = Image.fromarray(noise if mode in ("RGBA", "LA") else np.ascontiguousarray(noise[..., :3]))
    return Image.frombytes("LAB", (width, height), noise[..., :3].tobytes()) if mode == "LAB" else image.convert(mode)


MODES = {
    "AVIF": ("RGB", "RGBA"), "BLP": ("P",), "BMP": ("1", "L", "P", "RGB", "RGBA"), "DDS": ("RGB", "RGBA", "L"),
    "DIB": ("RGB",), "EPS": ("RGB", "L"), "GIF": ("P", "L", "RGBA"), "ICNS": ("RGBA",), "ICO": ("RGBA", "P"),
    "IM": ("1", "L", "RGB", "CMYK", "F", "I;16"), "JPEG": ("L", "RGB", "CMYK"), "JPEG2000": ("L", "RGB", "RGBA", "I;16"),
    "MPO": ("RGB",), "MSP": ("1",), "PCX": ("1", "L", "P", "RGB"), "PDF": ("RGB",),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"), "PPM": ("1", "L", "RGB", "I", "F"), "QOI": ("RGB", "RGBA"),
    "SGI": ("L", "RGB", "RGBA"), "SPIDER": ("F",), "TGA": ("L", "LA", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "I", "I;16", "LAB"), "WEBP": ("RGB", "RGBA"), "XBM": ("1",),
}  # fmt: skip


def _options(name, rng, image):
    "Options of a format's writer."
    exif = Image.Exif()
    exif[274] = rng.randrange(0, 10)
    more = [image.resize((8, 8))] * rng.randrange(3)
    return {
        "GIF": {"save_all": True, "append_images": more},
        "JPEG": rng.choice(({"progressive": True}, {"exif": exif}, {"quality": 5, "subsampling": 0})),
        "JPEG2000": rng.choice(({}, {"tile_size": (16, 16)}, {"irreversible": True, "quality_layers": [20]})),
        "MPO": {"save_all": True, "append_images": [image.resize((8, 8))]},
        "PNG": rng.choice(({"exif": exif}, {"save_all": True, "append_images": more}, {"icc_profile": rng.randbytes(200)})),
        "SGI": {"rle": rng.random() < 0.5, "bpc": 1},
        "TGA": {"compression": rng.choice((None, "tga_rle"))},
        "TIFF": rng.choice((
            {}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "packbits"},
            {"tiffinfo": {274: rng.randrange(10)}}, {"save_all": True, "append_images": more},
        )),
        "WEBP": rng.choice(({"lossless": True}, {"save_all": True, "append_images": more}, {"exif": exif})),
    }.get(name, {})  # fmt: skip


@cache
def _headers():
    "Small files of formats that Pillow reads but does not write, and files whose header claims a huge image."
    fits = "".join(f"{line:80}" for line in ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 8", "END"))
    xpm = b'/* XPM */\nstatic char *a[] = {\n"2 2 2 1",\n"a c #ff0000",\n"b c #00ff00",\n"ab",\n"ba"};\n'
    psd = b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x08\0\0\0\x08\0\x08\0\3" + bytes(12) + b"\0\0" + bytes(192)
    sun = b"\x59\xa6\x6a\x95" + b"".join(n.to_bytes(4, "big") for n in (8, 8, 8, 64, 1, 0, 0)) + bytes(64)
    pcx = io.BytesIO()
    Image.new("L", (8, 8)).save(pcx, "PCX")
    dcx = b"\xb1\x68\xde\x3a" + (12).to_bytes(4, "little") + bytes(4) + pcx.getvalue()
    return {"FITS": fits.ljust(2880).encode() + bytes(64), "XPM": xpm, "PSD": psd, "SUN": sun, "DCX": dcx, "XV": b"P7 332\n"}


def images(n, rng, folder):
    "A written image, mutated; now and then whole, under a wrong name, or of a huge or thin size."
    from freesegdiff.image import read_image

    name = rng.choice((*MODES, *_headers()))
    if name in MODES:
        thin = rng.choice([(1, 1), (1, rng.choice((128, 5000))), (rng.choice((128, 5000)), 1)]) if rng.random() < 0.1 else None
        huge = (rng.choice((6000, 9000, 13_000)),) * 2 if rng.random() < 0.004 and name in ("PNG", "TIFF", "WEBP") else None
        mode = rng.choice(MODES[name])
        image, buffer = Image.new(mode, huge) if huge else _image(mode, rng, thin), io.BytesIO()
        try:
            image.save(buffer, name, **({} if huge else _options(name, rng, image)))
        except Exception:  # an option that does not fit the mode
            image.save(buffer, name)
        data = buffer.getvalue()
    else:
        data = _headers()[name]
    if rng.random() < 0.9:
        data = mutators.mutate_png(data, rng) if name == "PNG" and rng.random() < 0.6 else mutators.mutate_bytes(data, rng)
    ending = name.lower() if rng.random() < 0.7 else rng.choice(("jpg", "png", "tif", "bmp", "eps", "gz"))
    path = folder / f"image{n}.{ending}"
    path.write_bytes(data)
    if rng.random() < 0.1:
        return f"{name} as bytes", lambda: read_image(data), None
    return name, lambda: read_image(path), path


# ---- annotations and results


@cache
def _result():
    "A result with three classes."
    from freesegdiff.core import Segmentation

    labels = np.zeros((12, 16), np.int64)
    labels[2:8, 3:9], labels[9:, 10:] = 1, 2
    scores = np.float32([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    image = Image.fromarray(np.uint8(labels * 80)).convert("RGB")
    assigned = np.int64([0, 1, 2])
    return Segmentation(labels, ["background", "cat", "Hund"], "a cat", image, labels, ["cat", "Hund"], scores, assigned)


@cache
def _written():
    "The files that this package writes for a result: name -> content."
    from freesegdiff.export import FORMATS

    with tempfile.TemporaryDirectory() as folder:
        _result().save(folder, tuple(FORMATS), "a")
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def _png(mode="L", size=(16, 12)):
    buffer = io.BytesIO()
    Image.new(mode, size, 1 if mode in ("L", "P", "1") else None).save(buffer, "PNG")
    return buffer.getvalue()


def _coco(rng):
    "A COCO file with all kinds of segmentations."
    box = [3, 2, 9, 2, 9, 8, 3, 8]
    kinds = ([box], [box, [0, 0, 4, 0, 0, 4]], {"size": [12, 16], "counts": [40, 6, 6, 6, 134]}, {"size": [12, 16], "counts": "X16<"})
    notes = [
        {"id": i, "image_id": 1, "category_id": 1 + i % 2, "segmentation": rng.choice(kinds), "iscrowd": 0, "area": 36, "bbox": [3, 2, 6, 6]}
        for i in range(3)
    ]
    pictures = [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}]
    return {"images": pictures, "annotations": notes, "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}


def _labelme(rng):
    "A LabelMe file with all kinds of shapes."
    shapes = [
        {"label": "cat", "points": [[3, 2], [9, 2], [9, 8]], "shape_type": "polygon", "flags": {}, "group_id": None},
        {"label": "dog", "points": [[3, 2], [9, 8]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[3, 2], [9, 2], [9, 8], [3, 8]], "shape_type": "oriented_rectangle"},
        {"label": "sun", "points": [[8, 6], [10, 6]], "shape_type": "circle"},
        {"label": "cat", "points": [[3, 2], [9, 8]], "shape_type": "mask", "mask": base64.b64encode(_png("1", (7, 7))).decode()},
        {"label": "way", "points": [[3, 2], [9, 8]], "shape_type": "linestrip"},
    ]
    data = base64.b64encode(_png("RGB")).decode() if rng.random() < 0.5 else None
    rest = {"imagePath": "a.png", "imageData": data, "imageHeight": 12, "imageWidth": 16}
    return {"version": "5.4.1", "flags": {}, "shapes": rng.sample(shapes, rng.randrange(1, 6)), **rest}


def _geojson(rng):
    ring = [[3, 2], [9, 2], [9, 8], [3, 2]]
    kinds = ({"type": "Polygon", "coordinates": [ring]}, {"type": "MultiPolygon", "coordinates": [[ring], [ring]]})
    features = [{"type": "Feature", "properties": {"class": "cat"}, "geometry": rng.choice(kinds)} for _ in range(2)]
    return {"type": "FeatureCollection", "size": [12, 16], "features": features}


NAMES = "cat, kitten\nGröße\r\ntraffic light\n\n# note\ndog,Dog house\n"


def _annotation_folder(rng, folder):
    "A data set of images and masks, one file of it mutated."
    files = {"images/a.png": _png("RGB"), "masks/a.png": _png(rng.choice(("L", "P", "1", "RGB"))), "classes.txt": NAMES.encode()}
    name = rng.choice(tuple(files))
    files[name] = mutators.mutate_bytes(files[name], rng)
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)


def annotations(n, rng, folder):
    "A mutated file of annotations, and its reader."
    from freesegdiff import annotations as notes
    from freesegdiff.coco import from_coco
    from freesegdiff.datasets import instance_masks, load_dataset
    from freesegdiff.shapes import from_geojson, from_labelme

    kind = rng.choice(("coco", "coco", "coco", "labelme", "labelme", "labelme", "geojson", "geojson", "names", "list", "mask", "masks", "folder"))
    if kind == "folder":
        _annotation_folder(rng, folder)

        def call():
            dataset = load_dataset("folder", folder)
            for item in dataset.items:
                notes.load_image(item), notes.load_target(dataset, item)

        return kind, call, None
    path = folder / f"file{n}.{dict(names='txt', list='txt', mask='png').get(kind, 'json')}"
    if kind == "masks":
        rows = mutators.mutate_value(_coco(rng)["annotations"], rng)
        return kind, lambda: instance_masks(rows, (12, 16)), None
    if kind in ("names", "list"):
        text = NAMES if kind == "names" else "2007_000032\n2007_000039 1\n"
        path.write_bytes(mutators.encode_text(text, rng) if rng.random() < 0.7 else mutators.mutate_bytes(text.encode(), rng))
        return kind, lambda: (notes.read_names if kind == "names" else notes.read_image_list)(path), path
    if kind == "mask":
        data = _png(rng.choice(("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I")))
        path.write_bytes(rng.choice((mutators.mutate_bytes, mutators.mutate_png))(data, rng))
        return kind, lambda: notes.read_mask(path), path
    make, read = {"coco": (_coco, from_coco), "labelme": (_labelme, from_labelme), "geojson": (_geojson, from_geojson)}[kind]
    path.write_bytes(mutators.to_json(mutators.mutate_value(make(rng), rng), rng))
    if rng.random() < 0.3 and kind != "geojson":
        (folder / "a.png").write_bytes(mutators.mutate_bytes(_png("RGB"), rng) if rng.random() < 0.5 else _png("RGB"))
        return kind, lambda: read(path, folder), path
    return kind, lambda: read(path), path


def results(n, rng, folder):
    "The files of a saved result, one of them mutated, and `export.read`."
    from freesegdiff.export import read, read_map

    files = dict(_written())
    name = rng.choice(("a.json", "a.json", "a.json", "a.png", "a_regions.png"))
    if name == "a.json":
        files[name] = mutators.to_json(mutators.mutate_value(json.loads(files[name]), rng), rng)
    elif rng.random() < 0.1:
        del files[name]
    else:
        files[name] = rng.choice((mutators.mutate_bytes, mutators.mutate_png))(files[name], rng)
    for name_of_file, data in files.items():
        (folder / name_of_file).write_bytes(data)
    if name != "a.json" and rng.random() < 0.5:
        return "map", lambda: read_map(folder / name), folder / name
    return "result", lambda: read(folder / "a.json"), folder / "a"


# ---- presets and models

TOML = """
base = "mini"
seed = 3
n_clusters = 4
extra_clusters = 1
captioner = { kind = "fixed", text = "a cat" }
extractor = { size = 64, timestep = 50, layers = ["up.1"] }
clusterer = { kind = "kmeans", n_init = 3 }
refiner = { iterations = 3 }
classifier = { temperature = 1.0 }
vocabulary = { distractors = ["sky"], templates = ["a {}"] }
naming = { rule = "max", threshold = 0.1 }
[card]
description = "mine"
"""
VALUES = (
    '"x"', '""', "nan", "-inf", "-1", "0", "1e308", "9" * 30, "true", "[]", "{}", "[[]]", "1979-05-27", "07:32:00", "{ a = 1 }",
    '["a", 3]', '"\\u0000"', '"../../x"', "0x7fffffffffffffff", "'''\nx\n'''", "{ kind = 3 }", '{ kind = "nothing" }', '"' + "x" * 5000 + '"',
)  # fmt: skip


def presets(n, rng, folder):
    "A TOML file with odd values, and `get_preset`."
    from freesegdiff.presets import get_preset

    lines = TOML.strip().splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        i = rng.randrange(len(lines))
        key, _, value = lines[i].partition(" = ")
        if rng.random() < 0.4 and value.startswith("{"):
            parts = value.strip("{} ").split(", ")
            j = rng.randrange(len(parts))
            parts[j] = f"{parts[j].partition(' = ')[0]} = {rng.choice(VALUES)}"
            lines[i] = f"{key} = {{ {', '.join(parts)} }}"
        else:
            lines[i] = rng.choice((f"{key} = {rng.choice(VALUES)}", f"{key}x = {value}", "", lines[i] + "\n" + lines[i]))
    data = "\n".join(lines).encode()
    path = folder / f"preset{n}.toml"
    path.write_bytes(mutators.encode_text("\n".join(lines), rng) if rng.random() < 0.2 else data)
    return "toml", lambda: get_preset(path), path


@cache
def _models():
    "Tiny random models in the real formats: kind -> folder."
    from freesegdiff import testing

    root = Path(os.environ["FUZZ_MODELS"])
    if not (root / "done").exists():
        testing.write_tiny_diffusion(root / "diffusion")
        testing.write_tiny_captioner(root / "captioner")
        testing.write_tiny_clip(root / "clip")
        testing.write_tiny_vae(root / "vae")
        (root / "done").touch()
    return {name: root / name for name in ("diffusion", "captioner", "clip", "vae")}


def _spoil(path, rng):
    "Damage one file of a model folder."
    change = rng.choice(("value", "value", "value", "bytes", "bytes", "cut", "remove", "folder", "loop", "empty"))
    if path.suffix == ".json" and change == "value":
        path.write_bytes(mutators.to_json(mutators.mutate_value(json.loads(path.read_bytes()), rng), rng))
    elif change in ("value", "bytes"):
        path.write_bytes(mutators.mutate_bytes(path.read_bytes(), rng))
    elif change == "cut":
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size + 1)])
    else:
        path.unlink()
        if change == "folder":
            path.mkdir()
        elif change == "loop":
            path.symlink_to(path)
        elif change == "empty":
            path.touch()
    return f"{path.name} {change}"


MARK = "import pathlib\npathlib.Path(__file__).with_name('code_ran').touch()\n"


def models(n, rng, folder):
    "A model folder with a damaged file, now and then with code of its own, and its loader."
    from freesegdiff.caption import load_captioner
    from freesegdiff.clip import load_clip
    from freesegdiff.features import DiffusionFeatures

    kind = rng.choice(("diffusion", "diffusion", "captioner", "clip"))
    copy = folder / f"model{n}"
    shutil.copytree(_models()[kind], copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
    parts = [path for path in files if path.suffix == ".json"] if rng.random() < 0.7 else files
    label = _spoil(rng.choice(parts), rng)
    if rng.random() < 0.1:
        config = next((path for path in copy.rglob("config.json") if path.is_file()), None)
        if config is not None:
            (config.parent / "own.py").write_text(MARK)
            try:
                content = json.loads(config.read_bytes())
                content["auto_map"] = {"AutoConfig": "own.Own", "AutoModel": "own.Own", "AutoProcessor": "own.Own"}
                config.write_text(json.dumps(content))
            except (ValueError, TypeError):
                pass
    load = {"diffusion": DiffusionFeatures.from_pretrained, "captioner": load_captioner, "clip": load_clip}[kind]

    def call():
        try:
            load(str(copy))
        finally:
            if list(folder.rglob("code_ran")):
                raise RuntimeError("code of the folder ran")

    return f"{kind} {label}", call, None


# ---- texts, made by Hypothesis


def _strategies():
    from hypothesis import strategies as st

    words = st.sampled_from("a cat and two dogs on the grass under sky bus's traffic light-house 3 , . ( \" ' - \t\n \x1b \0 é 猫 🐈".split(" "))
    text = st.one_of(st.text(max_size=300), st.lists(words, max_size=60).map(" ".join), st.text("aä ,\n", max_size=2000))
    names = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=90)
    return {
        "captions": text,
        "classes": st.lists(st.one_of(st.text(max_size=30), words, st.sampled_from(["Cat", "cat", "background", ""])), max_size=30),
        "names": names,
    }


def captions(value, rng, folder):
    "A caption, and the words that are read from it."
    from freesegdiff.core import split_names
    from freesegdiff.steps import build_vocabulary
    from freesegdiff.vocabulary import extract_nouns

    long = value * 200 if rng.random() < 0.01 else value
    call = rng.choice((lambda: extract_nouns(long), lambda: split_names(long), lambda: build_vocabulary(long)))
    return "caption", call, None


def classes(value, rng, folder):
    "A list of classes, and the vocabulary that is made of it."
    from freesegdiff.steps import build_vocabulary
    from freesegdiff.vocabulary import Vocabulary

    call = rng.choice((lambda: Vocabulary(value).prompts(), lambda: build_vocabulary("", value)))
    return "classes", call, None


def names(value, rng, folder):
    "A file name, and everything that is written or read under it."
    from dataclasses import replace

    from freesegdiff.core import write_atomic
    from freesegdiff.image import find_images, read_image

    name = value if rng.random() < 0.5 else value + ".png"
    path = os.path.join(folder, name)
    seg = replace(_result(), path=path)
    made = random.Random(rng.random())

    def call():
        if name not in (".", ".."):
            step = made.choice(("write", "find", "read", "save"))
            if step == "save":
                seg.save(folder)
            if step in ("write", "find"):
                write_atomic(path, "text")
            if step == "find":
                find_images([path])
            if step == "read":
                read_image(path)

    return "name", call, None


KINDS = {
    "images": (images, 3), "annotations": (annotations, 3), "results": (results, 2), "presets": (presets, 1), "models": (models, 4),
    "captions": (captions, 1), "classes": (classes, 1), "names": (names, 1),
}  # fmt: skip
TEXTS = ("captions", "classes", "names")
