// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/noise.h>
#include <eggroll/ops.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace eggroll {

/// Writes the initial value of a parameter on the host, drawing from `stream` only, so that it is a
/// function of (seed, parameter, shape) alone. `nn::init` has the usual ones.
using Initializer = std::function<void(Tensor& value, const NoiseStream& stream)>;

/// How a parameter is perturbed: as a matrix (rows, cols), or as a vector when rows is 0.
struct NoiseShape {
    int64_t rows = 0, cols = 0;

    bool is_matrix() const { return rows > 0; }
    /// Rank 2 is a matrix, all else a vector.
    static NoiseShape of(const Shape& shape) {
        return shape.size() == 2 ? NoiseShape{shape[0], shape[1]} : NoiseShape{};
    }
};

/// One named tensor of a model. `value` aliases the model's storage.
struct Parameter {
    std::string name;  // "0.weight"
    Tensor value;
    NoiseShape noise = {};
    Initializer init = {};
    int rank = 0;           // of its perturbation; 0: Options::rank
    float sigma_scale = 1;  // times σ
    bool frozen = false;    // never perturbed nor changed
    // Bounds of what `value(name)` of a bundle, a member or a population reads; the parameter
    // itself is free, and the operations of <eggroll/ops.h> see it as it is.
    float min = -std::numeric_limits<float>::infinity();
    float max = std::numeric_limits<float>::infinity();
};

namespace nn {

using eggroll::Parameter;

/// A layer or a model: parameters and `forward`. Move-only.
///
/// A layer of one's own registers its parameters and inner layers in its constructor and overrides
/// `forward`; see examples/own_layer.cpp:
///
///     class Gated : public nn::Module {
///     public:
///         Gated(int64_t in, int64_t out) : value_(in, out), gate_(in, out) {
///             register_module("value", value_);
///             register_module("gate", gate_);
///         }
///         Tensor forward(const Tensor& x, const View& v) const override {
///             return value_.forward(x, v) * sigmoid(gate_.forward(x, v));
///         }
///     private:
///         nn::Linear value_, gate_;
///     };
class EGGROLL_API Module {
public:
    virtual ~Module();
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;

    /// The model's output for the weights `v` means. Const and re-entrant: called many times a
    /// generation from several threads. x (B,I), or (V,B,I) per-member -> (B,O), or (V,B,O).
    virtual Tensor forward(const Tensor& x, const View& v) const = 0;
    /// The output of the unperturbed weights.
    Tensor operator()(const Tensor& x) const { return forward(x, View::centre()); }

    /// forward, then an activation; a layer that can fold the activation into its last operation
    /// overrides this.
    virtual Tensor forward_then(const Tensor& x, const View& v, Act act) const;
    /// What this layer is, if it is nothing but an activation; else Act::none.
    virtual Act activation() const { return Act::none; }

    /// All parameters in the order of registration, inner layers' under "name.". Names and shapes
    /// are PyTorch's: "0.weight" (O,I), "0.bias" (O).
    virtual std::vector<Parameter> parameters() const { return parameters_; }

    /// Draws every parameter anew from its initializer; they then count as written to.
    void init(uint64_t seed = 0);
    /// Moves all parameters; tensors that alias them move too.
    void to(Device device);
    /// Copies the values of another model whose parameters have the same names and shapes; throws
    /// Error naming the first difference and then has changed nothing. Parameters that nobody has
    /// written to yet, as those of a fresh clone, go to the other's device.
    void copy_from(const Module& other);
    /// A model of its own with the same values. A layer of one's own that wants it overrides it:
    /// make one with the same sizes, `copy_from(*this)`, return it.
    virtual std::unique_ptr<Module> clone() const;

protected:
    Module() = default;
    Module(Module&&) noexcept = default;
    Module& operator=(Module&&) noexcept = default;

    /// Registers a parameter of this layer and draws its initial value; returns the tensor to keep.
    Tensor register_parameter(const std::string& name, const Shape& shape, Initializer init);
    Tensor register_parameter(const std::string& name, const Shape& shape, Initializer init,
                              NoiseShape noise);
    /// The same of one that is described in full; its value tells the shape.
    Tensor register_parameter(Parameter parameter);
    /// Registers an inner layer: its parameters appear as "name.<theirs>". A layer whose values
    /// nobody has written to since it was made gets fresh ones, as parts of this one.
    void register_module(const std::string& name, const Module& inner);

private:
    std::vector<Parameter> parameters_;
};

}  // namespace nn
}  // namespace eggroll
