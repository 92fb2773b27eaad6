#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One case of the peers' side, timed as bench_generation times ours and with the same JSON lines.

    --side plain         plain inference of the rows of all members by mm or addmm into preallocated
                         outputs, relu_; rows at once or in chunks, whichever is fastest
    --side onednn        the same by torch's oneDNN operator, which it keeps for its own compiler
    --side lowrank       a low-rank generation or forward pass written by hand in torch
    --side torcheggroll  TorchEggroll 0.2.0's own step (its input is shared by all members)

With --on-demand each repeat waits for a line on stdin. Letters: P population, B batch rows of a
member, I inputs, O outputs, r rank, N = P/2 pairs.
"""

import argparse
import json
import math
import statistics
import sys
import time
import warnings

warnings.filterwarnings("ignore", message=".*(NumPy|CUDA).*")
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402


def parse_arch(arch):
    if "x" in arch:
        width, layers = map(int, arch.split("x"))
        return [width] * (layers + 1)
    return [int(width) for width in arch.split("-")]


def make_weights(widths):
    """PyTorch's default initial values: [(W (O,I), b (O)), ...]."""
    layers = [torch.nn.Linear(i, o) for i, o in zip(widths, widths[1:])]
    return [(layer.weight.detach(), layer.bias.detach()) for layer in layers]


def fastest(forms, repeats=2):
    """The form that takes least, after a warm-up of each: (name, function)."""
    best = None
    for name, form in forms:
        form()
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            form()
            times.append(time.perf_counter() - begin)
        if best is None or min(times) < best[0]:
            best = (min(times), name, form)
    return best[1], best[2]


class Plain:
    """y (rows,O) of all rows; the outputs of all layers are preallocated."""

    MOST_BYTES = 1 << 30  # of activations, for all rows at once

    def __init__(self, args, widths):
        self.weights = make_weights(widths)
        self.widths = widths
        self.rows = args.pop * args.batch
        self.repeated = args.shared
        # A shared input is the same block of rows again and again, which the cache likes.
        copies = max(1, 4096 // args.batch) if args.shared else args.pop
        self.x = torch.randn(min(copies, args.pop) * args.batch, widths[0])
        self.y = torch.empty(self.rows, widths[-1])
        self.form, self.step = fastest(list(self.forms()))

    def chunks(self):
        sizes = [256, 1024, 4096]
        if not self.repeated and 8 * max(self.widths) * self.rows <= self.MOST_BYTES:
            sizes.append(self.rows)
        return sorted({min(size, self.rows) for size in sizes})

    def forms(self):
        for chunk in self.chunks():
            buffers = [torch.empty(chunk, o) for o in self.widths[1:-1]]
            for product in (self.by_addmm, self.by_mm):
                name = f"{product.__name__[3:]}, {chunk} rows"
                yield name, lambda c=chunk, b=buffers, p=product: self.chunked(c, b, p)

    def blocks(self, chunk):
        for first in range(0, self.rows, chunk):
            n = min(chunk, self.rows - first)
            begin = first % self.x.shape[0] if self.repeated else first
            begin = min(begin, self.x.shape[0] - n)
            yield self.x[begin : begin + n], self.y[first : first + n], n

    def chunked(self, chunk, buffers, product):
        last = len(self.weights) - 1
        for x, y, n in self.blocks(chunk):
            for i, (w, b) in enumerate(self.weights):
                out = y if i == last else buffers[i][:n]
                product(x, w, b, out)
                x = out if i == last else out.relu_()

    @staticmethod
    def by_addmm(x, w, b, out):
        torch.addmm(b, x, w.t(), out=out)

    @staticmethod
    def by_mm(x, w, b, out):
        torch.mm(x, w.t(), out=out).add_(b)

    def checksum(self):
        return self.y.double().sum().item()


class OneDnn(Plain):
    """Weights packed beforehand, bias and ReLU fused. The operator allocates what it returns."""

    def forms(self):
        for chunk in self.chunks():
            packed = [torch.ops.mkldnn._reorder_linear_weight(w, chunk) for w, _ in self.weights]
            yield f"onednn, {chunk} rows", lambda c=chunk, p=packed: self.fused(c, p)

    def fused(self, chunk, packed):
        linear = torch.ops.mkldnn._linear_pointwise
        last = len(packed) - 1
        for x, y, _ in self.blocks(chunk):
            for i, w in enumerate(packed):
                x = linear(x, w, self.weights[i][1], "none" if i == last else "relu", [], "")
            y.copy_(x)


class LowRank:
    """Antithetic low-rank noise, freshly drawn; members (N, 2B rows): + then − of each pair. The
    noise of a bias is one more column of the factors."""

    SIGMA, LR = 0.02, 0.05

    def __init__(self, args, widths):
        self.weights = make_weights(widths)
        self.pairs, self.batch, self.shared = args.pop // 2, args.batch, args.shared
        n, rows = self.pairs, 2 * self.batch
        self.ranks = [min(args.rank, *w.shape) for w, _ in self.weights]
        self.x = torch.randn(*((self.batch,) if self.shared else (n, rows)), widths[0])
        labels = torch.arange(self.batch if self.shared else n * rows) * 7 % widths[-1]
        self.labels = labels.repeat(2 * n) if self.shared else labels
        sign = torch.ones(rows, 1)
        sign[self.batch :] = -1
        self.t, self.scale, self.out, self.at, self.bt = [], [], [], [], []
        for r, (w, _) in zip(self.ranks, self.weights):
            outputs, inputs = w.shape
            self.bt.append(torch.empty(n, r, inputs))
            self.at.append(torch.empty(n, r + 1, outputs))  # the last row: the bias's noise
            self.t.append(torch.ones(n, rows, r + 1))
            scale = (sign * self.SIGMA).repeat(1, r + 1)
            scale[:, :r] /= math.sqrt(r)
            self.scale.append(scale)
            self.out.append(torch.empty(n, rows, outputs))
        self.run_forward = args.work == "forward"
        forms = [("baddbmm", lambda: self.generation(self.expand_bmm))]
        if max(self.ranks) == 1:
            forms.append(("addcmul", lambda: self.generation(self.expand_addcmul)))
        self.form, self.step = fastest(forms)

    @staticmethod
    def expand_bmm(out, t, at):
        out.baddbmm_(t, at)

    @staticmethod
    def expand_addcmul(out, t, at):
        for k in range(t.shape[2]):
            out.addcmul_(t[:, :, k : k + 1], at[:, k : k + 1])

    def forward(self, expand):
        h = self.x
        last = len(self.weights) - 1
        for i, ((w, b), r) in enumerate(zip(self.weights, self.ranks)):
            bt, at, t, out = self.bt[i].normal_(), self.at[i].normal_(), self.t[i], self.out[i]
            if self.shared and i == 0:
                base = torch.addmm(b, h, w.t())
                out.view(self.pairs, 2, self.batch, -1).copy_(base)
                s = torch.mm(bt.view(-1, w.shape[1]), h.t()).view(self.pairs, r, self.batch)
                t.view(self.pairs, 2, self.batch, -1)[..., :r] = s.transpose(1, 2).unsqueeze(1)
            else:
                torch.addmm(b, h.view(-1, w.shape[1]), w.t(), out=out.view(-1, w.shape[0]))
                t[:, :, :r] = torch.bmm(h, bt.transpose(1, 2))
            t[:, :, r] = 1
            expand(out, t.mul_(self.scale[i]), at)
            h = out if i == last else out.relu_()
        return h

    def generation(self, expand):
        y = self.forward(expand)
        if self.run_forward:
            return
        n = self.pairs
        losses = functional.cross_entropy(y.view(-1, y.shape[2]), self.labels, reduction="none")
        f = -losses.view(2 * n, self.batch).mean(1)
        f = (f - f.mean()) / f.std().clamp_min(1e-8)
        d = f.view(n, 2)[:, 0] - f.view(n, 2)[:, 1]
        for (w, b), r, at, bt in zip(self.weights, self.ranks, self.at, self.bt):
            c = self.LR * self.SIGMA / math.sqrt(2 * n)
            a = (at[:, :r] * d.view(n, 1, 1)).reshape(n * r, -1)
            w.addmm_(a.t(), bt.view(n * r, -1), alpha=c / math.sqrt(r))
            b.addmv_(at[:, r].t(), d, alpha=c)

    def checksum(self):
        return self.out[-1].double().sum().item()


class TorchEggroll:
    form = "step"

    def __init__(self, args, widths):
        from torcheggroll import TorchEggrollES

        if args.work != "step" or not args.shared:
            raise SystemExit("error: TorchEggroll does whole steps on a shared input")
        layers = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            layers += [torch.nn.ReLU()] * (i > 0) + [torch.nn.Linear(a, b)]
        self.es = TorchEggrollES(torch.nn.Sequential(*layers), pop_size=args.pop, rank=args.rank)
        self.x = torch.randn(args.batch, widths[0])
        self.labels = torch.arange(args.batch) * 7 % widths[-1]

    def step(self):
        self.mean = self.es.step(self.x, functional.cross_entropy, self.labels)

    def checksum(self):
        return self.mean


def calls_for(step, at_least_ms):
    """How many steps take so long, by the time of the second; the first warms up."""
    step()
    begin = time.perf_counter()
    step()
    return max(1, math.ceil(at_least_ms / (1e3 * (time.perf_counter() - begin))))


def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main():
    sides = {"plain": Plain, "onednn": OneDnn, "lowrank": LowRank, "torcheggroll": TorchEggroll}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=sides, required=True)
    parser.add_argument("--work", choices=["forward", "step"], default="forward")
    parser.add_argument("--arch", default="256x3")
    for name, value in (("pop", 1024), ("batch", 1), ("rank", 1), ("threads", 2), ("repeat", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--at-least-ms", type=float, default=0,
                        help="a repeat is as many steps as take so long")
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--on-demand", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with torch.no_grad():
        side = sides[args.side](args, parse_arch(args.arch))
        calls = calls_for(side.step, args.at_least_ms)
        if args.on_demand:
            print(json.dumps({"ready": True}), flush=True)
        wall, cpu = [], []
        for _ in range(args.repeat):
            if args.on_demand and not sys.stdin.readline():
                raise SystemExit("error: stdin ended before the last repeat")
            begin, cpu_begin = time.perf_counter(), time.process_time()
            for _ in range(calls):
                side.step()
            wall.append(1e3 * (time.perf_counter() - begin) / calls)
            cpu.append(1e3 * (time.process_time() - cpu_begin) / calls)
            if args.on_demand:
                print(json.dumps({"ms": wall[-1]}), flush=True)
    median = statistics.median(wall)
    checksum = side.checksum()
    print(json.dumps({
        "bench": args.side, "work": args.work, "arch": args.arch, "pop": args.pop,
        "batch": args.batch, "rank": args.rank, "shared": args.shared, "threads": args.threads,
        "ms": median, "ms_min": min(wall), "spread": (max(wall) - min(wall)) / median,
        "cpu_ms": statistics.median(cpu), "peak_mb": peak_mib(), "form": side.form,
        "checksum": checksum, "torch": torch.__version__,
    }))
    if not math.isfinite(checksum):
        sys.exit("error: the checksum is not finite")


if __name__ == "__main__":
    main()
