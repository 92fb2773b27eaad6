// SPDX-License-Identifier: MIT
#include "cpu/kernels.h"

#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

/// Sum in double of n elements `step` apart, eight partial sums in a fixed order.
double sum_of(const float* x, int64_t n, int64_t step) {
    double part[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int l = 0; l < 8; ++l) part[l] += static_cast<double>(x[(i + l) * step]);
    }
    for (int l = 0; i < n; ++i, ++l) part[l] += static_cast<double>(x[i * step]);
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/// The largest element; NaN if there is one.
float max_of(const float* x, int64_t n, int64_t step) {
    float largest = x[0];
    for (int64_t i = 1; i < n; ++i) {
        const float v = x[i * step];
        largest = v > largest || v != v ? v : largest;
        if (largest != largest) break;
    }
    return largest;
}

}  // namespace

void reduce(Reduce kind, const float* x, float* y, int64_t outer, int64_t n, int64_t inner) {
    for (int64_t o = 0; o < outer; ++o) {
        for (int64_t i = 0; i < inner; ++i) {
            const float* row = x + o * n * inner + i;
            float& to = y[o * inner + i];
            switch (kind) {
                case Reduce::sum:
                    to = static_cast<float>(sum_of(row, n, inner));
                    break;
                case Reduce::mean:
                    to = static_cast<float>(sum_of(row, n, inner) / static_cast<double>(n));
                    break;
                case Reduce::max:
                    to = max_of(row, n, inner);
                    break;
            }
        }
    }
}

void argmax(const float* x, float* y, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * n;
        int64_t best = 0;
        bool broken = row[0] != row[0];
        for (int64_t i = 1; i < n; ++i) {
            best = row[i] > row[best] ? i : best;
            broken |= row[i] != row[i];
        }
        y[r] = broken ? NAN : static_cast<float>(best);
    }
}

void softmax(const float* x, float* y, int64_t rows, int64_t n, bool logarithm) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * n;
        float* to = y + r * n;
        const float largest = max_of(row, n, 1);
        for (int64_t i = 0; i < n; ++i) to[i] = row[i] - largest;
        if (logarithm) {
            double sum = 0.0;
            for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(to[i]));
            const auto shift = static_cast<float>(std::log(sum));
            for (int64_t i = 0; i < n; ++i) to[i] -= shift;
        } else {
            unary(Unary::exp, to, to, n);
            const auto scale = static_cast<float>(1.0 / sum_of(to, n, 1));
            for (int64_t i = 0; i < n; ++i) to[i] *= scale;
        }
    }
}

void standardize(const float* x, float* y, int64_t rows, int64_t n, float eps, bool centred) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * n;
        float* to = y + r * n;
        const double mean = centred ? sum_of(row, n, 1) / static_cast<double>(n) : 0.0;
        const auto centre = static_cast<float>(mean);
        double squares = 0.0;
        for (int64_t i = 0; i < n; ++i) {
            const double d = static_cast<double>(row[i]) - mean;
            squares += d * d;
        }
        const auto scale = static_cast<float>(
            1.0 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps)));
        for (int64_t i = 0; i < n; ++i) to[i] = (row[i] - centre) * scale;
    }
}

void gather(const float* x, const int32_t* ids, float* y, int64_t rows, int64_t n,
            int64_t id_rows) {
    for (int64_t r = 0; r < rows; ++r) {
        const int32_t id = ids[r % id_rows];
        y[r] = id >= 0 && id < n ? x[r * n + id] : NAN;
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
