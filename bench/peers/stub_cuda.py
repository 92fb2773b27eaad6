#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes PyPI's torch for Linux importable on the CPU without the CUDA libraries it names.

The wheel links libraries of NVIDIA's (cuBLAS, cuDNN, NCCL, ...) that only its CUDA half calls. This
puts one library in their place, beside torch's own, that defines every function torch asks of them;
each returns an error, so that torch finds no device. Nothing that runs on the CPU is touched.
Run by the interpreter whose torch it is for. Needs nm, readelf and cc (Debian: binutils, gcc).
"""

import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tempfile

FOREIGN = re.compile(
    r"^_*(cu[A-Z]|cuda|cublas|cudnn|cufft|cufile|curand|cusolver|cusparse|cupti|p?nccl|nvrtc"
    r"|nvshmem|nvtx|nvJitLink|nvml|fatbin)"
)

ERROR_TEXT = '(long)"no CUDA here"'


def lines_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def symbols(library, which):
    """Dynamic symbols, name -> version or "": `which` is --defined-only or --undefined-only."""
    fields = (line.split() for line in lines_of("nm", "-D", which, library))
    return dict((f[-1].replace("@@", "@") + "@").split("@")[:2] for f in fields if f)


def needed(library):
    lines = lines_of("readelf", "-d", library)
    found = (re.search(r"\(NEEDED\).*\[(.*)\]", line) for line in lines)
    return {match.group(1) for match in found if match}


def is_system(name):
    return re.match(r"^(ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)\.so)", name) is not None


def main():
    folder = pathlib.Path(sysconfig.get_path("purelib")) / "torch" / "lib"
    own = sorted(folder.glob("lib*.so*"))
    own = [path for path in own if path.name != "libcuda_stub.so" and not path.is_symlink()]
    if not own:
        sys.exit(f"error: no torch in {folder}")
    missing, wanted, there = set(), {}, set()
    for path in own:
        missing |= {name for name in needed(path) if not is_system(name)}
        wanted |= symbols(path, "--undefined-only")
        there |= set(symbols(path, "--defined-only"))
    missing -= {path.name for path in own}
    names = sorted(name for name in wanted.keys() - there if FOREIGN.match(name))
    if not missing:
        print("nothing to stub: this torch brings all its libraries")
        return
    # Many names are C++'s; assembler labels take them all.
    source = "".join(
        f'extern long f{i}(void) __asm__("{name}"); '
        f"long f{i}(void) {{ return {ERROR_TEXT if 'GetError' in name else 1}; }}\n"
        for i, name in enumerate(names)
    )
    # The loader insists on the versions that torch was linked with.
    nodes = {}
    for name in names:
        nodes.setdefault(wanted[name], []).append(name)
    nodes.pop("", None)
    script = "".join(f"{node} {{ {'; '.join(members)}; }};\n" for node, members in nodes.items())
    with tempfile.TemporaryDirectory() as build:
        text, versions = pathlib.Path(build, "stub.c"), pathlib.Path(build, "versions")
        text.write_text(source)
        versions.write_text(script)
        library = folder / "libcuda_stub.so"
        options = ["-shared", "-fPIC", "-O1", f"-Wl,--version-script={versions}"]
        subprocess.run(["cc", *options, "-o", library, text], check=True)
    for name in missing:
        link = folder / name
        if link.is_symlink():
            link.unlink()
        os.symlink("libcuda_stub.so", link)
    print(f"{len(names)} functions of {len(missing)} CUDA libraries stand in as stubs")


if __name__ == "__main__":
    main()
