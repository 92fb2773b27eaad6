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

/// Rows taken together.
constexpr int64_t kRows = 64;
/// From so many classes on the loops run along them; below, along rows.
constexpr int64_t kManyClasses = 64;

/// The largest entry of a row, and the sum of the exponentials of all above it.
struct ExpSum {
    float largest;
    double sum;
};

/// Of one row of many classes; partial sums in a fixed order.
ExpSum sum_along(const float* row, int64_t n) {
    constexpr int64_t kParts = 16;
    static_assert(kParts <= kManyClasses);
    float most[kParts], sum[kParts] = {};
    const int64_t whole = n / kParts * kParts;
    std::copy_n(row, kParts, most);
    for (int64_t c = kParts; c < whole; c += kParts) {
        for (int64_t l = 0; l < kParts; ++l) {
            most[l] = row[c + l] > most[l] ? row[c + l] : most[l];
        }
    }
    float largest = most[0];
    for (const float v : most) largest = v > largest ? v : largest;
    for (int64_t c = whole; c < n; ++c) largest = row[c] > largest ? row[c] : largest;
    for (int64_t c = 0; c < whole; c += kParts) {
        for (int64_t l = 0; l < kParts; ++l) sum[l] += exp_in_sum(row[c + l] - largest);
    }
    for (int64_t c = whole; c < n; ++c) sum[c - whole] += exp_in_sum(row[c] - largest);
    double total = 0.0;
    for (const float part : sum) total += static_cast<double>(part);
    return {largest, total};
}

/// Of `count` <= kRows rows of few classes, laid side by side so that the loops run along rows;
/// `columns` holds n lanes of kRows floats.
void sum_across(const float* y, int64_t count, int64_t n, float* columns, ExpSum* out) {
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
        for (int64_t r = 0; r < kRows; ++r)
            sum[r] += exp_in_sum(columns[c * kRows + r] - largest[r]);
    }
    for (int64_t r = 0; r < count; ++r) out[r] = {largest[r], static_cast<double>(sum[r])};
}

/// The rows of several members are taken together, so that a batch of one row is no waste.
void cross_entropy(const LossArgs& args) {
    const int64_t n = args.n, total = args.members * args.rows;
    cpu::Scratch columns(n < kManyClasses ? n * kRows : 0);
    double loss = 0.0;  // of a member, so far
    for (int64_t first = 0; first < total; first += kRows) {
        const int64_t count = std::min(kRows, total - first);
        const float* y = args.y + first * n;
        ExpSum sums[kRows];
        if (n < kManyClasses) {
            sum_across(y, count, n, columns.data(), sums);
        } else {
            for (int64_t r = 0; r < count; ++r) sums[r] = sum_along(y + r * n, n);
        }
        for (int64_t r = 0; r < count; ++r) {
            const int64_t row = first + r;
            const int32_t label = args.labels[args.per_member_target ? row : row % args.rows];
            loss += label < 0 || label >= n
                        ? NAN
                        : std::log(sums[r].sum) - (static_cast<double>(y[r * n + label]) -
                                                   static_cast<double>(sums[r].largest));
            if ((row + 1) % args.rows != 0) continue;
            args.out[row / args.rows] = static_cast<float>(loss / static_cast<double>(args.rows));
            loss = 0.0;
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
