// SPDX-License-Identifier: MIT
#pragma once

#include "tests/reference.h"

// Layers on images and sequences, written down naively in double with bounds as in reference.h.

namespace eggroll::test::reference {

inline Bounded add(const Bounded& a, const Bounded& b) {
    const double magnitude = std::fabs(a.value) + std::fabs(b.value);
    return {a.value + b.value, a.error + b.error + kFew * kUnit * magnitude};
}

inline Bounded mul(const Bounded& a, const Bounded& b) {
    const double product = a.value * b.value;
    return {product, a.error * (std::fabs(b.value) + b.error) + std::fabs(a.value) * b.error +
                         kFew * kUnit * std::fabs(product)};
}

inline std::vector<Bounded> add(const std::vector<Bounded>& a, const std::vector<Bounded>& b) {
    std::vector<Bounded> sum;
    for (size_t i = 0; i < a.size(); ++i) sum.push_back(add(a[i], b[i]));
    return sum;
}

inline std::vector<Bounded> exactly(std::span<const float> x) {
    std::vector<Bounded> values;
    for (const float v : x) values.push_back({static_cast<double>(v), 0});
    return values;
}

// --- Images -------------------------------------------------------------------------------------

struct Image {
    int64_t channels, height, width;
};

/// A kernel and how it slides; the first of two is along the height.
struct Window {
    int64_t kernel[2], stride[2], padding[2];

    int64_t out(int d, int64_t extent) const {
        return (extent + 2 * padding[d] - kernel[d]) / stride[d] + 1;
    }
};

/// y[o][oy][ox] = b[o] + Σ w[o][c][ky][kx] x[c][oy·s + ky − p][ox·s + kx − p] of one image. In
/// float the low-rank part may be (x B) Aᵀ, as in `linear`.
inline std::vector<Bounded> conv2d(std::span<const float> x, const Image& image,
                                   const MemberParameter& w, const MemberParameter* b,
                                   int64_t outputs, const Window& window) {
    const int64_t columns = image.channels * window.kernel[0] * window.kernel[1];
    const double roundings = static_cast<double>(columns + w.terms) + kFew;
    std::vector<Bounded> y;
    for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t oy = 0; oy < window.out(0, image.height); ++oy) {
            for (int64_t ox = 0; ox < window.out(1, image.width); ++ox) {
                double sum = b != nullptr ? b->value[static_cast<size_t>(o)] : 0.0;
                double magnitude = b != nullptr ? b->magnitude[static_cast<size_t>(o)] : 0.0;
                for (int64_t c = 0; c < image.channels; ++c) {
                    for (int64_t ky = 0; ky < window.kernel[0]; ++ky) {
                        for (int64_t kx = 0; kx < window.kernel[1]; ++kx) {
                            const int64_t iy = oy * window.stride[0] + ky - window.padding[0];
                            const int64_t ix = ox * window.stride[1] + kx - window.padding[1];
                            if (iy < 0 || iy >= image.height || ix < 0 || ix >= image.width) {
                                continue;
                            }
                            const auto at = static_cast<size_t>(
                                ((o * image.channels + c) * window.kernel[0] + ky) *
                                    window.kernel[1] +
                                kx);
                            const auto v = static_cast<double>(
                                x[static_cast<size_t>((c * image.height + iy) * image.width + ix)]);
                            sum += v * w.value[at];
                            magnitude += std::fabs(v) * w.magnitude[at];
                        }
                    }
                }
                y.push_back({sum, roundings * kUnit * magnitude});
            }
        }
    }
    return y;
}

/// The largest, or the mean with zeros in the padding, of each window of one image.
inline Values pool2d(bool largest, std::span<const float> x, const Image& image,
                     const Window& window) {
    Values y;
    for (int64_t c = 0; c < image.channels; ++c) {
        for (int64_t oy = 0; oy < window.out(0, image.height); ++oy) {
            for (int64_t ox = 0; ox < window.out(1, image.width); ++ox) {
                double most = -std::numeric_limits<double>::infinity(), sum = 0;
                for (int64_t ky = 0; ky < window.kernel[0]; ++ky) {
                    for (int64_t kx = 0; kx < window.kernel[1]; ++kx) {
                        const int64_t iy = oy * window.stride[0] + ky - window.padding[0];
                        const int64_t ix = ox * window.stride[1] + kx - window.padding[1];
                        if (iy < 0 || iy >= image.height || ix < 0 || ix >= image.width) continue;
                        const auto v = static_cast<double>(
                            x[static_cast<size_t>((c * image.height + iy) * image.width + ix)]);
                        most = std::max(most, v);
                        sum += v;
                    }
                }
                const auto count = static_cast<double>(window.kernel[0] * window.kernel[1]);
                y.push_back(largest ? most : sum / count);
            }
        }
    }
    return y;
}

// --- Rows ---------------------------------------------------------------------------------------

/// x/√(mean(x²) + eps) · gain over one row.
inline std::vector<Bounded> rms_norm(const std::vector<Bounded>& x, const MemberParameter& gain,
                                     double eps) {
    const auto n = static_cast<double>(x.size());
    double square = 0;
    for (const Bounded& v : x) square += v.value * v.value / n;
    const double scale = 1 / std::sqrt(square + eps);
    std::vector<Bounded> y;
    for (size_t i = 0; i < x.size(); ++i) {
        const double z = x[i].value * scale;
        // Squares are all positive: the sum is good to a few units, its root better.
        y.push_back({z * gain.value[i], (n + kFew) * kUnit * std::fabs(z) * gain.magnitude[i]});
    }
    return y;
}

// --- Sequences ----------------------------------------------------------------------------------

/// Part `index` of gates that have `hidden` each.
inline std::vector<Bounded> gate(const std::vector<Bounded>& all, size_t index, size_t hidden) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(index * hidden);
    return {first, first + static_cast<std::ptrdiff_t>(hidden)};
}

inline std::vector<Bounded> through(Act act, std::vector<Bounded> x) {
    for (Bounded& v : x) v = activation(act, v);
    return x;
}

/// (1 − z)∘a + z∘b
inline std::vector<Bounded> mixed(const std::vector<Bounded>& z, const std::vector<Bounded>& a,
                                  const std::vector<Bounded>& b) {
    std::vector<Bounded> y;
    for (size_t i = 0; i < z.size(); ++i) {
        const Bounded rest = add({1, 0}, {-z[i].value, z[i].error});
        y.push_back(add(mul(rest, a[i]), mul(z[i], b[i])));
        // In float it may be a + z∘(b − a).
        y.back().error += kFew * kUnit * (std::fabs(a[i].value) + std::fabs(b[i].value));
    }
    return y;
}

inline std::vector<Bounded> hadamard(const std::vector<Bounded>& a, const std::vector<Bounded>& b) {
    std::vector<Bounded> y;
    for (size_t i = 0; i < a.size(); ++i) y.push_back(mul(a[i], b[i]));
    return y;
}

/// PyTorch's GRUCell for one row; weights in the order weight_ih, weight_hh, bias_ih, bias_hh.
inline std::vector<Bounded> gru(const std::vector<Bounded>& x, const std::vector<Bounded>& h,
                                const std::vector<MemberParameter>& weights) {
    const std::vector<Bounded> of_x = linear(x, weights[0], &weights[2]);
    const std::vector<Bounded> of_h = linear(h, weights[1], &weights[3]);
    const auto part = [&](const std::vector<Bounded>& all, size_t i) {
        return gate(all, i, h.size());
    };
    const auto r = through(Act::sigmoid, add(part(of_x, 0), part(of_h, 0)));
    const auto z = through(Act::sigmoid, add(part(of_x, 1), part(of_h, 1)));
    const auto n = through(Act::tanh, add(part(of_x, 2), hadamard(r, part(of_h, 2))));
    return mixed(z, n, h);
}

/// The minimal gated unit for one row; weights in the order weight_ih, U_f, U_h, bias.
inline std::vector<Bounded> minimal_gru(const std::vector<Bounded>& x,
                                        const std::vector<Bounded>& h,
                                        const std::vector<MemberParameter>& weights) {
    const std::vector<Bounded> of_x = linear(x, weights[0], &weights[3]);
    const auto f =
        through(Act::sigmoid, add(gate(of_x, 0, h.size()), linear(h, weights[1], nullptr)));
    const auto n = through(
        Act::tanh, add(gate(of_x, 1, h.size()), linear(hadamard(f, h), weights[2], nullptr)));
    return mixed(f, h, n);
}

}  // namespace eggroll::test::reference
