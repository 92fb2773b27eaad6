// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/eggroll.h>

#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// The shapes that tests and benchmarks share. Letters as in core/eggroll/ops.h: P population,
// B batch rows a member, I inputs, O outputs.

namespace eggroll::test {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();

// --- Where the suite runs -----------------------------------------------------------------------

/// EGGROLL_DEVICE=cuda has the tests of tensors, layers and strategies run on the GPU.
inline bool on_cuda() {
    const char* name = std::getenv("EGGROLL_DEVICE");
    return name != nullptr && std::string(name) == "cuda";
}
inline Device test_device() {
    return on_cuda() ? Device::cuda() : Device::cpu();
}

/// Whether the tests run where every kernel takes long, on a GPU that is emulated: sizes shrink.
inline bool is_slow() {
    return on_cuda();
}

// Tensors there.
inline Tensor zeros(const Shape& shape) {
    return Tensor::zeros(shape, test_device());
}
inline Tensor full(const Shape& shape, float value) {
    return Tensor::full(shape, value, test_device());
}
inline Tensor tensor(const Shape& shape, std::span<const float> values) {
    return Tensor::from(shape, values).to(test_device());
}
inline Tensor tensor(const Shape& shape, std::initializer_list<float> values) {
    return Tensor::from(shape, values).to(test_device());
}
inline Tensor int_tensor(const Shape& shape, std::span<const int32_t> values) {
    return Tensor::from_ints(shape, values).to(test_device());
}
inline Tensor int_tensor(const Shape& shape, std::initializer_list<int32_t> values) {
    return Tensor::from_ints(shape, values).to(test_device());
}

/// A model there.
template <class M>
M here(M model) {
    model.to(test_device());
    return model;
}

/// The values of a tensor of any device.
inline std::vector<float> host(const Tensor& x) {
    const Tensor there = x.to(Device::cpu());
    return {there.data().begin(), there.data().end()};
}
inline std::vector<int32_t> host_ints(const Tensor& x) {
    const Tensor there = x.to(Device::cpu());
    return {there.ints().begin(), there.ints().end()};
}

/// The rows of one member of a per-member tensor.
inline std::vector<float> part(const Tensor& y, int64_t member) {
    const std::vector<float> all = host(y);
    const int64_t n = y.size() / y.members();
    return {all.begin() + member * n, all.begin() + (member + 1) * n};
}

/// One linear layer and a population over it: x (B,I), W (O,I).
struct LayerCase {
    int64_t outputs, inputs, batch, pop_size;
};

/// Shapes that no register width, tile or panel divides, and the degenerate ones.
inline constexpr LayerCase kLayerCases[] = {
    {1, 1, 1, 34},   {1, 7, 5, 6},   {9, 1, 16, 6},    {3, 5, 5, 34},  {17, 33, 1, 34},
    {17, 33, 16, 6}, {64, 64, 7, 4}, {257, 129, 5, 4}, {2, 515, 1, 6}, {515, 2, 3, 4},
};

/// Every rank up to here is tested, the small shapes above min(O,I) too.
inline constexpr int kMaxRank = 8;

/// A stack of linear layers with an activation between them, and a population over it.
struct NetworkCase {
    std::string name;
    std::vector<int64_t> widths;  // inputs first
    Act act;
    bool bias, layer_norm;  // layer_norm: one before each activation
    int rank;
    int64_t batch, pop_size;
    bool antithetic;
};

inline const std::vector<NetworkCase>& network_cases() {
    static const std::vector<NetworkCase> cases = {
        {"plain", {5, 3}, Act::none, true, false, 4, 1, 34, true},
        {"scalar", {1, 1, 1}, Act::tanh, true, false, 1, 1, 2, true},
        {"mlp", {33, 17, 5}, Act::relu, true, false, 4, 16, 34, true},
        {"mlp, one row", {33, 17, 5}, Act::relu, true, false, 1, 1, 130, true},
        {"no bias", {7, 19, 3}, Act::tanh, false, false, 3, 5, 34, true},
        {"independent", {7, 19, 3}, Act::silu, true, false, 2, 5, 35, false},
        {"norm", {11, 23, 13, 2}, Act::gelu, true, true, 5, 5, 10, true},
        {"norm, independent", {11, 23, 2}, Act::sigmoid, true, true, 8, 16, 7, false},
        {"wide", {129, 257, 10}, Act::relu, true, false, 4, 5, 6, true},
    };
    return cases;
}

/// The model of a case, initial weights drawn from the seed; names as PyTorch's Sequential gives.
inline nn::Sequential make_model(const NetworkCase& of, uint64_t seed = 0) {
    std::vector<std::unique_ptr<nn::Module>> layers;
    for (size_t i = 0; i + 1 < of.widths.size(); ++i) {
        layers.push_back(std::make_unique<nn::Linear>(of.widths[i], of.widths[i + 1], of.bias));
        if (i + 2 == of.widths.size()) break;
        if (of.layer_norm) layers.push_back(std::make_unique<nn::LayerNorm>(of.widths[i + 1]));
        switch (of.act) {
            case Act::none:
                break;
            case Act::relu:
                layers.push_back(std::make_unique<nn::ReLU>());
                break;
            case Act::tanh:
                layers.push_back(std::make_unique<nn::Tanh>());
                break;
            case Act::sigmoid:
                layers.push_back(std::make_unique<nn::Sigmoid>());
                break;
            case Act::gelu:
                layers.push_back(std::make_unique<nn::GELU>());
                break;
            case Act::silu:
                layers.push_back(std::make_unique<nn::SiLU>());
                break;
        }
    }
    nn::Sequential model(std::move(layers));
    model.init(seed);
    model.to(test_device());
    return model;
}

/// Writes one element of a tensor of any device; T is float, or int32_t for ids and labels.
template <class T>
void set(Tensor& x, int64_t index, T value) {
    Tensor there = x.to(Device::cpu());  // the same memory if it is there
    if constexpr (std::is_same_v<T, float>) {
        there.data()[static_cast<size_t>(index)] = value;
    } else {
        there.ints()[static_cast<size_t>(index)] = value;
    }
    if (x.device() != Device::cpu()) x.assign(there);
}

/// Standard normals as data. Their stream's parameter lies far above any model's.
inline Tensor host_random_tensor(const Shape& shape, uint32_t which = 0) {
    Tensor x = Tensor::zeros(shape);
    fill_normal({.seed = 20, .parameter = 1u << 20, .pair = which, .generation = 0}, 0, x.data());
    return x;
}
inline Tensor random_tensor(const Shape& shape, uint32_t which = 0) {
    return host_random_tensor(shape, which).to(test_device());
}

/// As many fitnesses, without order or symmetry.
inline std::vector<float> random_fitness(int64_t pop_size, uint32_t which = 0) {
    return host(host_random_tensor({pop_size}, 1000 + which));
}

/// Another number of threads to the end of the scope.
class ThreadScope {
public:
    explicit ThreadScope(int n) : before_(num_threads()) { set_num_threads(n); }
    ~ThreadScope() { set_num_threads(before_); }
    ThreadScope(const ThreadScope&) = delete;
    ThreadScope& operator=(const ThreadScope&) = delete;

private:
    int before_;
};

/// The values of all parameters, for comparison bit for bit (no value here is NaN or -0).
inline std::vector<std::vector<float>> values_of(const nn::Module& model) {
    std::vector<std::vector<float>> values;
    for (const Parameter& parameter : model.parameters()) {
        values.push_back(host(parameter.value));
    }
    return values;
}

}  // namespace eggroll::test
