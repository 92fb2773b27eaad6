// SPDX-License-Identifier: MIT
#include "cpu/kernels.h"
#include "cpu/memory.h"

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

/// −log softmax(row)[label]; `spare` holds n floats.
double row_cross_entropy(const float* row, int64_t n, int32_t label, float* spare) {
    if (label < 0 || label >= n) return NAN;
    float largest = row[0];
    for (int64_t i = 1; i < n; ++i) largest = row[i] > largest ? row[i] : largest;
    for (int64_t i = 0; i < n; ++i) spare[i] = row[i] - largest;
    const double own = static_cast<double>(spare[label]);
    unary(Unary::exp, spare, spare, n);
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(spare[i]);
    return std::log(sum) - own;
}

bool row_correct(const float* row, int64_t n, int32_t label) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i) best = row[i] > row[best] ? i : best;
    return best == label && row[best] == row[best];
}

}  // namespace

void loss(const LossArgs& args) {
    cpu::Scratch spare(args.n);
    for (int64_t m = 0; m < args.members; ++m) {
        const float* y = args.y + m * args.rows * args.n;
        if (args.kind == Loss::mse) {
            const float* target = args.target + (args.per_member_target ? m * args.n : 0);
            args.out[m] =
                static_cast<float>(squared_error(y, target, args.n) / static_cast<double>(args.n));
            continue;
        }
        const int32_t* labels = args.labels + (args.per_member_target ? m * args.rows : 0);
        double sum = 0.0;
        for (int64_t r = 0; r < args.rows; ++r) {
            const float* row = y + r * args.n;
            sum += args.kind == Loss::cross_entropy
                       ? row_cross_entropy(row, args.n, labels[r], spare.data())
                       : static_cast<double>(row_correct(row, args.n, labels[r]));
        }
        args.out[m] = static_cast<float>(sum / static_cast<double>(args.rows));
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
