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

/// −log softmax(row)[label] of `count` <= kRows rows of all members, begun at row `first`;
/// `columns` holds n lanes of kRows floats.
void cross_entropy_rows(const LossArgs& args, int64_t first, int64_t count, float* columns,
                        double* out) {
    const int64_t n = args.n;
    const float* y = args.y + first * n;
    for (int64_t r = 0; r < kRows; ++r) {
        const float* row = y + std::min(r, count - 1) * n;  // the last row fills up the lanes
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
    for (int64_t r = 0; r < count; ++r) {
        const int64_t row = first + r;
        const int32_t label = args.labels[args.per_member_target ? row : row % args.rows];
        out[r] =
            label < 0 || label >= n
                ? NAN
                : std::log(static_cast<double>(sum[r])) -
                      (static_cast<double>(y[r * n + label]) - static_cast<double>(largest[r]));
    }
}

/// The rows of several members share the lanes, so that a batch of one row is no waste.
void cross_entropy(const LossArgs& args) {
    cpu::Scratch columns(args.n * kRows);
    const int64_t total = args.members * args.rows;
    double sum = 0.0;
    for (int64_t first = 0; first < total; first += kRows) {
        const int64_t count = std::min(kRows, total - first);
        double of_row[kRows];
        cross_entropy_rows(args, first, count, columns.data(), of_row);
        for (int64_t r = 0; r < count; ++r) {
            sum += of_row[r];
            if ((first + r + 1) % args.rows != 0) continue;
            args.out[(first + r) / args.rows] =
                static_cast<float>(sum / static_cast<double>(args.rows));
            sum = 0.0;
        }
    }
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

double accuracy(const LossArgs& args, const float* y, const int32_t* labels) {
    for (int64_t r = 0; r < args.rows; ++r) {
        if (labels[r] < 0 || labels[r] >= args.n) return NAN;
    }
    if (has_nan(y, args.rows * args.n)) return NAN;
    return static_cast<double>(count_correct(y, labels, args.rows, args.n)) /
           static_cast<double>(args.rows);
}

}  // namespace

void loss(const LossArgs& args) {
    if (args.kind == Loss::cross_entropy) return cross_entropy(args);
    for (int64_t m = 0; m < args.members; ++m) {
        const float* y = args.y + m * args.rows * args.n;
        double value = 0.0;
        if (args.kind == Loss::mse) {
            const float* target = args.target + (args.per_member_target ? m * args.n : 0);
            value = squared_error(y, target, args.n) / static_cast<double>(args.n);
        } else {
            value = accuracy(args, y, args.labels + (args.per_member_target ? m * args.rows : 0));
        }
        args.out[m] = static_cast<float>(value);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
