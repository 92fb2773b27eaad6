// SPDX-License-Identifier: MIT
// E is zero but for k entries. Its update adds whole numbers, so that neither threads nor their
// order change a bit.
#include "core/fixed_order.h"
#include "core/noise_math.h"
#include "cpu/laws.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"
#include "cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

namespace {

/// The entries of one pair's noise, unscaled.
class Entries {
public:
    Entries(int64_t count, int64_t size)
        : count_(count), size_(static_cast<uint64_t>(size)), values_(count), words_(2 * count) {}

    void draw(const NoiseStream& stream) {
        fill_normal(stream, 0, values_.data(), count_);
        fill_words(stream, offset_of_places(count_), words_.data(), 2 * count_);
    }
    int64_t count() const { return count_; }
    float value(int64_t i) { return values_.data()[i]; }
    int64_t place(int64_t i) {
        const uint32_t* word = words_.data() + 2 * i;
        return static_cast<int64_t>(place_of(word[0], word[1], size_));
    }

private:
    int64_t count_;
    uint64_t size_;
    Scratch values_;
    cpu::ScratchOf<uint32_t> words_;
};

}  // namespace

void add_sparse(const LinearArgs& args) {
    const int64_t inputs = args.inputs, outputs = args.outputs, batch = args.batch;
    const Members& members = args.members;
    Entries entries(args.w.law.entries, outputs * inputs);
    const float sigma = members.block->sigma * args.w.sigma_scale *
                        sparse_scale(outputs * inputs, args.w.law.entries);
    for_each_pair(members, [&](const PairOfMembers& of) {
        entries.draw(stream_of(*members.block, args.w.parameter, of.pair));
        for (int64_t i = 0; i < entries.count(); ++i) {
            const int64_t place = entries.place(i), row = place / inputs, col = place % inputs;
            for (int64_t m = of.first; m < of.first + of.count; ++m) {
                const float v = members.sign_of(members.first + m) * sigma * entries.value(i);
                const float* x = args.x + (args.shared_x ? 0 : m * batch * inputs) + col;
                float* y = args.y + m * batch * outputs + row;
                for (int64_t r = 0; r < batch; ++r) y[r * outputs] += v * x[r * inputs];
            }
        }
    });
}

void sparse_row(const Operand& table, float sigma, const NoiseStream& stream, int64_t rows,
                int64_t cols, int64_t id, float* out) {
    Entries entries(table.law.entries, rows * cols);
    entries.draw(stream);
    const float scale = sigma * sparse_scale(rows * cols, entries.count());
    std::fill_n(out, cols, 0.0f);
    for (int64_t i = 0; i < entries.count(); ++i) {
        const int64_t place = entries.place(i);
        if (place / cols == id) out[place % cols] += scale * entries.value(i);
    }
}

void update_sparse(const UpdateArgs& args) {
    constexpr int64_t kStreams = 16, kRun = 64 * 1024;
    const int64_t n = args.rows * args.cols, k = args.law.entries;
    float largest = 0.0f;
    bool finite = true;
    for (int64_t j = 0; j < args.streams; ++j) {
        largest = std::max(largest, std::fabs(args.weights[j]));
        finite = finite && args.weights[j] - args.weights[j] == 0.0f;
    }
    if (!finite) {
        std::fill_n(args.g, n, std::numeric_limits<float>::quiet_NaN());
        return;
    }
    const SparseSum sum(largest, args.streams * k);
    cpu::ScratchOf<int64_t> memory(n);
    int64_t* sums = memory.data();
    const auto in_runs = [&](const auto& f) {
        cpu::parallel_for((n + kRun - 1) / kRun, [&](int64_t run) {
            for (int64_t e = run * kRun; e < std::min(n, (run + 1) * kRun); ++e) f(e);
        });
    };
    in_runs([&](int64_t e) { sums[e] = 0; });
    cpu::parallel_for((args.streams + kStreams - 1) / kStreams, [&](int64_t run) {
        Entries entries(k, n);
        for (int64_t j = run * kStreams; j < std::min(args.streams, (run + 1) * kStreams); ++j) {
            if (args.weights[j] == 0.0f) continue;
            entries.draw(stream_of(*args.block, args.parameter, j));
            for (int64_t i = 0; i < k; ++i) {
                std::atomic_ref<int64_t>(sums[entries.place(i)])
                    .fetch_add(sum.whole(args.weights[j], entries.value(i)),
                               std::memory_order_relaxed);
            }
        }
    });
    const float c = args.block->sigma * args.sigma_scale * sparse_scale(n, k) /
                    std::sqrt(static_cast<float>(args.pop_size));
    in_runs([&](int64_t e) { args.g[e] = sum.value(sums[e], c); });
}

}  // namespace eggroll::EGGROLL_CPU_NS
