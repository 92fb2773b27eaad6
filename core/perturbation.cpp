// SPDX-License-Identifier: MIT
#include <eggroll/perturbation.h>

#include "core/noise_math.h"
#include "core/perturbation.h"
#include "core/text.h"

#include <eggroll/ops.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace eggroll {

using detail::TableEntry;

namespace {

void require_sigma(const char* op, float sigma) {
    if (!std::isfinite(sigma)) {
        throw Error(std::string("[") + op + "] sigma must be finite but is " +
                    detail::number(sigma));
    }
}

/// σ/√r A Bᵀ, the entries of A and B written by `fill`, those of A from `offset_of_a` on.
template <class Fill, class Offset>
Tensor factor_noise(const char* op, const Shape& shape, int rank, float sigma,
                    const NoiseStream& stream, const Fill& fill, const Offset& offset_of_a) {
    if (shape.size() != 2 || rank < 1) {
        throw Error(std::string("[") + op + "] needs a shape (O,I) and rank >= 1 but they are " +
                    to_string(shape) + " and " + std::to_string(rank));
    }
    require_sigma(op, sigma);
    const int64_t outputs = shape[0], inputs = shape[1];
    const int64_t r = std::min({static_cast<int64_t>(rank), outputs, inputs});
    if (r == 0) return Tensor::zeros(shape);
    Tensor a = Tensor::zeros({outputs, r}), b = Tensor::zeros({inputs, r});
    fill(stream, 0, b.data());
    fill(stream, offset_of_a(inputs, r), a.data());
    return matmul(a, transpose(b, 0, 1)) * (sigma / std::sqrt(static_cast<float>(r)));
}

}  // namespace

Tensor low_rank_noise(const Shape& shape, int rank, float sigma, const NoiseStream& stream) {
    return factor_noise("low_rank_noise", shape, rank, sigma, stream, fill_normal,
                        detail::offset_of_a);
}

Tensor full_noise(const Shape& shape, float sigma, const NoiseStream& stream) {
    require_sigma("full_noise", sigma);
    Tensor noise = Tensor::zeros(shape);
    fill_normal(stream, 0, noise.data());
    return noise * sigma;
}

Tensor sign_noise(const Shape& shape, int rank, float sigma, const NoiseStream& stream) {
    return factor_noise("sign_noise", shape, rank, sigma, stream, fill_signs,
                        detail::offset_of_signs);
}

Tensor sparse_noise(const Shape& shape, int64_t entries, float sigma, const NoiseStream& stream) {
    require_sigma("sparse_noise", sigma);
    if (shape.size() != 2 || entries < 1) {
        throw Error("[sparse_noise] needs a shape (O,I) and entries >= 1 but they are " +
                    to_string(shape) + " and " + std::to_string(entries));
    }
    Tensor noise = Tensor::zeros(shape);
    const auto n = static_cast<uint64_t>(noise.size());
    if (n == 0) return noise;
    const auto k = static_cast<size_t>(std::min(entries, noise.size()));
    std::vector<float> values(k);
    std::vector<uint32_t> words(2 * k);
    fill_normal(stream, 0, values);
    fill_words(stream, detail::offset_of_places(static_cast<int64_t>(k)), words);
    const float scale = sigma * std::sqrt(static_cast<float>(n) / static_cast<float>(k));
    for (size_t i = 0; i < k; ++i) {
        noise.data()[detail::place_of(words[2 * i], words[2 * i + 1], n)] += scale * values[i];
    }
    return noise;
}

namespace {

Tensor noise_of(const TableEntry& entry, float sigma, const NoiseStream& stream) {
    const NoiseShape& noise = entry.parameter.noise;
    const Shape& shape = entry.parameter.value.shape();
    if (!noise.is_matrix()) return full_noise(shape, sigma, stream);
    const Shape matrix = {noise.rows, noise.cols};
    switch (entry.law.kind) {
        case detail::LawKind::low_rank:
            return low_rank_noise(matrix, entry.rank, sigma, stream).reshape(shape);
        case detail::LawKind::full_rank:
            return full_noise(shape, sigma, stream);
        case detail::LawKind::sign:
            return sign_noise(matrix, entry.rank, sigma, stream).reshape(shape);
        case detail::LawKind::sparse:
            break;
    }
    return sparse_noise(matrix, entry.law.entries, sigma, stream).reshape(shape);
}

}  // namespace

Tensor detail::member_value(const TableEntry& entry, const Members& population, int64_t member) {
    const Tensor value = entry.parameter.value.to(Device::cpu());
    if (!entry.perturbed) return value;
    const GenerationBlock& block = *population.block;
    const NoiseStream stream{.seed = block.seed,
                             .parameter = entry.index,
                             .pair = static_cast<uint32_t>(population.pair_of(member)),
                             .generation = block.noise_generation};
    const float sigma = population.sign_of(member) * (block.sigma * entry.sigma_scale);
    return value + noise_of(entry, sigma, stream);
}

}  // namespace eggroll
