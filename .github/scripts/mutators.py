"""Seeded mutations of bytes, of values from JSON files and of texts, for fuzz.py."""

import json
import struct
import zlib

NUMBERS = (0, 1, -1, 2, 0.5, -0.0, 255, 256, 65_536, 2**31, 2**63, 2**70, -(2**31), 9.2e18, 3e9, 1e308, -1e308, 1e-308)
ODD = (
    None, True, False, "", " ", "x", "3", "\x1b[31m", "a\nb", "\u202eb", "\udcff", "ü" * 300, "../../etc/passwd", "a\0b",
    [], {}, [[]], [{}], [None], {"": None}, [0] * 2000, float("nan"), float("inf"), *NUMBERS,
)  # fmt: skip
WORDS = (0, 1, 2, 3, 16, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 20_000, 60_000)


def _flip(data, rng):
    for _ in range(rng.choice((1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data, rng):
    del data[rng.randrange(len(data)) :]


def _drop(data, rng):
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 4, 16, 200))]


def _splice(data, rng):
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 16, 200))
    part = data[start : start + length]
    at = rng.randrange(len(data) + 1)
    data[at:at] = part * rng.choice((1, 1, 2, 50))


def _fill(data, rng):
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 16, 200))
    data[start : start + length] = bytes([rng.choice((0, 255, rng.randrange(256)))]) * length


def _noise(data, rng):
    start, length = rng.randrange(len(data)), rng.choice((4, 32, 200))
    data[start : start + length] = rng.randbytes(length)


def _lie(data, rng):
    "Overwrite a number in the header."
    kind = rng.choice("<H >H <I >I".split())
    at = rng.randrange(max(1, min(len(data), rng.choice((16, 64, 512))) - 4))
    data[at : at + struct.calcsize(kind)] = struct.pack(kind, rng.choice(WORDS) % 2 ** (8 * struct.calcsize(kind)))


def mutate_bytes(data, rng, rounds=None):
    "Mutate the bytes of a file a few times."
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4)) if rounds is None else rounds):
        if data:
            rng.choice((_flip, _flip, _cut, _drop, _splice, _fill, _noise, _lie, _lie))(data, rng)
    return bytes(data)


def mutate_png(data, rng):
    "Change one chunk of a PNG file and make its checksum right, so that the change is not found by it."
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    i = rng.randrange(len(chunks)) if rng.random() < 0.5 else 0
    name, content = chunks[i]
    if name == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(mutate_bytes(zlib.decompress(content), rng, 1))
    else:
        content = mutate_bytes(content, rng, 1)
    chunks[i] = (name, content)
    if rng.random() < 0.2:
        chunks.insert(1, (rng.choice((b"iCCP", b"zTXt", b"eXIf", b"tRNS", b"acTL", b"PLTE")), rng.randbytes(20)))
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return data[:8] + b"".join(parts)


def list_places(value, parent=None, key=None):
    "List every place in a value from a JSON file."
    yield parent, key
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield from list_places(item, value, key)


def mutate_value(value, rng, rounds=None):
    "Put odd values, missing keys and other shapes into a value from a JSON file."
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3)) if rounds is None else rounds):
        places = [place for place in list_places(value) if place[0] is not None]
        if not places:
            return rng.choice(ODD)
        parent, key = rng.choice(places)
        change = rng.choice(("odd", "odd", "odd", "odd", "drop", "wrap", "swap", "repeat"))
        if change == "odd":
            odd = rng.choice(NUMBERS if isinstance(parent[key], int | float) and rng.random() < 0.6 else ODD)
            parent[key] = json.loads(json.dumps(odd))
        elif change == "drop":
            del parent[key]
        elif change == "wrap":
            parent[key] = rng.choice(([parent[key]], {"a": parent[key]}, str(parent[key])))
        elif change == "swap":
            other, name = rng.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                parent[key] = json.loads(json.dumps(other[name]))
        elif isinstance(parent, list):
            parent[key:key] = [parent[key]] * rng.choice((1, 3, 100))
        else:
            parent[f"{key}_"] = parent[key]
    return value


def encode_text(text, rng):
    "Encode a text in one of the ways that are found in files, now and then damaged."
    how = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "gbk"))
    data = text.encode(how, "replace" if how != "utf-8" else "surrogatepass")
    return mutate_bytes(data, rng, 1) if rng.random() < 0.3 else data


def to_json(value, rng):
    "Write a value as the bytes of a JSON file, now and then in another encoding or damaged."
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.02:
        text = "[" * 100_000 + text
    return encode_text(text, rng) if rng.random() < 0.4 else text.encode("utf-8", "surrogatepass")
