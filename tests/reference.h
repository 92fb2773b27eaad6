// SPDX-License-Identifier: MIT
#pragma once

#include "tests/cases.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

// What EGGROLL means, written down naively in double: every member's weights are materialised, the
// update is the literal sum over members. Only the noise itself comes from the library, through
// the public fill_normal, which has tests of its own.
//
// Each number carries a bound on how far a float computation of it may be off, whatever order it
// sums in and whether or not it fuses: a sum of n products is within n·u·Σ|products| to first
// order (Higham, Accuracy and Stability, §3.1, u = 2^-24), and errors of operands are carried on
// (running error analysis, §3.3). `kFew` stands for the handful of roundings outside a sum.

namespace eggroll::test::reference {

inline constexpr double kUnit = 0x1p-24;
inline constexpr double kFew = 8;

using Values = std::vector<double>;

/// A value and the largest error allowed to a float computation of it.
struct Bounded {
    double value = 0, error = 0;
};

/// Largest |got − want| in units of the bound: at most 1 when all is well; infinite for a wrong
/// count or a number that is not finite.
inline double excess(std::span<const float> got, std::span<const Bounded> want) {
    if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        const double off = std::fabs(static_cast<double>(got[i]) - want[i].value);
        if (off == 0) continue;
        if (!(off <= std::numeric_limits<double>::max()) || want[i].error == 0) {
            return std::numeric_limits<double>::infinity();
        }
        worst = std::max(worst, off / want[i].error);
    }
    return worst;
}

// --- Noise --------------------------------------------------------------------------------------

/// What decides every member's perturbation.
struct Law {
    uint64_t seed;
    double sigma;
    int rank;
    bool antithetic;
    std::string law = "low_rank";  // as NoiseLaw::name() writes it
    int64_t noise_reuse = 1;
};

inline Law law_of(const Options& options) {
    return {options.seed,         static_cast<double>(options.sigma),
            options.rank,         options.antithetic,
            options.noise.name(), options.noise_reuse};
}

inline Values normals(const NoiseStream& stream, uint64_t first, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    fill_normal(stream, first, values);
    return {values.begin(), values.end()};
}

/// σ/√r A Bᵀ (O,I), or σ ε; `magnitude` is the sum of the absolute products behind each element.
struct Perturbation {
    Values delta, magnitude;
    int64_t terms = 1;  // products an element is the sum of
};

/// Bit e of the stream's words, as ±1.
inline Values signs(const NoiseStream& stream, uint64_t first, int64_t n) {
    Values result;
    for (uint64_t e = first; e < first + static_cast<uint64_t>(n); ++e) {
        uint32_t word[1];
        fill_words(stream, e / 32, word);
        result.push_back((word[0] >> (e % 32)) % 2 == 1 ? -1.0 : 1.0);
    }
    return result;
}

/// k normals, each at floor(u n) of n places, u from 64 bits; scaled to variance 1.
inline Perturbation sparse_noise(int64_t n, int64_t entries, double sigma,
                                 const NoiseStream& stream) {
    const int64_t k = std::min(entries, n);
    const Values v = normals(stream, 0, k);
    std::vector<uint32_t> words(static_cast<size_t>(2 * k));
    fill_words(stream, static_cast<uint64_t>((k + 3) / 4 * 4), words);
    Perturbation result;
    result.delta.assign(static_cast<size_t>(n), 0.0);
    result.magnitude = result.delta;
    result.terms = k;
    const double scale = sigma * std::sqrt(static_cast<double>(n) / static_cast<double>(k));
    for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
        // n < 2^32 here: the upper half of the 96-bit product.
        const auto size = static_cast<uint64_t>(n);
        const uint64_t low = words[2 * i] * size >> 32;
        const size_t place = (words[2 * i + 1] * size + low) >> 32;
        result.delta[place] += scale * v[i];
        result.magnitude[place] += std::fabs(scale * v[i]);
    }
    return result;
}

inline Perturbation matrix_noise(int64_t outputs, int64_t inputs, int rank, double sigma,
                                 const NoiseStream& stream, bool of_signs = false) {
    const int64_t r = std::min({static_cast<int64_t>(rank), outputs, inputs});
    const int64_t block = of_signs ? 128 : 4;
    const auto base_a = static_cast<uint64_t>((inputs * r + block - 1) / block * block);
    const auto factor = of_signs ? signs : normals;
    const Values b = factor(stream, 0, inputs * r);  // (I,r)
    const Values a = factor(stream, base_a, outputs * r);
    Perturbation result;
    result.terms = r;
    for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t i = 0; i < inputs; ++i) {
            double sum = 0, magnitude = 0;
            for (int64_t k = 0; k < r; ++k) {
                const double term = sigma / std::sqrt(static_cast<double>(r)) *
                                    a[static_cast<size_t>(o * r + k)] *
                                    b[static_cast<size_t>(i * r + k)];
                sum += term;
                magnitude += std::fabs(term);
            }
            result.delta.push_back(sum);
            result.magnitude.push_back(magnitude);
        }
    }
    return result;
}

inline Perturbation vector_noise(int64_t n, double sigma, const NoiseStream& stream) {
    Perturbation result;
    for (const double e : normals(stream, 0, n)) {
        result.delta.push_back(sigma * e);
        result.magnitude.push_back(std::fabs(sigma * e));
    }
    return result;
}

/// θ_p − θ of the parameter at `index` of the model's full parameters().
inline Perturbation perturbation(const Law& law, const Parameter& parameter, size_t index,
                                 int64_t member, int64_t generation) {
    const int64_t pair = law.antithetic ? member / 2 : member;
    double sigma = law.antithetic && member % 2 == 1 ? -law.sigma : law.sigma;
    std::string name = law.law;
    if (name.starts_with("baseline(")) {
        name = name.substr(9, name.size() - 10);
        if (member == 0) sigma = 0;
    }
    if (law.noise_reuse == 0) generation = 0;
    if (law.noise_reuse > 1) generation /= law.noise_reuse;
    const NoiseStream stream{.seed = law.seed,
                             .parameter = static_cast<uint32_t>(index),
                             .pair = static_cast<uint32_t>(pair),
                             .generation = static_cast<uint32_t>(generation)};
    const NoiseShape& shape = parameter.noise;
    const int64_t n = parameter.value.size();
    if (!shape.is_matrix() || name == "full_rank") return vector_noise(n, sigma, stream);
    if (name.starts_with("sparse(")) {
        return sparse_noise(n, std::stoll(name.substr(7)), sigma, stream);
    }
    return matrix_noise(shape.rows, shape.cols, law.rank, sigma, stream, name == "sign");
}

// --- Members ------------------------------------------------------------------------------------

/// θ_p of one parameter.
struct MemberParameter {
    Values value, magnitude;  // magnitude: |θ| + that of the perturbation
    int64_t terms = 0;        // products an element's perturbation is the sum of; 0: unperturbed

    /// As materialised in float: the perturbation, then one addition.
    std::vector<Bounded> materialised() const {
        std::vector<Bounded> result;
        for (size_t e = 0; e < value.size(); ++e) {
            const double roundings = terms == 0 ? 0.0 : static_cast<double>(terms) + kFew;
            result.push_back({value[e], roundings * kUnit * magnitude[e]});
        }
        return result;
    }
};

using Selected = std::function<bool(const std::string&, const Tensor&)>;

/// All parameters of a member; those the filter refuses keep the centre's values.
inline std::vector<MemberParameter> member_parameters(const nn::Module& model, const Law& law,
                                                      int64_t member, int64_t generation,
                                                      const Selected& selected = {}) {
    std::vector<MemberParameter> result;
    for (const Parameter& parameter : model.parameters()) {
        const Tensor& centre = parameter.value;
        MemberParameter own;
        const std::vector<float> values = host(centre);
        own.value.assign(values.begin(), values.end());
        for (const double w : own.value) own.magnitude.push_back(std::fabs(w));
        if (!selected || selected(parameter.name, centre)) {
            const Perturbation noise =
                perturbation(law, parameter, result.size(), member, generation);
            for (size_t e = 0; e < own.value.size(); ++e) {
                own.value[e] += noise.delta[e];
                own.magnitude[e] += noise.magnitude[e];
            }
            own.terms = noise.terms;
        }
        result.push_back(std::move(own));
    }
    return result;
}

/// The unperturbed weights.
inline std::vector<MemberParameter> centre_parameters(const nn::Module& model) {
    return member_parameters(model, {}, 0, 0,
                             [](const std::string&, const Tensor&) { return false; });
}

// --- Forward passes -----------------------------------------------------------------------------

/// y = x Wᵀ + b for one row. In float the low-rank part may be (x B) Aᵀ, whose two sums have I and
/// r products.
inline std::vector<Bounded> linear(const std::vector<Bounded>& x, const MemberParameter& w,
                                   const MemberParameter* b) {
    const size_t inputs = x.size(), outputs = w.value.size() / inputs;
    const double roundings = static_cast<double>(inputs) + static_cast<double>(w.terms) + kFew;
    std::vector<Bounded> y;
    for (size_t o = 0; o < outputs; ++o) {
        double sum = b != nullptr ? b->value[o] : 0.0;
        double magnitude = b != nullptr ? b->magnitude[o] : 0.0;
        double carried = 0;
        for (size_t i = 0; i < inputs; ++i) {
            sum += x[i].value * w.value[o * inputs + i];
            magnitude += (std::fabs(x[i].value) + x[i].error) * w.magnitude[o * inputs + i];
            carried += x[i].error * std::fabs(w.value[o * inputs + i]);
        }
        y.push_back({sum, carried + roundings * kUnit * magnitude});
    }
    return y;
}

/// Steepest slopes: 1 for relu and tanh, 1/4 for sigmoid, below 1.13 for gelu and 1.1 for silu.
/// The float functions are taken to be good to kFew units of the larger of 1 and |x|.
inline Bounded activation(Act act, const Bounded& x) {
    const double v = x.value;
    const double own = kFew * kUnit * std::max(1.0, std::fabs(v));
    const double sigmoid = 1.0 / (1.0 + std::exp(-v));
    switch (act) {
        case Act::none:
            return x;
        case Act::relu:
            return {std::max(v, 0.0), x.error};
        case Act::tanh:
            return {std::tanh(v), x.error + own};
        case Act::sigmoid:
            return {sigmoid, 0.25 * x.error + own};
        case Act::gelu:
            return {0.5 * v * (1.0 + std::erf(v / std::sqrt(2.0))), 1.13 * x.error + own};
        case Act::silu:
            return {v * sigmoid, 1.1 * x.error + own};
    }
    return {};
}

/// (x − mean)/√(var + eps) · gain + bias over one row.
inline std::vector<Bounded> layer_norm(const std::vector<Bounded>& x, const MemberParameter& gain,
                                       const MemberParameter& bias, double eps = 1e-5) {
    const auto n = static_cast<double>(x.size());
    double mean = 0, mean_error = 0;
    for (const Bounded& v : x) {
        mean += v.value / n;
        mean_error += (v.error + (n + kFew) * kUnit * std::fabs(v.value)) / n;
    }
    std::vector<Bounded> centred;
    double variance = 0, variance_error = 0;
    for (const Bounded& v : x) {
        const double c = v.value - mean;
        const double e = v.error + mean_error + kUnit * std::fabs(c);
        centred.push_back({c, e});
        variance += c * c / n;
        variance_error += (2 * std::fabs(c) * e + e * e + (n + kFew) * kUnit * c * c) / n;
    }
    const double scale = 1 / std::sqrt(variance + eps);
    const double largest = 1 / std::sqrt(std::max(0.0, variance - variance_error) + eps);
    const double smallest = 1 / std::sqrt(variance + variance_error + eps);
    std::vector<Bounded> y;
    for (size_t i = 0; i < x.size(); ++i) {
        const double z = centred[i].value * scale;
        const double z_error = centred[i].error * largest +
                               std::fabs(centred[i].value) * (largest - smallest) +
                               kFew * kUnit * std::fabs(z);
        y.push_back({z * gain.value[i] + bias.value[i],
                     z_error * std::fabs(gain.value[i]) +
                         kFew * kUnit * (std::fabs(z) * gain.magnitude[i] + bias.magnitude[i])});
    }
    return y;
}

/// The network of a case with these weights, row by row. x (B,I) -> (B,O).
inline std::vector<Bounded> forward(const NetworkCase& of,
                                    const std::vector<MemberParameter>& weights,
                                    std::span<const float> x) {
    const auto inputs = static_cast<size_t>(of.widths[0]);
    std::vector<Bounded> y;
    for (size_t first = 0; first < x.size(); first += inputs) {
        std::vector<Bounded> row;
        for (size_t i = 0; i < inputs; ++i) row.push_back({static_cast<double>(x[first + i]), 0});
        size_t next = 0;  // parameter
        for (size_t layer = 0; layer + 1 < of.widths.size(); ++layer) {
            const MemberParameter& w = weights[next++];
            row = linear(row, w, of.bias ? &weights[next++] : nullptr);
            if (layer + 2 == of.widths.size()) break;
            if (of.layer_norm) {
                row = layer_norm(row, weights[next], weights[next + 1]);
                next += 2;
            }
            for (Bounded& v : row) v = activation(of.act, v);
        }
        y.insert(y.end(), row.begin(), row.end());
    }
    return y;
}

// --- Fitness ------------------------------------------------------------------------------------

/// What a report says of the raw fitness: finite members only.
struct Statistics {
    double mean = 0, best = 0, worst = 0, std = 0;
    int64_t best_member = -1, non_finite = 0;
};

inline double mean_of(const Values& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return sum / static_cast<double>(values.size());
}

inline double unbiased_std(const Values& values) {
    const double mean = mean_of(values);
    double squares = 0;
    for (const double v : values) squares += (v - mean) * (v - mean);
    return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

inline Statistics statistics(std::span<const float> fitness) {
    Statistics result;
    Values finite;
    for (size_t p = 0; p < fitness.size(); ++p) {
        const auto f = static_cast<double>(fitness[p]);
        if (!std::isfinite(f)) {
            ++result.non_finite;
            continue;
        }
        if (finite.empty() || f > result.best) {
            result.best = f;
            result.best_member = static_cast<int64_t>(p);
        }
        result.worst = finite.empty() ? f : std::min(result.worst, f);
        finite.push_back(f);
    }
    if (finite.empty()) return result;
    result.mean = mean_of(finite);
    if (finite.size() > 1) result.std = unbiased_std(finite);
    return result;
}

/// f̂ of all members; a non-finite one counts as the worst of the finite. Empty: no update.
inline Values shaped(std::span<const float> fitness, bool normalize) {
    const Statistics raw = statistics(fitness);
    if (raw.best_member < 0) return {};
    Values values;
    for (const float f : fitness) {
        values.push_back(std::isfinite(f) ? static_cast<double>(f) : raw.worst);
    }
    const double mean = mean_of(values), std = unbiased_std(values);
    for (double& v : values) v = normalize && std > 1e-8 ? (v - mean) / std : v - mean;
    return values;
}

// --- The update ---------------------------------------------------------------------------------

/// g = √P · (1/P) Σ_p f̂_p (θ_p − θ). In float it may be one sum over all pairs or members and
/// their ranks; f̂, c and their product are rounded too, which is among the few.
inline std::vector<Bounded> ascent(const Law& law, const Parameter& parameter, size_t index,
                                   int64_t generation, const Values& fitness) {
    const auto n = static_cast<size_t>(parameter.value.size());
    const auto pop_size = static_cast<double>(fitness.size());
    Values sum(n, 0.0), magnitude(n, 0.0);
    int64_t terms = 0;
    for (size_t p = 0; p < fitness.size(); ++p) {
        const Perturbation noise =
            perturbation(law, parameter, index, static_cast<int64_t>(p), generation);
        terms += noise.terms;
        for (size_t e = 0; e < n; ++e) {
            sum[e] += fitness[p] * noise.delta[e];
            magnitude[e] += std::fabs(fitness[p]) * noise.magnitude[e];
        }
    }
    std::vector<Bounded> g;
    const double scale = std::sqrt(pop_size) / pop_size;
    for (size_t e = 0; e < n; ++e) {
        g.push_back(
            {scale * sum[e], (static_cast<double>(terms) + kFew) * kUnit * scale * magnitude[e]});
    }
    return g;
}

enum class Rule { sgd, momentum, adam };

inline std::shared_ptr<const Optimizer> optimizer_of(Rule rule) {
    switch (rule) {
        case Rule::sgd:
            return {};
        case Rule::momentum:
            return optim::momentum();
        case Rule::adam:
            return optim::adam();
    }
    return {};
}

/// Trains a copy of a model's values in double, with the optimizers' default constants.
class Trainer {
public:
    Trainer(const nn::Module& model, Options options, Rule rule)
        : options_(std::move(options)), rule_(rule), parameters_(model.parameters()) {
        for (const Parameter& parameter : parameters_) {
            const Tensor& value = parameter.value;
            State state;
            for (const float v : host(value)) state.value.push_back({static_cast<double>(v), 0});
            state.first.resize(state.value.size());
            state.second.resize(state.value.size());
            initial_.push_back(state.value);
            states_.push_back(std::move(state));
        }
    }

    void tell(std::span<const float> fitness) {
        const Values f = shaped(fitness, options_.normalize_fitness);
        Law law = law_of(options_);
        law.sigma *= options_.sigma_schedule(generation_);
        const double lr = static_cast<double>(options_.lr) * options_.lr_schedule(generation_);
        if (!f.empty()) ++updates_;
        for (size_t i = 0; i < parameters_.size() && !f.empty(); ++i) {
            const Parameter& parameter = parameters_[i];
            if (options_.param_filter && !options_.param_filter(parameter.name, parameter.value)) {
                continue;
            }
            const std::vector<Bounded> g = ascent(law, parameter, i, generation_, f);
            for (size_t e = 0; e < g.size(); ++e) apply(states_[i], e, g[e], lr);
        }
        ++generation_;
    }

    /// Largest deviation of a model's parameters in units of the bound.
    double excess_of(const nn::Module& model) const {
        const std::vector<std::vector<float>> values = values_of(model);
        if (values.size() != states_.size()) return std::numeric_limits<double>::infinity();
        double worst = 0;
        for (size_t i = 0; i < values.size(); ++i) {
            worst = std::max(worst, excess(values[i], states_[i].value));
        }
        return worst;
    }

    /// Sum of all bounds over the sum of all changes: how much the comparison can overlook.
    double blindness() const {
        double bound = 0, change = 0;
        for (size_t i = 0; i < states_.size(); ++i) {
            for (size_t e = 0; e < initial_[i].size(); ++e) {
                bound += states_[i].value[e].error;
                change += std::fabs(states_[i].value[e].value - initial_[i][e].value);
            }
        }
        return bound / change;
    }

private:
    struct State {
        std::vector<Bounded> value, first, second;
    };

    /// m = decay·m + gain·x
    static void average(Bounded& m, double decay, double gain, const Bounded& x) {
        const double old = decay * m.value, fresh = gain * x.value;
        m = {old + fresh,
             decay * m.error + gain * x.error + kFew * kUnit * (std::fabs(old) + std::fabs(fresh))};
    }

    /// θ += change
    static void move(Bounded& value, const Bounded& change) {
        value.value += change.value;
        value.error += change.error + kFew * kUnit * std::fabs(change.value) +
                       2 * kUnit * std::fabs(value.value);
    }

    void apply(State& state, size_t e, const Bounded& g, double lr) {
        Bounded& value = state.value[e];
        Bounded& m = state.first[e];
        Bounded& v = state.second[e];
        if (rule_ == Rule::sgd) return move(value, {lr * g.value, lr * g.error});
        if (rule_ == Rule::momentum) {
            average(m, static_cast<double>(0.9f), 1.0, g);
            return move(value, {lr * m.value, lr * m.error});
        }
        const auto beta1 = static_cast<double>(0.9f), beta2 = static_cast<double>(0.999f);
        const auto t = static_cast<double>(updates_), eps = static_cast<double>(1e-8f);
        average(m, beta1, 1.0 - beta1, g);
        average(v, beta2, 1.0 - beta2,
                {g.value * g.value, 2.0 * std::fabs(g.value) * g.error + g.error * g.error});
        const double m_bias = 1.0 - std::pow(beta1, t), v_bias = 1.0 - std::pow(beta2, t);
        const auto root = [&](double x) { return std::sqrt(std::max(0.0, x) / v_bias) + eps; };
        const double smallest = root(v.value - v.error), largest = root(v.value + v.error);
        const double m_hat = m.value / m_bias;
        move(value, {lr * m_hat / root(v.value),
                     lr * (m.error / m_bias / smallest +
                           std::fabs(m_hat) * (largest - smallest) / (smallest * root(v.value)))});
    }

    Options options_;
    Rule rule_;
    std::vector<Parameter> parameters_;
    std::vector<State> states_;
    std::vector<std::vector<Bounded>> initial_;
    int64_t generation_ = 0, updates_ = 0;
};

}  // namespace eggroll::test::reference
