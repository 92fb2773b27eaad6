// SPDX-License-Identifier: MIT
#include "cpu/exp.h"
#include "cpu/kernels.h"
#include "cpu/memory.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

double squared_error(const float* y, const float* target, int64_t n) {
    double part[8] = {};  // a fixed order of summation that vectorises
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int l = 0; l < 8; ++l) {
            const double d = static_cast<double>(y[i + l]) - static_cast<double>(target[i + l]);
            part[l] += d * d;
        }
    }
    for (int l = 0; i < n; ++i, ++l) {
        const double d = static_cast<double>(y[i]) - static_cast<double>(target[i]);
        part[l] += d * d;
    }
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/// Rows whose classes are laid side by side, so that the loops run along rows and vectorise.
constexpr int64_t kRows = 64;

/// Σ −log softmax(row)[label] over up to kRows rows; `columns` holds n lanes of kRows floats.
double cross_entropy_block(const float* y, const int32_t* labels, int64_t rows, int64_t n,
                           float* columns) {
    for (int64_t r = 0; r < kRows; ++r) {
        const float* row = y + std::min(r, rows - 1) * n;  // the last row fills up the lanes
        for (int64_t c = 0; c < n; ++c) columns[c * kRows + r] = row[c];
    }
    float largest[kRows], sum[kRows] = {};
    std::copy_n(columns, kRows, largest);
    for (int64_t c = 1; c < n; ++c) {
        for (int64_t r = 0; r < kRows; ++r) {
            const float v = columns[c * kRows + r];
            largest[r] = v > largest[r] ? v : largest[r];
        }
    }
    for (int64_t c = 0; c < n; ++c) {
        for (int64_t r = 0; r < kRows; ++r) sum[r] += exp_of(columns[c * kRows + r] - largest[r]);
    }
    double total = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
        if (labels[r] < 0 || labels[r] >= n) return NAN;
        const double own = static_cast<double>(y[r * n + labels[r]]);
        total += std::log(static_cast<double>(sum[r])) - (own - static_cast<double>(largest[r]));
    }
    return total;
}

int64_t count_correct(const float* y, const int32_t* labels, int64_t rows, int64_t n) {
    int64_t correct = 0;
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = y + r * n;
        int64_t best = 0;
        for (int64_t i = 1; i < n; ++i) best = row[i] > row[best] ? i : best;
        correct += best == labels[r] ? 1 : 0;
    }
    return correct;
}

/// A member whose outputs hold a NaN has no accuracy.
bool has_nan(const float* y, int64_t n) {
    bool any = false;
    for (int64_t i = 0; i < n; ++i) any |= y[i] != y[i];
    return any;
}

double member_loss(const LossArgs& args, const float* y, const int32_t* labels, float* columns) {
    if (args.kind == Loss::accuracy) {
        for (int64_t r = 0; r < args.rows; ++r) {
            if (labels[r] < 0 || labels[r] >= args.n) return NAN;
        }
        return has_nan(y, args.rows * args.n)
                   ? NAN
                   : static_cast<double>(count_correct(y, labels, args.rows, args.n)) /
                         static_cast<double>(args.rows);
    }
    double sum = 0.0;
    for (int64_t r = 0; r < args.rows; r += kRows) {
        sum += cross_entropy_block(y + r * args.n, labels + r, std::min(kRows, args.rows - r),
                                   args.n, columns);
    }
    return sum / static_cast<double>(args.rows);
}

}  // namespace

void loss(const LossArgs& args) {
    cpu::Scratch columns(args.kind == Loss::cross_entropy ? args.n * kRows : 0);
    for (int64_t m = 0; m < args.members; ++m) {
        const float* y = args.y + m * args.rows * args.n;
        double value = 0.0;
        if (args.kind == Loss::mse) {
            const float* target = args.target + (args.per_member_target ? m * args.n : 0);
            value = squared_error(y, target, args.n) / static_cast<double>(args.n);
        } else {
            const int64_t first = args.per_member_target ? m * args.rows : 0;
            value = member_loss(args, y, args.labels + first, columns.data());
        }
        args.out[m] = static_cast<float>(value);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
