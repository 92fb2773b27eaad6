// SPDX-License-Identifier: MIT
#include <eggroll/perturbation.h>

#include "core/noise_math.h"
#include "core/perturbation.h"
#include "core/text.h"

#include <eggroll/ops.h>

#include <algorithm>
#include <cmath>

namespace eggroll {

namespace {

void require_sigma(const char* op, float sigma) {
    if (!std::isfinite(sigma)) {
        throw Error(std::string("[") + op + "] sigma must be finite but is " +
                    detail::number(sigma));
    }
}

}  // namespace

Tensor low_rank_noise(const Shape& shape, int rank, float sigma, const NoiseStream& stream) {
    if (shape.size() != 2 || rank < 1) {
        throw Error("[low_rank_noise] needs a shape (O,I) and rank >= 1 but they are " +
                    to_string(shape) + " and " + std::to_string(rank));
    }
    require_sigma("low_rank_noise", sigma);
    const int64_t outputs = shape[0], inputs = shape[1];
    const int64_t r = std::min({static_cast<int64_t>(rank), outputs, inputs});
    if (r == 0) return Tensor::zeros(shape);
    Tensor a = Tensor::zeros({outputs, r}), b = Tensor::zeros({inputs, r});
    fill_normal(stream, 0, b.data());
    fill_normal(stream, detail::offset_of_a(inputs, r), a.data());
    return matmul(a, transpose(b, 0, 1)) * (sigma / std::sqrt(static_cast<float>(r)));
}

Tensor full_noise(const Shape& shape, float sigma, const NoiseStream& stream) {
    require_sigma("full_noise", sigma);
    Tensor noise = Tensor::zeros(shape);
    fill_normal(stream, 0, noise.data());
    return noise * sigma;
}

Tensor detail::member_value(const TableEntry& entry, const GenerationBlock& block, bool antithetic,
                            int64_t member) {
    const Tensor value = entry.parameter.value.to(Device::cpu());
    if (!entry.perturbed) return value;
    const Members members{nullptr, member, 1, antithetic};
    const NoiseStream stream{.seed = block.seed,
                             .parameter = entry.index,
                             .pair = static_cast<uint32_t>(members.pair_of(member)),
                             .generation = block.generation};
    const float sigma = members.sign_of(member) * block.sigma;
    const NoiseShape& noise = entry.parameter.noise;
    if (!noise.is_matrix()) return value + full_noise(value.shape(), sigma, stream);
    return value + low_rank_noise({noise.rows, noise.cols}, entry.rank, sigma, stream)
                       .reshape(value.shape());
}

}  // namespace eggroll
