# SPDX-License-Identifier: MIT
"""Files pass both ways between libeggroll and Python's safetensors package.

usage: safetensors_test.py PATH/TO/safetensors_tool   (needs safetensors and numpy)
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
import safetensors
import safetensors.numpy

# What tests/safetensors_tool.cpp builds.
SHAPES = {
    "0.weight": (4, 3),
    "0.bias": (4,),
    "2.weight": (4,),
    "2.bias": (4,),
    "3.weight": (2, 4),
    "3.bias": (2,),
}


def run(tool, verb, path):
    return subprocess.run([tool, verb, path], capture_output=True, text=True, timeout=60)


def parse(output):
    """The tool's lines as a dictionary of arrays."""
    tensors = {}
    for line in output.splitlines():
        name, shape, *values = line.split(" ")
        extents = tuple(int(extent) for extent in shape.strip("()").split(",") if extent)
        values = [float.fromhex(value) for value in values]
        tensors[name] = np.array(values, dtype=np.float32).reshape(extents)
    return tensors


def require_same(ours, theirs):
    assert list(ours) == list(SHAPES), list(ours)
    assert set(ours) == set(theirs), (list(ours), list(theirs))
    for name, value in ours.items():
        assert value.shape == theirs[name].shape == SHAPES[name], name
        assert theirs[name].dtype == np.float32, name
        assert value.tobytes() == theirs[name].tobytes(), f"{name} differs"


def random_tensors(seed):
    """Bit patterns of all finite floats, denormals and both zeros among them."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in SHAPES.items():
        value = generator.integers(0, 2**32, size=shape, dtype=np.uint32).view(np.float32)
        tensors[name] = np.where(np.isfinite(value), value, np.float32(-0.0))
    tensors["0.bias"][:2] = np.float32(1e-45), np.float32(-0.0)
    return tensors


def check_they_read_ours(tool, path):
    result = run(tool, "write", path)
    assert result.returncode == 0, result.stderr
    require_same(parse(result.stdout), safetensors.numpy.load_file(path))
    with safetensors.safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(SHAPES)
        assert not file.metadata()
    with open(path, "rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    assert header_bytes % 8 == 0, "the data is not aligned"


def check_we_read_theirs(tool, path, tensors, metadata=None):
    safetensors.numpy.save_file(tensors, path, metadata=metadata)
    result = run(tool, "read", path)
    assert result.returncode == 0, result.stderr
    require_same(parse(result.stdout), tensors)


def check_refused(tool, path, tensors, *words):
    safetensors.numpy.save_file(tensors, path)
    result = run(tool, "read", path)
    assert result.returncode == 1, (result.returncode, words)
    assert result.stdout == "", result.stdout
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr, (word, result.stderr)


def main():
    tool = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "model.safetensors")
        check_they_read_ours(tool, path)

        for seed in range(20):
            tensors = random_tensors(seed)
            check_we_read_theirs(tool, path, tensors)
        tensors = random_tensors(20)
        check_we_read_theirs(tool, path, dict(reversed(tensors.items())))
        metadata = {"format": "np", "quote\" \\ and\nline": "\x01 Grüße, 世界 🥚", "": ""}
        check_we_read_theirs(tool, path, tensors, metadata)
        check_we_read_theirs(tool, path, tensors, {str(i): "x" * i for i in range(300)})

        def changed(**changes):
            return {**tensors, **changes}

        half = {"0.weight": np.zeros((4, 3), dtype=np.float16)}
        check_refused(tool, path, changed(**half), "0.weight", "F16", "F32")
        double = {"3.bias": np.zeros(2)}
        check_refused(tool, path, changed(**double), "3.bias", "F64", "F32")
        ints = {"3.bias": np.zeros(2, dtype=np.int32)}
        check_refused(tool, path, changed(**ints), "3.bias", "I32", "F32")
        wide = {"0.weight": np.zeros((3, 4), dtype=np.float32)}
        check_refused(tool, path, changed(**wide), "0.weight", "(3,4)", "(4,3)")
        scalar = {"2.bias": np.ones((), dtype=np.float32)}
        check_refused(tool, path, changed(**scalar), "2.bias", "()", "(4)")
        empty = {"2.bias": np.zeros((0, 4), dtype=np.float32)}
        check_refused(tool, path, changed(**empty), "2.bias", "(0,4)", "(4)")
        infinite = {"2.weight": np.array([1, 2, np.inf, 3], dtype=np.float32)}
        check_refused(tool, path, changed(**infinite), "2.weight", "element 2")
        for name in ["größe 世界 🥚", "line\nbreak", 'a"b\\c', "", "x" * 100_000]:
            surplus = {name: np.zeros(1, dtype=np.float32)}
            check_refused(tool, path, changed(**surplus), "has surplus")
        check_refused(tool, path, {}, "0.weight", "3.bias")
        without = {name: value for name, value in tensors.items() if name != "3.weight"}
        check_refused(tool, path, without, "3.weight")
    print("safetensors: files pass both ways")


if __name__ == "__main__":
    main()
