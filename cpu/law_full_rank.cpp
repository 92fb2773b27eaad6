// SPDX-License-Identifier: MIT
// All entries of E standard normal: rows of E are drawn a few at a time, used and forgotten.
#include "core/fixed_order.h"
#include "cpu/laws.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/product.h"
#include "cpu/streams.h"
#include "cpu/threads.h"
#include "cpu/vec.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

void add_full_rank(const LinearArgs& args) {
    constexpr int64_t kTileFloats = 16 * 1024;
    const int64_t inputs = args.inputs, outputs = args.outputs, batch = args.batch;
    const int64_t most = std::clamp<int64_t>(kTileFloats / inputs, 1, 64);
    const Members& members = args.members;
    Scratch tile(most * inputs), sums(most * 2 * batch);
    for_each_pair(members, [&](const PairOfMembers& of) {
        const NoiseStream stream = stream_of(*members.block, args.w.parameter, of.pair);
        const int64_t rows = args.shared_x ? batch : of.count * batch;
        const float* x = args.x + (args.shared_x ? 0 : of.first * batch * inputs);
        for (int64_t o = 0; o < outputs; o += most) {
            const int64_t count = std::min(most, outputs - o);
            fill_normal(stream, static_cast<uint64_t>(o * inputs), tile.data(), count * inputs);
            dot_rows(tile.data(), count, x, rows, inputs, sums.data());  // (count,rows)
            for (int64_t m = 0; m < of.count; ++m) {
                const float scale = members.sign_of(members.first + of.first + m) *
                                    (members.block->sigma * args.w.sigma_scale);
                for (int64_t r = 0; r < batch; ++r) {
                    float* y = args.y + ((of.first + m) * batch + r) * outputs + o;
                    const float* sum = sums.data() + (args.shared_x ? r : m * batch + r);
                    for (int64_t i = 0; i < count; ++i) y[i] += scale * sum[i * rows];
                }
            }
        }
    });
}

/// In the order of core/fixed_order.h, as a vector's: threads take a run of elements each.
void update_full_rank(const UpdateArgs& args) {
    constexpr int64_t kRun = 4096;
    const int64_t n = args.rows * args.cols;
    const float c =
        args.block->sigma * args.sigma_scale / std::sqrt(static_cast<float>(args.pop_size));
    cpu::parallel_for((n + kRun - 1) / kRun, [&](int64_t run) {
        const int64_t begin = run * kRun, count = std::min(kRun, n - begin);
        Scratch noise(round_up(count, kLanes)), chain(round_up(count, kLanes));
        float* g = args.g + begin;
        std::fill_n(g, count, 0.0f);
        for (int64_t first = 0; first < args.streams; first += kChain) {
            const int64_t last = std::min(args.streams, first + kChain);
            std::fill_n(chain.data(), round_up(count, kLanes), 0.0f);
            for (int64_t j = first; j < last; ++j) {
                fill_normal(stream_of(*args.block, args.parameter, j), static_cast<uint64_t>(begin),
                            noise.data(), count);
                const Vec weight = set1(c * args.weights[j]);
                for (int64_t e = 0; e < count; e += kLanes) {
                    store(chain.data() + e,
                          fma_exact(weight, load(noise.data() + e), load(chain.data() + e)));
                }
            }
            for (int64_t e = 0; e < count; ++e) g[e] += chain.data()[e];
        }
    });
}

}  // namespace eggroll::EGGROLL_CPU_NS
