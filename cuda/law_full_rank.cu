// SPDX-License-Identifier: MIT
// All entries of E standard normal: a thread draws one row of E and multiplies it as it goes.
#include "cuda/laws.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

constexpr int kRows = 8;

/// One column of some rows of a pair.
struct AddFullRank {
    PairRows rows;
    Source x;
    bool shared_x;
    float* y;
    uint32_t parameter;
    float sigma_scale;
    int64_t inputs, outputs, row_chunks;

    __device__ void operator()(int64_t item) const {
        const int64_t o = item % outputs, chunk = item / outputs % row_chunks;
        const int64_t slot = item / outputs / row_chunks;
        const PairRows::Range own = rows.range(slot);
        const int64_t begin = own.first + chunk * kRows;
        const GenerationBlock& block = *rows.members.block;
        const NoiseStream stream = stream_of(block, parameter, rows.first_pair() + slot);
        float sums[kRows] = {};
        for (int64_t i = 0; i < inputs; i += 4) {
            float e[4];
            draw_run<4>(stream, static_cast<uint64_t>(o * inputs + i), e);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const int64_t row = begin + r;
                if (row >= own.end) break;
                // Past the last input v is 0 and the noise some finite number.
                const float4 v =
                    x.quad((shared_x ? own.part_row(row) : row) * inputs + i, inputs - i);
                sums[r] = fmaf(v.x, e[0], sums[r]);
                sums[r] = fmaf(v.y, e[1], sums[r]);
                sums[r] = fmaf(v.z, e[2], sums[r]);
                sums[r] = fmaf(v.w, e[3], sums[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int64_t row = begin + r;
            if (row >= own.end) break;
            y[row * outputs + o] += own.sign_of(row) * (block.sigma * sigma_scale) * sums[r];
        }
    }
};

}  // namespace

void add_full_rank(const LinearArgs& args) {
    const PairRows rows{args.members, args.batch};
    const int64_t row_chunks = blocks_of(rows.most_rows(), kRows);
    for_each(
        "full_rank", rows.pairs() * row_chunks * args.outputs,
        AddFullRank{rows, source_of(args.x, false, args.inputs), args.shared_x, args.y,
                    args.w.parameter, args.w.sigma_scale, args.inputs, args.outputs, row_chunks});
}

}  // namespace eggroll::cuda
