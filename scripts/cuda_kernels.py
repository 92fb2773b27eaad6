# SPDX-License-Identifier: MIT
"""Compiles every kernel of cuda/ for every architecture and says what the compiler reports of it.
Shared by kernel_report, sass_counts and roofline; not run. Standard library only."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "kernel_report"
DOCUMENT = ROOT / "docs" / "cuda.md"
ADA = "89"  # of the roofline, and no major architecture


def fail(text):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {text}")


def output_of(command, **options):
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.returncode != 0:
        fail(f"{shlex.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def nvcc():
    found = shutil.which(os.environ.get("CUDACXX", "nvcc"))
    return found or fail("no nvcc in PATH: the report is the CUDA compiler's")


def nvcc_version():
    return re.search(r"V(\d+\.\d+\.\d+)", output_of([nvcc(), "--version"])).group(1)


def architectures():
    """Those of all-major, the earliest and every sm_X0, and Ada's."""
    codes = sorted({int(code) for code in
                    re.findall(r"^sm_(\d+)$", output_of([nvcc(), "--list-gpu-code"]), re.M)})
    return [str(code) for code in codes
            if code == codes[0] or code % 10 == 0 or str(code) == ADA]


def commands():
    """How the build compiles each .cu file, without architectures and output."""
    output_of(["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
               "-DEGGROLL_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=all-major",
               "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DEGGROLL_BUILD_TESTS=OFF",
               "-DEGGROLL_BUILD_EXAMPLES=OFF", "-DEGGROLL_BUILD_BENCH=OFF"])
    found = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["file"])
        if source.suffix != ".cu" or source.parent != ROOT / "cuda":
            continue
        words, kept = iter(shlex.split(entry["command"])), []
        for word in words:
            if word in ("-o", "-x", "-MF", "-MT"):
                next(words)
            elif not (word in ("-c", "-MD") or word == entry["file"]
                      or word.startswith(("--generate-code", "-gencode", "-arch", "-code"))):
                kept.append(word)
        found[source] = kept
    return found or fail("the build compiles no cuda/*.cu")


@dataclass
class Kernel:
    symbol: str
    name: str  # short
    source: str
    architecture: str
    cubin: pathlib.Path
    registers: int = 0
    shared: int = 0  # bytes of a block, static
    frame: int = 0  # bytes of a thread in local memory: spills and local arrays
    spill_stores: int = 0
    spill_loads: int = 0


def short_name(demangled):
    """project<1, true, 2> of void eggroll::cuda::(anonymous namespace)::project_kernel<...>(...)."""
    text = re.sub(r"\(anonymous namespace\)::|eggroll::(cuda|detail)::", "", demangled)
    text = re.sub(r"^void ", "", text)
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "<") - (c in ">")
        if c == "(" and depth == 0:
            text = text[:i]
            break
    text = re.sub(r"_kernel\b", "", text)
    text = text.replace("> >", ">>")
    return re.sub(r"\b(true|false)\b", lambda m: "yes" if m.group(1) == "true" else "no", text)


def parse(log, source, architecture, cubin):
    kernels, now = [], None
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)' for 'sm_\w+'", line):
            now = Kernel(match.group(1), "", source.stem, architecture, cubin)
            kernels.append(now)
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                                r"(\d+) bytes spill loads", line):
            frame, stores, loads = map(int, match.groups())
            now.frame += frame
            now.spill_stores += stores
            now.spill_loads += loads
        elif match := re.search(r"Used (\d+) registers", line):
            now.registers = int(match.group(1))
            if shared := re.search(r"(\d+) bytes smem", line):
                now.shared = int(shared.group(1))
    return kernels


def compile_one(source, words, architecture, state):
    """The compiler's report, kept beside the machine code until a source changes."""
    target = BUILD / f"{source.stem}.{architecture}.cubin"
    log = target.with_suffix(".log")
    command = words + ["-cubin", f"-gencode=arch=compute_{architecture},code=sm_{architecture}",
                       "-Xptxas", "-v", "-o", str(target), str(source)]
    key = hashlib.sha256("\0".join([state, *command]).encode()).hexdigest()
    lines = log.read_text().splitlines() if log.exists() and target.exists() else [""]
    if lines[0] != key:
        done = subprocess.run(command, text=True, capture_output=True, cwd=BUILD)
        if done.returncode != 0:
            fail(f"{source.name} for sm_{architecture}:\n{done.stderr}")
        lines = [key, *done.stderr.splitlines()]
        log.write_text("\n".join(lines))
    return parse("\n".join(lines[1:]), source, architecture, target)


def kernels(wanted_architectures=None, wanted_sources=None):
    """Every kernel of every architecture."""
    chosen = wanted_architectures or architectures()
    of_source = {source: words for source, words in commands().items()
                 if not wanted_sources or source.stem in wanted_sources}
    headers = sorted([*ROOT.glob("core/**/*.h"), *ROOT.glob("cuda/*.h")])
    state = nvcc_version() + "".join(path.read_text() for path in headers)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_one, source, words, architecture, state + source.read_text())
                for source, words in of_source.items() for architecture in chosen]
        found = [kernel for job in jobs for kernel in job.result()]
    names = output_of(["c++filt"], input="\n".join(k.symbol for k in found)).splitlines()
    for kernel, name in zip(found, names):
        kernel.name = short_name(name)
    return found


def table(head, rows):
    """Of Markdown; the first column to the left."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def between_markers(name):
    """The document before, within and after the markers of a part that a script writes."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    text = DOCUMENT.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        fail(f"docs/cuda.md must have \"{begin.strip()}\" and \"{end}\" once each")
    before, rest = text.split(begin)
    within, after = rest.split(end)
    return before + begin, within, end + after


def put(name, text, write, check, remedy):
    """Prints a part of docs/cuda.md, writes it there, or fails when it says something else."""
    if not write and not check:
        print(text, end="")
        return
    before, within, after = between_markers(name)
    if write:
        DOCUMENT.write_text(before + text + after)
    elif within != text:
        import difflib
        difference = difflib.unified_diff(within.splitlines(), text.splitlines(), "docs/cuda.md",
                                          "now", lineterm="", n=0)
        fail("docs/cuda.md is out of date: " + remedy + "\n" + "\n".join(list(difference)[:20]))
