// SPDX-License-Identifier: MIT
#include "core/selection.h"

#include "core/noise_law.h"
#include "core/noise_math.h"
#include "core/text.h"

#include <algorithm>
#include <cmath>

namespace eggroll::detail {

namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& rule,
                         const std::string& value) {
    throw Error("[Options] " + option + " must be " + rule + " but is " + value);
}

}  // namespace

void check_sigma(float sigma) {
    if (!(sigma > 0.0f) || !std::isfinite(sigma)) {
        refuse("sigma", "positive and finite", number(sigma));
    }
}

void check_lr(float lr) {
    if (!(lr >= 0.0f) || !std::isfinite(lr)) {
        refuse("lr", "non-negative and finite", number(lr));
    }
}

void check_options(const Options& o) {
    const std::string population = std::to_string(o.pop_size);
    if (o.pop_size < 2 || o.pop_size > int64_t{1} << 32) {
        refuse("pop_size", "from 2 to 2^32", population);
    }
    if (o.antithetic && o.pop_size % 2 != 0) {
        refuse("pop_size", "even with antithetic sampling", population);
    }
    check_sigma(o.sigma);
    check_lr(o.lr);
    if (o.rank < 1) refuse("rank", "at least 1", std::to_string(o.rank));
    if (o.precision < Precision::f32 || o.precision > Precision::bf16) {
        refuse("precision", "f32, tf32 or bf16", std::to_string(static_cast<int>(o.precision)));
    }
    if (o.factor_cache_bytes < 0) {
        refuse("factor_cache_bytes", "at least 0", std::to_string(o.factor_cache_bytes));
    }
    if (o.noise_reuse < 0) refuse("noise_reuse", "at least 0", std::to_string(o.noise_reuse));
    if (NoiseLawAccess::is_baseline(o.noise) && o.antithetic) {
        refuse("noise", "without a baseline with antithetic sampling, where it cancels",
               o.noise.name());
    }
    for (const ParameterRule& rule : o.rules) {
        const std::string option = "rules[\"" + rule.pattern + "\"].";
        if (rule.rank && *rule.rank < 1) {
            refuse(option + "rank", "at least 1", std::to_string(*rule.rank));
        }
        if (rule.sigma_scale && !(*rule.sigma_scale > 0.0f && std::isfinite(*rule.sigma_scale))) {
            refuse(option + "sigma_scale", "positive and finite", number(*rule.sigma_scale));
        }
        if (rule.noise && NoiseLawAccess::is_baseline(*rule.noise)) {
            refuse(option + "noise", "a law of one parameter, without a baseline",
                   rule.noise->name());
        }
    }
    if (o.non_finite < NonFinite::worst || o.non_finite > NonFinite::error) {
        refuse("non_finite", "worst, drop or error",
               std::to_string(static_cast<int>(o.non_finite)));
    }
    if (o.evaluations < 1 || o.evaluations > int64_t{1} << 20) {
        refuse("evaluations", "from 1 to 2^20", std::to_string(o.evaluations));
    }
    if (!(o.clip_norm >= 0.0f) || !std::isfinite(o.clip_norm)) {
        refuse("clip_norm", "non-negative and finite", number(o.clip_norm));
    }
}

namespace {

/// Throws Error unless there is noise for it.
void check_parameter(const Parameter& parameter) {
    const NoiseShape& noise = parameter.noise;
    const auto refuse_it = [&](const std::string& why) {
        throw Error("[Eggroll] parameter \"" + parameter.name + "\" " +
                    to_string(parameter.value.shape()) + " must " + why);
    };
    if (TensorAccess::storage(parameter.value) == nullptr || parameter.value.size() == 0 ||
        parameter.value.dtype() != Dtype::f32 || parameter.value.is_per_member() ||
        (noise.is_matrix() && noise.rows * noise.cols != parameter.value.size())) {
        refuse_it("hold float32 values that its noise shape fits");
    }
    if (parameter.rank < 0) {
        refuse_it("have a rank of at least 0 but has " + std::to_string(parameter.rank));
    }
    if (!(parameter.sigma_scale > 0.0f) || !std::isfinite(parameter.sigma_scale)) {
        refuse_it("have a positive and finite sigma_scale but has " +
                  number(parameter.sigma_scale));
    }
}

/// What a rule matches.
struct RuleUse {
    bool any = false, matrix = false;
};

/// Throws Error for a rule that does nothing.
void check_use(const ParameterRule& rule, const RuleUse& use,
               const std::vector<TableEntry>& entries) {
    const std::string name = "[Options] rules[\"" + rule.pattern + "\"]";
    if (!use.any) {
        std::string names;
        for (const TableEntry& entry : entries) names += " \"" + entry.parameter.name + "\"";
        throw Error(name + " matches none of the parameters" + names);
    }
    if (use.matrix || (!rule.rank && !rule.noise)) return;
    const std::string option =
        rule.rank ? ".rank is " + std::to_string(*rule.rank) : ".noise is " + rule.noise->name();
    throw Error(name + option + " but none of the parameters it matches is a matrix");
}

/// How a parameter is perturbed: as it says itself, then by the rules, then by the filter.
TableEntry entry_for(Parameter parameter, uint32_t index, const Options& options,
                     std::vector<RuleUse>& uses) {
    check_parameter(parameter);
    const NoiseShape& noise = parameter.noise;
    int rank = parameter.rank > 0 ? parameter.rank : options.rank;
    NoiseLaw law = options.noise;
    bool frozen = parameter.frozen;
    TableEntry entry;
    entry.index = index;
    entry.sigma_scale = parameter.sigma_scale;
    for (size_t i = 0; i < options.rules.size(); ++i) {
        const ParameterRule& rule = options.rules[i];
        if (!matches(rule.pattern, parameter.name)) continue;
        uses[i].any = true;
        uses[i].matrix = uses[i].matrix || noise.is_matrix();
        rank = rule.rank.value_or(rank);
        law = rule.noise.value_or(law);
        frozen = rule.frozen.value_or(frozen);
        entry.sigma_scale = rule.sigma_scale.value_or(entry.sigma_scale);
    }
    entry.perturbed =
        !frozen && (noise.is_matrix() || !options.freeze_vectors) &&
        (!options.param_filter || options.param_filter(parameter.name, parameter.value));
    auto elements = static_cast<uint64_t>(parameter.value.size());
    if (noise.is_matrix()) {
        entry.law = law_for(law, noise);
        entry.rank = rank_for(entry.law, rank, noise);
        elements = stream_elements(entry.law, entry.rank, noise);
    }
    if (elements > kStreamElements) {
        throw Error("[Eggroll] parameter \"" + parameter.name + "\" " +
                    to_string(parameter.value.shape()) +
                    " needs more noise than one stream holds (2^34 elements)");
    }
    entry.parameter = std::move(parameter);
    return entry;
}

}  // namespace

ParameterTable select_parameters(const nn::Module& model, const Options& options) {
    std::vector<TableEntry> entries;
    std::vector<RuleUse> uses(options.rules.size());
    for (Parameter& parameter : model.parameters()) {
        const auto index = static_cast<uint32_t>(entries.size());
        entries.push_back(entry_for(std::move(parameter), index, options, uses));
    }
    if (entries.empty()) throw Error("[Eggroll] the model has no parameters");
    for (size_t i = 0; i < uses.size(); ++i) check_use(options.rules[i], uses[i], entries);
    if (std::none_of(entries.begin(), entries.end(),
                     [](const TableEntry& entry) { return entry.perturbed; })) {
        throw Error(
            "[Eggroll] no parameter is selected: param_filter, rules, freeze_vectors or frozen "
            "entries leave out all " +
            std::to_string(entries.size()));
    }
    return ParameterTable(std::move(entries));
}

Precision precision_for(const Options& options, const ParameterTable& table) {
    const auto plain = [](const TableEntry& entry) {
        return !entry.perturbed || entry.law.kind == LawKind::low_rank;
    };
    const bool all = std::all_of(table.entries().begin(), table.entries().end(), plain);
    return all ? options.precision : std::min(options.precision, Precision::tf32);
}

}  // namespace eggroll::detail
