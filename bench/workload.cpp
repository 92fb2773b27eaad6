// SPDX-License-Identifier: MIT
#include "bench/workload.h"

#include "bench/harness.h"
#include "core/backend.h"
#include "core/storage.h"
#include "tests/cases.h"

#include <algorithm>
#include <utility>

namespace eggroll::bench {

using detail::TensorAccess;

namespace {

detail::ParameterTable unperturbed(const nn::Module& model) {
    std::vector<detail::TableEntry> entries;
    for (const Parameter& parameter : model.parameters()) {
        entries.push_back({.parameter = parameter});
    }
    return detail::ParameterTable(std::move(entries));
}

}  // namespace

nn::Sequential make_mlp(const std::vector<int64_t>& widths, Device device) {
    nn::Sequential model = test::make_model({.name = "mlp",
                                             .widths = widths,
                                             .act = Act::relu,
                                             .bias = true,
                                             .layer_norm = false,
                                             .rank = 1,
                                             .batch = 1,
                                             .pop_size = 2,
                                             .antithetic = true});
    model.to(device);
    return model;
}

int64_t weight_count(const std::vector<int64_t>& widths) {
    int64_t count = 0;
    for (size_t i = 0; i + 1 < widths.size(); ++i) count += widths[i] * widths[i + 1];
    return count;
}

Tensor make_input(int64_t inputs, int64_t pop_size, int64_t batch, bool shared) {
    if (shared) return test::random_tensor({batch, inputs});
    return per_member(test::random_tensor({pop_size, batch, inputs}));
}

Tensor make_labels(int64_t classes, int64_t pop_size, int64_t batch, bool shared) {
    std::vector<int32_t> ids(static_cast<size_t>(shared ? batch : pop_size * batch));
    for (size_t i = 0; i < ids.size(); ++i) {
        ids[i] = static_cast<int32_t>(static_cast<int64_t>(i * 7) % classes);
    }
    if (shared) return Tensor::from_ints({batch}, ids);
    return per_member(Tensor::from_ints({pop_size, batch}, ids));
}

void in_parallel(int64_t count, const std::function<void(int64_t)>& body, Device device) {
    using Body = const std::function<void(int64_t)>;
    detail::backend_of(device).run_chunks(
        count, [](void* context, int64_t i) { (*static_cast<Body*>(context))(i); },
        const_cast<void*>(static_cast<const void*>(&body)));
}

void finish_work(Device device) {
    if (device.kind() == Device::Kind::cpu) return;
    // A copy to the host waits for all that is before it in the device's stream.
    const Tensor one = Tensor::zeros({1}, device);
    float value = 0;
    TensorAccess::backend(one).copy_to_host(&value, TensorAccess::floats(one), sizeof(value));
}

PlainProduct::PlainProduct(const Tensor& x, const Tensor& w, int64_t block)
    : x_(x), w_(w), y_(Tensor::zeros({x.dim(0), w.dim(0)})), block_(block) {
    const detail::Backend& backend = detail::cpu_backend();
    packed_ = Tensor::zeros({backend.packed_size(w.dim(0), w.dim(1), block, Precision::f32)});
    if (packed_.size() > 0) {
        backend.pack(TensorAccess::floats(w_), w.dim(0), w.dim(1), Precision::f32,
                     TensorAccess::floats(packed_));
    }
}

void PlainProduct::run() {
    const int64_t rows = x_.dim(0), inputs = w_.dim(1), outputs = w_.dim(0);
    in_parallel((rows + block_ - 1) / block_, [&](int64_t index) {
        const int64_t first = index * block_;
        detail::cpu_backend().linear(
            {.members = {},
             .x = TensorAccess::floats(std::as_const(x_)) + first * inputs,
             .shared_x = false,
             .base = nullptr,
             .packed = packed_.size() > 0 ? TensorAccess::floats(std::as_const(packed_)) : nullptr,
             .w = {.value = TensorAccess::floats(std::as_const(w_))},
             .b = {},
             .act = Act::none,
             .y = TensorAccess::floats(y_) + first * outputs,
             .batch = std::min(block_, rows - first),
             .inputs = inputs,
             .outputs = outputs});
    });
}

PlainForward::PlainForward(const nn::Module& model, const Tensor& x, int64_t pop_size,
                           int64_t outputs, Precision precision)
    : model_(model),
      x_(without_members(x).reshape({-1, x.dim(-1)})),
      y_(Tensor::zeros({x.is_per_member() ? x_.dim(0) : pop_size * x_.dim(0), outputs},
                       x.device())),
      repeated_(!x.is_per_member()),
      table_(unperturbed(model)),
      scope_(table_, {.block = &generation_}) {
    scope_.precision = precision;
}

Tensor PlainForward::rows(const Tensor& of, int64_t first, int64_t count) const {
    return TensorAccess::with_shape(
        TensorAccess::member_range(TensorAccess::with_shape(of, {of.dim(0), 1, of.dim(1)}, true),
                                   first, count),
        {count, of.dim(1)}, false);
}

void PlainForward::set_block(int64_t block) {
    block_ = block;
    if (!repeated_ || block == 0) return;
    const int64_t copies = std::max<int64_t>(1, block / x_.dim(0));
    block_ = copies * x_.dim(0);
    block_x_ = concat(std::vector<Tensor>(static_cast<size_t>(copies), x_), 0);
}

Tensor PlainForward::apply(const Tensor& x) const {
    if (scope_.precision == Precision::f32) return model_(x);
    const int64_t count = x.dim(0);
    const Tensor y = model_.forward(per_member(x.reshape({count, 1, -1})),
                                    detail::ViewAccess::make(scope_, 0, count));
    return without_members(y).reshape({count, -1}).to(Dtype::f32);
}

void PlainForward::run() {
    if (block_ == 0) {
        y_ = Tensor();  // its memory serves again
        y_ = apply(x_);
        return;
    }
    const int64_t total = y_.dim(0), blocks = (total + block_ - 1) / block_;
    const auto run_block = [&](int64_t index) {
        const int64_t first = index * block_, count = std::min(block_, total - first);
        const Tensor x = repeated_ ? rows(block_x_, 0, count) : rows(x_, first, count);
        rows(y_, first, count).assign(apply(x));
    };
    in_parallel(blocks, run_block, x_.device());
}

void PlainForward::choose(const std::vector<int64_t>& widths, int64_t most_bytes) {
    const int64_t widest = *std::max_element(widths.begin(), widths.end());
    const bool on_cpu = x_.device().kind() == Device::Kind::cpu;
    // Blocks on a CPU: in a core's cache, or W better used. A GPU wants many rows.
    std::vector<int64_t> forms = {240, 960};
    if (!on_cpu) forms = {16384, 131072};
    if (!repeated_ && 2 * 4 * widest * y_.dim(0) <= most_bytes) forms.push_back(0);
    double best_ms = 0;
    int64_t best = forms.front();
    for (const int64_t form : forms) {
        set_block(form);
        const auto timed = [&] {
            run();
            finish_work(x_.device());
        };
        const double ms = measure({.warmup = 1, .count = 2}, timed).min();
        if (best_ms > 0 && ms >= best_ms) continue;
        best_ms = ms;
        best = form;
    }
    set_block(best);
}

}  // namespace eggroll::bench
