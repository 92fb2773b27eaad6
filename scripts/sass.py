# SPDX-License-Identifier: MIT
"""Counts machine instructions of the loops of a kernel. Shared by sass_counts and roofline; not run.

A loop is found from the branches (a back edge to a block that dominates its source). What is counted
is one iteration along one path: the one that draws most normals, of these the one that moves most
bytes, of these the shortest. Code that calls a subroutine is left out (divisions of numbers above
2^32, shuffles of a diverged warp), and so are loops within, which are counted by themselves. The
normals of an iteration are twice its MUFU.RSQ: a square root is drawn for two."""

import collections
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import cuda_kernels

# Kernels that draw noise where it is much: short name -> what an iteration is.
COUNTED = {
    "each<FillBlock<float>>": "a block of the stream",
    "project<1, yes, 2>": "rank 1, a pair of members of batch 1",
    "project<4, yes, 2>": "rank 4, a pair of members of batch 1",
    "expand<1, yes>": "rank 1",
    "expand<4, yes>": "rank 4",
    "perturb<1, 2>": "rank 1, a pair of members of batch 1: first B and x, then A, ε and y",
    "perturb<4, 2>": "rank 4",
    "update<8, 1>": "tiles of 128 x 128, rank 1",
    "update<8, 4>": "tiles of 128 x 128, rank 4",
    "update<4, 0>": "tiles of 64 x 64",
}

SOURCES = ["noise", "project", "expand", "perturb", "update"]
DISASSEMBLER = "nvidia-cuda-nvdisasm"  # of PyPI; newer ones read older code


@functools.cache
def nvdisasm():
    if found := shutil.which("nvdisasm"):
        return found
    venv = cuda_kernels.ROOT / "build" / "nvdisasm"
    pattern = "lib/python*/site-packages/nvidia/**/bin/nvdisasm"
    if not list(venv.glob(pattern)):
        for command in ([sys.executable, "-m", "venv", venv],
                        [venv / "bin" / "pip", "install", "--quiet",
                         "--disable-pip-version-check", DISASSEMBLER]):
            done = subprocess.run(command, text=True, capture_output=True)
            if done.returncode != 0:
                cuda_kernels.fail(f"no nvdisasm in PATH, and pip could not get {DISASSEMBLER}:\n"
                                  f"{done.stdout}{done.stderr}")
    path = next(venv.glob(pattern))
    os.chmod(path, 0o755)  # wheels forget it
    return str(path)


@functools.cache
def disassembly(cubin: pathlib.Path):
    return cuda_kernels.output_of([nvdisasm(), "-c", cubin])


@functools.cache
def counted(architecture):
    """Short name -> loops, of the kernels counted."""
    kernels = cuda_kernels.kernels([architecture], SOURCES)
    found = {k.name: loops(k) for k in kernels if k.name in COUNTED}
    if missing := COUNTED.keys() - found.keys():
        cuda_kernels.fail(f"no kernel {', '.join(sorted(missing))}: name those counted in scripts/sass.py")
    return found


@dataclass
class Instruction:
    opcode: str  # with its modifiers
    operands: str
    predicated: bool

    @property
    def kind(self):
        name = self.opcode.split(".")[0]
        if name in ("FFMA", "FMUL", "FADD", "HFMA2", "FFMA2", "FMUL2", "FADD2"):
            return "float"
        if name == "IMAD":
            return "imad"
        if name in ("MUFU", "I2F", "I2FP", "F2I", "F2F", "F2FP"):
            return "xu"
        if re.match(r"(LD|ST|ATOM|RED|CCTL)", name):
            return "memory"
        if name in ("BRA", "BSSY", "BSYNC", "EXIT", "BAR", "NOP", "CALL", "RET", "WARPSYNC", "SHFL",
                    "BREAK", "DEPBAR", "YIELD", "NANOSLEEP", "WARPGROUP", "BMOV"):
            return "control"
        if name.startswith("U") or name in ("R2UR", "S2UR", "REDUX"):
            return "uniform"
        return "alu"

    @property
    def bytes(self):
        """Of global memory; none where a predicate may stand for either of two ways."""
        parts = self.opcode.split(".")
        if parts[0] not in ("LDG", "STG") or self.predicated:
            return 0
        for part, size in (("128", 16), ("64", 8), ("U16", 2), ("S16", 2), ("U8", 1), ("S8", 1)):
            if part in parts:
                return size
        return 4


@dataclass
class Block:
    instructions: list = field(default_factory=list)
    next: list = field(default_factory=list)


@dataclass
class Loop:
    counts: collections.Counter
    opcodes: collections.Counter
    bytes: int
    depth: int  # in how many other loops

    @property
    def total(self):
        return sum(self.counts.values())

    @property
    def normals(self):
        return 2 * self.opcodes["MUFU.RSQ"]

    def of(self, kind):
        return self.counts[kind]

    def loads_and_computes(self):
        return self.bytes > 0 and self.of("float") > 0


def graph(symbol, text):
    """Blocks of a kernel in the order of their addresses; subroutines behind it are left out."""
    start = re.search(rf"^\.text\.{re.escape(symbol)}:", text, re.M)
    if start is None:
        cuda_kernels.fail(f"no code of {symbol}")
    blocks, names, jumps = [Block()], {}, []
    for line in text[start.end():].splitlines():
        if line.lstrip().startswith(".section") or line.startswith("$__internal"):
            break
        if label := re.match(r"\s*(\.L_\w+):", line):
            if blocks[-1].instructions:
                blocks.append(Block())
            names[label.group(1)] = len(blocks) - 1
            continue
        match = re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;", line)
        if match is None:
            continue
        instruction = Instruction(match.group(2), match.group(3), match.group(1) is not None)
        blocks[-1].instructions.append(instruction)
        name = instruction.opcode.split(".")[0]
        target = re.search(r"`\((\.L_\w+)\)", instruction.operands)
        always = not instruction.predicated
        if name == "BRA" or (name == "CALL" and target):  # of which older architectures make jumps
            always = always and instruction.operands.startswith("`") and ".DIV" not in instruction.opcode
            jumps.append((len(blocks) - 1, target.group(1), always))
            blocks.append(Block())
        elif name in ("BRX", "BRXU"):
            jumps += [(len(blocks) - 1, to, True) for to in re.findall(r"\.L_\w+", instruction.operands)]
            blocks.append(Block())
        elif name in ("EXIT", "RET") and always:
            jumps.append((len(blocks) - 1, None, True))
            blocks.append(Block())
    ends = {source for source, _, always in jumps if always}
    for i, block in enumerate(blocks[:-1]):
        if i not in ends:
            block.next.append(i + 1)
    for source, target, _ in jumps:
        if target in names and names[target] not in blocks[source].next:
            blocks[source].next.append(names[target])
    return blocks


def is_cold(block):
    return any(i.opcode.startswith("WARPSYNC.COLLECTIVE")
               or (i.opcode.startswith("CALL") and "`(.L_" not in i.operands)
               for i in block.instructions)


def reachable(blocks):
    found, todo = set(), [0]
    while todo:
        at = todo.pop()
        if at in found or is_cold(blocks[at]):
            continue
        found.add(at)
        todo += blocks[at].next
    return found


def dominators(blocks, nodes):
    before = {n: [p for p in nodes if n in blocks[p].next] for n in nodes}
    of = {n: set(nodes) for n in nodes}
    of[0] = {0}
    changed = True
    while changed:
        changed = False
        for n in sorted(nodes - {0}):
            found = {n} | set.intersection(*(of[p] for p in before[n]))
            if found != of[n]:
                of[n], changed = found, True
    return of, before


def iteration(blocks, body, header, tails, inner):
    """Of the best path from the header to a tail; blocks of loops within are passed for nothing."""
    def weight(n):
        if n in inner:
            return (0, 0, 0)
        return (-sum(i.opcode == "MUFU.RSQ" for i in blocks[n].instructions),
                -sum(i.bytes for i in blocks[n].instructions), len(blocks[n].instructions))

    order, seen = [], set()

    def visit(n):
        seen.add(n)
        for to in blocks[n].next:
            if to in body and to not in seen:
                visit(to)
        order.append(n)
    visit(header)
    order.reverse()
    place = {n: i for i, n in enumerate(order)}
    best = {header: (weight(header), [header])}
    for n in order:
        if n not in best:
            continue
        for to in blocks[n].next:
            if to == header or to not in place or place[to] <= place[n]:
                continue
            sums = tuple(a + b for a, b in zip(best[n][0], weight(to)))
            if to not in best or sums < best[to][0]:
                best[to] = (sums, best[n][1] + [to])
    path = min((best[t] for t in tails if t in best), key=lambda found: found[0])[1]
    taken = [i for n in path if n not in inner for i in blocks[n].instructions
             if i.opcode.split(".")[0] != "NOP"]
    return (collections.Counter(i.kind for i in taken), collections.Counter(i.opcode for i in taken),
            sum(i.bytes for i in taken))


def loops(kernel):
    """In the order of the code; where noise is drawn outside of all loops, the kernel as a whole."""
    sys.setrecursionlimit(10000)
    blocks = graph(kernel.symbol, disassembly(kernel.cubin))
    nodes = reachable(blocks)
    dominating, before = dominators(blocks, nodes)
    bodies, tails = {}, {}
    for n in sorted(nodes):
        for header in blocks[n].next:
            if header in dominating[n]:
                body, todo = bodies.setdefault(header, {header}), [n]
                tails.setdefault(header, []).append(n)
                while todo:
                    at = todo.pop()
                    if at not in body:
                        body.add(at)
                        todo += before[at]
    found = []
    exits = [n for n in nodes if not any(to in nodes for to in blocks[n].next)]
    every = dict(bodies)
    regions = [(header, body, tails[header]) for header, body in sorted(every.items())]
    for header, body, ends in [(0, nodes, exits), *regions]:
        is_all = body is nodes
        inner = set().union(*(other for to, other in every.items()
                              if (is_all or to != header) and other <= body))
        depth = 0 if is_all else sum(body < other for other in every.values())
        loop = Loop(*iteration(blocks, body, header, ends, inner), depth)
        found.append((is_all, loop))
    drawn_in_loops = any(loop.normals for is_all, loop in found if not is_all)
    return [loop for is_all, loop in found if not (is_all and drawn_in_loops)]
