#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes fuzz/seeds/TARGET/NAME: small files of each format, sound ones and ones that lie.

usage: fuzz/make_seeds.py   (needs nothing but Python)
"""

import gzip
import json
import pathlib
import struct

SEEDS = pathlib.Path(__file__).parent / "seeds"


def write(target, name, content):
    path = SEEDS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, str) else json.dumps(header)
    text += " " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text.encode() + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors():
    weights = {"weight": entry("F32", [1, 2], 0, 8), "bias": entry("F32", [1], 8, 12)}
    data = struct.pack("<3f", 1.5, -2.5, 3.5)
    files = {
        "model": (weights, data),
        "model_metadata": ({"__metadata__": {"generation": "12", "é\n": ""}, **weights}, data),
        "infinite": (weights, struct.pack("<3f", 1, float("inf"), 2)),
        "types": (
            {"i": entry("I32", [2], 4, 12), "b": entry("BF16", [2, 1], 0, 4)},
            struct.pack("<2H2i", 0x3F80, 0xBF80, -1, 7),
        ),
        "others": (
            {"h": entry("F16", [1], 0, 2), "n": entry("F4", [2], 2, 3), "o": entry("BOOL", [1], 3, 4)},
            bytes(4),
        ),
        "empty": ({}, b""),
        "none_and_scalar": ({"none": entry("F32", [0, 5], 0, 0), "one": entry("F32", [], 0, 4)}, bytes(4)),
        "hole": ({"a": entry("F32", [1], 4, 8)}, bytes(8)),
        "overlap": ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 2, 6)}, bytes(6)),
        "overflow": ({"a": entry("F32", [2**62, 4], 0, 4)}, bytes(4)),
    }
    for name, (header, values) in files.items():
        write("safetensors", name, safetensors(header, values))
    write("safetensors", "twice", safetensors('{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"1"))
    write("safetensors", "huge_header", safetensors(weights, data, 2**63))
    write("safetensors", "short_header", safetensors(weights, data, 5))


def write_checkpoints():
    tensors = {
        "parameters/weight": entry("F32", [1, 2], 0, 8),
        "optimizer/0/weight": entry("F32", [1, 2], 8, 16),
        "parameters/bias": entry("F32", [1], 16, 20),
        "optimizer/0/bias": entry("F32", [1], 20, 24),
    }
    said = {"eggroll_checkpoint": "1", "library": "0.1.0", "generation": "7", "updates": "6"}
    said |= {"lr": "0.05", "sigma": "0.02"}
    data = struct.pack("<6f", 1.5, -2.5, 0, 1, 3.5, 0.25)
    files = {
        "run": said,
        "notes": said | {"notes.batch": "64", "checksum": "00000000"},
        "another": said | {"run.seed": "1"},
        "format": said | {"eggroll_checkpoint": "2"},
        "never": said | {"updates": "8", "sigma": "-1"},
        "nothing": {"eggroll_checkpoint": "1"},
    }
    for name, metadata in files.items():
        write("checkpoint", name, safetensors({"__metadata__": metadata, **tensors}, data))


def write_json():
    texts = {
        "strings": '{"a": "b", "": "", "\\u00e9\\ud83e\\udd5a": "\\"\\\\\\/\\b\\f\\n\\r\\t"}',
        "numbers": "[0, 1, 20, 9223372036854775807]",
        "nothing": " {} ",
        "no_numbers": "[\t\r\n]",
        "fractions": "[1.5, 1e3, -2, 01]",
        "nested": '{"a": {"b": [1, {"c": null}]}, "d": true}',
        "half_pair": '{"\\ud83e": "\\udd5a"}',
        "utf8": '{"größe": "世界 🥚"}',
    }
    for name, text in texts.items():
        write("json", name, text)


def npy(header, data=b"", version=1, length=None):
    text = (header if isinstance(header, bytes) else header.encode()) + b"\n"
    field = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + field + text + data


def npy_header(descr, shape, fortran=False):
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


def write_npy():
    floats = struct.pack("<6f", 0, 1, -2, 3.5, 4, 5)
    files = {
        "f4": npy(npy_header("<f4", (2, 3)), floats),
        "f4_fortran": npy(npy_header("<f4", (2, 3), True), floats),
        "f4_version2": npy(npy_header("<f4", (6,)) + " " * 40, floats, 2),
        "f4_version3": npy(npy_header("<f4", (1, 2, 3, 1)), floats, 3),
        "f8": npy(npy_header("<f8", (2,)), struct.pack("<2d", 1 / 3, -1e30)),
        "f8_beyond": npy(npy_header("<f8", (1,)), struct.pack("<d", 1e300)),
        "i4": npy(npy_header("<i4", (2,)), struct.pack("<2i", -1, 7)),
        "i8": npy(npy_header("<i8", ()), struct.pack("<q", -5)),
        "i8_beyond": npy(npy_header("<i8", (1,)), struct.pack("<q", 2**40)),
        "u1": npy(npy_header("|u1", (3, 1)), bytes([0, 128, 255])),
        "i2": npy(npy_header("<i2", (2,)), struct.pack("<2h", -3, 3)),
        "b1": npy(npy_header("|b1", (2,)), bytes([0, 1])),
        "empty": npy(npy_header("<f4", (0, 2**40))),
        "nan": npy(npy_header("<f4", (1,)), struct.pack("<f", float("nan"))),
        "big_endian": npy(npy_header(">f4", (1,)), bytes(4)),
        "claims": npy(npy_header("<f4", (2**31, 2**31)), floats),
        "other_spelling": npy('{"shape":(3,2),"descr":"<f4","fortran_order":True}  ', floats),
        "structured": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)),
        "long_header": npy(npy_header("<f4", (1,)), bytes(4), 2, 2**31),
    }
    for name, content in files.items():
        write("npy", name, content)


def idx(shape, data=b"", kind=8):
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def write_idx():
    images = idx((2, 1, 3), bytes(range(6)))
    labels = idx((4,), bytes([0, 9, 1, 2]))
    packed = gzip.compress(idx((64,), bytes(range(64))), mtime=0)
    files = {
        "images": images,
        "labels": labels,
        "images_gz": gzip.compress(images, mtime=0),
        "labels_gz": gzip.compress(labels, mtime=0),
        "two_members_gz": gzip.compress(labels[:6], mtime=0) + gzip.compress(labels[6:], mtime=0),
        "zeros_gz": gzip.compress(idx((4000,), bytes(4000)), mtime=0),
        "cut_gz": packed[:-9],
        "checksum_gz": packed[:-5] + b"\0" + packed[-4:],
        "none": idx((0,)),
        "few": idx((5,), b"1234"),
        "claims": idx((2**32 - 1,)),
        "overflow": idx((2**32 - 1, 2**32 - 1, 2)),
        "floats": idx((1,), bytes(4), 13),
    }
    for name, content in files.items():
        write("idx", name, content)


# Overlong, surrogates, beyond the last; and what is just good.
EDGES_OF_UTF8 = [
    *(b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80"),
    b"\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
]


def write_text():
    # The first byte says whose text it is: its value modulo 6.
    for reader, texts in enumerate(
        [
            ["8", "1024", "1025", "+1", "007", "4 ", "99999999999999999999"],
            ["max 100000", "200000 100000", "-1 100000", "1e300 1", "nan nan"],
            ["avx2", "baseline", "avx512", "AVX2", "native"],
            ["256x3", "64-128-10", "1x", "4--4", "0x1", "1048576-1"],
            ["plain", 'quoted "text" \\', "größe 世界 🥚", "\x01\x7f\n"] + EDGES_OF_UTF8,
            [b"\xdb\x0fI@\x18-DT\xfb!\t@", b"\x01\0\0\0\x01\0\0\0\0\0\0\0"],
        ]
    ):
        for number, text in enumerate(texts):
            content = text if isinstance(text, bytes) else text.encode()
            write("text", f"{reader}_{number}", bytes([ord("0") + reader]) + content)


def write_options():
    lines = {
        "example": ["--steps", "10", "--pop-size=64", "--sigma", "0.02", "--lr", "1e-3", "--rank", "4"],
        "example_rest": ["--seed", "18446744073709551615", "--threads", "2", "--json"],
        "example_odd": ["--pop-size", "3"],
        "example_nan": ["--sigma", "nan", "--lr=-inf"],
        "example_negative": ["--seed=-1"],
        "sweep": ["--pop", "64,1024", "--rank", "1,4", "--work", "forward,step", "--repeat", "1"],
        "archs": ["--arch", "256x3,64-128-10", "--warmup", "0"],
        "pops": ["--pop", "4294967296", "--pop", "2e0", "--pop", "0x10"],
        "help": ["--help"],
        "unknown": ["--what", "-x", "--"],
    }
    for name, arguments in lines.items():
        write("options", name, "\n".join(arguments))


if __name__ == "__main__":
    write_safetensors()
    write_checkpoints()
    write_json()
    write_npy()
    write_idx()
    write_text()
    write_options()
