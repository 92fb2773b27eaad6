# SPDX-License-Identifier: MIT
"""Files pass from NumPy to libeggroll and back.

usage: npy_test.py PATH/TO/npy_tool   (needs numpy)
"""

import os
import subprocess
import sys
import tempfile

import numpy as np

DTYPES = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
SHAPES = [(), (0,), (1,), (6,), (2, 3), (3, 0, 2), (4, 1, 5), (2, 3, 4, 5), (70, 90)]


def random_array(generator, dtype, shape):
    """Values over all of the type's range that ours can hold."""
    if dtype == "f4":
        value = generator.integers(0, 2**32, size=shape, dtype=np.uint32).view(np.float32)
        return np.where(np.isfinite(value), value, np.float32(-0.0))
    if dtype == "f8":
        return np.asarray(generator.normal(size=shape) * 10.0 ** generator.integers(-50, 38, size=shape))
    if dtype == "?":
        return np.asarray(generator.integers(0, 2, size=shape) == 1)
    kind = np.iinfo(dtype)
    low, high = max(kind.min, -(2**31)), min(kind.max, 2**31 - 1)
    return np.asarray(generator.integers(low, high, size=shape, endpoint=True)).astype(dtype)


def run(tool, source, copy):
    return subprocess.run([tool, source, copy], capture_output=True, text=True, timeout=60)


def check_passes(tool, source, copy, value):
    result = run(tool, source, copy)
    assert result.returncode == 0, result.stderr
    back = np.load(copy, allow_pickle=False)
    wanted = np.ascontiguousarray(value.astype("<f4" if value.dtype.kind == "f" else "<i4"))
    assert back.dtype == wanted.dtype, (back.dtype, wanted.dtype)
    assert back.shape == value.shape, (back.shape, value.shape)
    assert back.flags["C_CONTIGUOUS"]
    assert back.tobytes() == wanted.reshape(value.shape).tobytes(), (value.dtype, value.shape)


def check_refused(tool, source, copy, *words):
    if os.path.exists(copy):
        os.remove(copy)
    result = run(tool, source, copy)
    assert result.returncode == 1, (result.returncode, words)
    assert result.stderr.count("\n") == 1, result.stderr
    assert not os.path.exists(copy)
    for word in words:
        assert word in result.stderr, (word, result.stderr)


def main():
    tool = os.path.abspath(sys.argv[1])
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "source.npy")
        copy = os.path.join(directory, "copy.npy")
        for dtype in DTYPES:
            for shape in SHAPES:
                for order in "CF":
                    value = random_array(generator, dtype, shape)
                    np.save(source, np.asarray(value, order=order))
                    check_passes(tool, source, copy, value)
        value = random_array(generator, "f4", (3, 4))
        for version in [(1, 0), (2, 0), (3, 0)]:
            with open(source, "wb") as file:
                np.lib.format.write_array(file, value, version=version)
            check_passes(tool, source, copy, value)
        np.save(source, random_array(generator, "i8", (50, 40))[::2, 5:])  # not contiguous
        check_passes(tool, source, copy, np.load(source))

        def refused(array, *words, **options):
            np.save(source, array, **options)
            check_refused(tool, source, copy, *words)

        refused(value.astype(">f4"), ">f4", "big-endian")
        refused(np.zeros(2, dtype="f2"), "<f2")
        refused(value.astype("c8"), "<c8")
        refused(np.array(["text"]), "<U4")
        refused(np.array([None]), "|O", allow_pickle=True)
        refused(np.zeros(2, dtype=[("a", "f4")]), "structured")
        refused(np.array([1, np.nan]), "element 1", "nan")
        refused(np.array([2**40]), "element 0", str(2**40))
        with open(source, "wb") as file:
            np.save(file, value)
            np.save(file, value)
        check_refused(tool, source, copy, "takes 48 bytes")
    print("npy: files pass both ways")


if __name__ == "__main__":
    main()
