// SPDX-License-Identifier: MIT
// Embedding, RMSNorm, Residual, GRU and the minimal GRU against their formulas in double.
#include "tests/check_layer.h"
#include "tests/errors.h"
#include "tests/reference_layers.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

std::vector<std::string> names_of(const nn::Module& model) {
    std::vector<std::string> names;
    for (const Parameter& parameter : model.parameters()) {
        names.push_back(parameter.name + " " + to_string(parameter.value.shape()));
    }
    return names;
}

std::vector<int32_t> ids_of(int64_t count, int64_t below, uint32_t which) {
    std::vector<uint32_t> words(static_cast<size_t>(count));
    fill_words({.seed = 21, .parameter = 1u << 20, .pair = which, .generation = 0}, 0, words);
    std::vector<int32_t> ids;
    for (const uint32_t word : words) {
        ids.push_back(static_cast<int32_t>(word % static_cast<uint32_t>(below)));
    }
    return ids;
}

std::vector<ref::Bounded> rows_of(const std::vector<ref::Bounded>& table,
                                  std::span<const int32_t> ids, int64_t width) {
    std::vector<ref::Bounded> rows;
    for (const int32_t id : ids) {
        const auto first = table.begin() + id * width;
        rows.insert(rows.end(), first, first + width);
    }
    return rows;
}

const LayerCheck& few(int64_t terms) {
    static LayerCheck check;
    check = {.terms = terms, .pop_size = is_slow() ? 10 : 22};
    return check;
}

/// Tokens to logits through a recurrent layer: its last state.
class Reader : public nn::Module {
public:
    Reader() : table_(7, 3), cell_(3, 4), out_(4, 7) {
        register_module("table", table_);
        register_module("cell", cell_);
        register_module("out", out_);
    }
    /// ids (B,S) -> (B,7)
    Tensor forward(const Tensor& ids, const View& v) const override {
        const Tensor x = table_.forward(ids, v);
        Tensor h = Tensor::zeros({ids.part_shape()[0], 4}, ids.device());
        for (int64_t s = 0; s < x.part_shape()[1]; ++s) {
            h = cell_.step(reshape(slice(x, 1, s, s + 1), {x.part_shape()[0], 3}), h, v);
        }
        return out_.forward(h, v);
    }
    std::unique_ptr<nn::Module> clone() const override {
        auto copy = std::make_unique<Reader>();
        copy->copy_from(*this);
        return copy;
    }

private:
    nn::Embedding table_;
    nn::GRU cell_;
    nn::Linear out_;
};

using Cell = std::vector<ref::Bounded> (*)(const std::vector<ref::Bounded>&,
                                           const std::vector<ref::Bounded>&,
                                           const std::vector<ref::MemberParameter>&);

/// States of all rows and steps. x (B,S,I), h (B,H) -> (B,S,H)
std::vector<ref::Bounded> unrolled(Cell cell, std::span<const float> x, std::span<const float> h,
                                   int64_t batch, int64_t steps,
                                   const std::vector<ref::MemberParameter>& weights) {
    const size_t inputs = x.size() / static_cast<size_t>(batch * steps);
    const size_t hidden = h.size() / static_cast<size_t>(batch);
    std::vector<ref::Bounded> all;
    for (size_t b = 0; b < static_cast<size_t>(batch); ++b) {
        std::vector<ref::Bounded> state = ref::exactly(h.subspan(b * hidden, hidden));
        for (size_t s = 0; s < static_cast<size_t>(steps); ++s) {
            const size_t first = (b * static_cast<size_t>(steps) + s) * inputs;
            state = cell(ref::exactly(x.subspan(first, inputs)), state, weights);
            all.insert(all.end(), state.begin(), state.end());
        }
    }
    return all;
}

/// A layer against its cell: the centre, every member, step by step and whole, with a state given
/// and with zeros.
template <class Layer>
void check_cell(Cell cell) {
    constexpr int64_t kBatch = 3, kSteps = 4, kInputs = 5, kHidden = 6;
    Layer layer = here(Layer(kInputs, kHidden));
    const Tensor x = random_tensor({kBatch, kSteps, kInputs}),
                 h = random_tensor({kBatch, kHidden}, 1);
    const std::vector<float> none(static_cast<size_t>(kBatch * kHidden), 0.0f);
    const auto weights = ref::centre_parameters(layer);
    const View centre = View::centre();
    CHECK(layer(x).shape() == Shape{kBatch, kSteps, kHidden});
    CHECK(ref::excess(host(layer(x)), unrolled(cell, host(x), none, kBatch, kSteps, weights)) <= 1);
    CHECK(ref::excess(host(layer.forward(x, h, centre)),
                      unrolled(cell, host(x), host(h), kBatch, kSteps, weights)) <= 1);
    const Tensor one = reshape(slice(x, 1, 2, 3), {kBatch, kInputs});
    CHECK(ref::excess(host(layer.step(one, h, centre)),
                      unrolled(cell, host(one), host(h), kBatch, 1, weights)) <= 1);

    const Options options{.pop_size = 6, .sigma = 0.2f, .rank = 2, .seed = 5};
    Eggroll es(layer, options);
    const Tensor y = es.ask().forward(x);
    for (int64_t p = 0; p < options.pop_size; ++p) {
        const auto own = ref::member_parameters(layer, ref::law_of(options), p, 0);
        CHECK(ref::excess(part(y, p), unrolled(cell, host(x), none, kBatch, kSteps, own)) <= 1);
    }
}

}  // namespace

// --- What any layer must satisfy ----------------------------------------------------------------

TEST_CASE("more layers: check_layer for Embedding and a reader of tokens") {
    LayerCheck check = few(8);
    check.input = [](const Shape& shape, uint32_t which) {
        return int_tensor(shape, ids_of(element_count(shape), 7, which));
    };
    check_layer(nn::Embedding(7, 5), {3, 4}, check);
    check.terms = 90;
    check_layer(Reader(), {3, 3}, check);
}

TEST_CASE("more layers: check_layer for RMSNorm and Residual") {
    nn::RMSNorm norm(37);
    norm.parameters()[0].value.assign(host_random_tensor({37}, 5));
    check_layer(norm, {5, 37}, few(37));
    nn::Sequential model(nn::Linear(4, 6),
                         nn::Residual(nn::Sequential(nn::RMSNorm(6), nn::Linear(6, 9), nn::GELU(),
                                                     nn::Linear(9, 6))),
                         nn::Tanh(), nn::Residual(nn::Linear(6, 6)), nn::ReLU());
    model.init(3);
    check_layer(model, {5, 4}, few(60));
}

TEST_CASE("more layers: check_layer for GRU and MinimalGRU") {
    check_layer(nn::GRU(3, 4), {3, 3, 3}, few(64));
    check_layer(nn::MinimalGRU(3, 4), {3, 3, 3}, few(64));
}

// --- The layers' own mathematics ----------------------------------------------------------------

TEST_CASE("more layers: Embedding is PyTorch's") {
    const nn::Embedding layer = here(nn::Embedding(2000, 8));
    CHECK(names_of(layer) == std::vector<std::string>{"weight (2000,8)"});
    double sum = 0, squares = 0;
    for (const float v : host(layer.weight())) {
        sum += static_cast<double>(v);
        squares += static_cast<double>(v) * static_cast<double>(v);
    }
    // Four standard deviations of the mean and the variance of 16,000 normals.
    CHECK(std::fabs(sum / 16000) < 4 / std::sqrt(16000.0));
    CHECK(std::fabs(squares / 16000 - 1) < 4 * std::sqrt(2 / 16000.0));
    const Tensor y = layer(int_tensor({2, 2}, {3, 0, 1999, 3}));
    REQUIRE(y.shape() == Shape{2, 2, 8});
    const std::vector<float> table = host(layer.weight()), got = host(y);
    for (size_t i = 0; i < 8; ++i) {
        CHECK(got[i] == table[3 * 8 + i]);
        CHECK(got[8 + i] == table[i]);
        CHECK(got[16 + i] == table[1999 * 8 + i]);
        CHECK(got[24 + i] == table[3 * 8 + i]);
    }
}

TEST_CASE("more layers: rows of a table as members see them, few or many of it") {
    struct Case {
        int64_t count, width, batch;
        int rank;
    };
    // Few ids of a large table, whose rows of A are drawn one by one; many, where all are; ranks
    // that are no multiple of four and above a slab.
    for (const Case& of : {Case{1000, 5, 3, 3}, Case{11, 9, 40, 4}, Case{50, 12, 2, 10},
                           Case{3, 1, 5, 2}, Case{40, 33, 20, 17}}) {
        for (const bool antithetic : {true, false}) {
            for (const int64_t cache : {int64_t{0}, int64_t{8} << 20}) {
                CAPTURE(of.count);
                CAPTURE(of.rank);
                CAPTURE(antithetic);
                CAPTURE(cache);
                nn::Embedding model = here(nn::Embedding(of.count, of.width));
                Options options{.pop_size = 7, .sigma = 0.25f, .rank = of.rank};
                options.pop_size = antithetic ? 6 : 7;
                options.antithetic = antithetic;
                options.factor_cache_bytes = cache;
                Eggroll es(model, options);
                const Population population = es.ask();
                const std::vector<int32_t> ids = ids_of(of.batch, of.count, 1);
                const std::vector<int32_t> own = ids_of(of.batch * options.pop_size, of.count, 2);
                const Tensor shared = population.forward(int_tensor({of.batch}, ids));
                const Tensor each =
                    population.forward(per_member(int_tensor({options.pop_size, of.batch}, own)));
                CHECK((host(population.forward(int_tensor({of.batch}, ids))) == host(shared)));
                for (int64_t p = 0; p < options.pop_size; ++p) {
                    const auto table =
                        ref::member_parameters(model, ref::law_of(options), p, 0)[0].materialised();
                    CHECK(ref::excess(part(shared, p), rows_of(table, ids, of.width)) <= 1);
                    const auto mine = std::span(own).subspan(static_cast<size_t>(p * of.batch),
                                                             static_cast<size_t>(of.batch));
                    CHECK(ref::excess(part(each, p), rows_of(table, mine, of.width)) <= 1);
                }
            }
        }
    }
}

TEST_CASE("more layers: noise kept for a table's rows is what the update and a linear layer find") {
    // Whoever draws it first: the bits of a generation are the same as without any.
    const auto run = [](int64_t cache) {
        class Tied : public nn::Module {
        public:
            Tied() { table_ = register_parameter("table", {9, 5}, nn::init::normal(0.4f)); }
            Tensor forward(const Tensor& ids, const View& v) const override {
                return linear(embedding(ids, table_, v), table_, Tensor(), v);
            }

        private:
            Tensor table_;
        };
        Tied model = here(Tied());
        Options options{.pop_size = 10, .sigma = 0.2f};
        options.factor_cache_bytes = cache;
        Eggroll es(model, options);
        const Tensor ids = int_tensor({4}, {1, 8, 1, 3}), labels = int_tensor({4}, {0, 1, 2, 3});
        for (int t = 0; t < 3; ++t) es.step(ids, loss::cross_entropy(labels));
        return bits(model);
    };
    CHECK((run(0) == run(int64_t{8} << 20)));
}

TEST_CASE("more layers: RMSNorm is x over its root mean square") {
    const nn::RMSNorm layer = here(nn::RMSNorm(4));
    CHECK(names_of(layer) == std::vector<std::string>{"weight (4)"});
    // The mean square of 1, 2, 3, 4 is 7.5; its root 2.7386128.
    const std::vector<float> y = host(layer(tensor({1, 4}, {1, 2, 3, 4})));
    const double want[] = {0.3651483, 0.7302967, 1.0954451, 1.4605934};
    for (size_t i = 0; i < 4; ++i) CHECK(std::fabs(static_cast<double>(y[i]) - want[i]) < 5e-7);
    CHECK(host(layer(zeros({1, 4}))) == std::vector<float>(4, 0.0f));
    for (const int64_t n : {1, 7, 300}) {
        for (const float eps : {1e-6f, 0.5f}) {
            nn::RMSNorm norm = here(nn::RMSNorm(n, eps));
            norm.parameters()[0].value.assign(random_tensor({n}, 5));
            const Tensor x = random_tensor({3, n}, 7) * 2.0f + 1.0f;
            const std::vector<float> values = host(x);
            const auto weights = ref::centre_parameters(norm);
            std::vector<ref::Bounded> all;
            for (size_t first = 0; first < values.size(); first += static_cast<size_t>(n)) {
                const auto row = ref::rms_norm(
                    ref::exactly(std::span(values).subspan(first, static_cast<size_t>(n))),
                    weights[0], static_cast<double>(eps));
                all.insert(all.end(), row.begin(), row.end());
            }
            CHECK(ref::excess(host(norm(x)), all) <= 1);
        }
    }
    CHECK(host(rms_norm(tensor({2}, {3, 3}), Tensor(), View::centre())).size() == 2);
}

TEST_CASE("more layers: Residual adds what its layer gives") {
    nn::Residual layer = here(nn::Residual(nn::Linear(2, 2)));
    CHECK(names_of(layer) == std::vector<std::string>{"inner.weight (2,2)", "inner.bias (2)"});
    layer.parameters()[0].value.assign(tensor({2, 2}, {1, 2, 3, 4}));
    layer.parameters()[1].value.assign(tensor({2}, {10, 20}));
    CHECK(host(layer(tensor({1, 2}, {1, 1}))) == std::vector<float>{14, 28});
    const nn::Residual twice{std::make_unique<nn::Residual>(nn::ReLU())};
    CHECK(host(twice(tensor({2}, {-1, 2}))) == std::vector<float>{-2, 6});  // x + x + relu(x)
}

TEST_CASE("more layers: GRU is PyTorch's, for the centre and every member") {
    CHECK(names_of(nn::GRU(5, 6)) ==
          std::vector<std::string>{"weight_ih_l0 (18,5)", "weight_hh_l0 (18,6)", "bias_ih_l0 (18)",
                                   "bias_hh_l0 (18)"});
    check_cell<nn::GRU>(ref::gru);

    // By hand, one unit, x = 1, h = 1: r = σ(1), z = σ(2), n = tanh(3 + r·4), h' = (1 − z) n + z.
    nn::GRU cell = here(nn::GRU(1, 1));
    const std::vector<std::vector<float>> values = {
        {0.5f, 1, 2.5f}, {0.25f, 0.5f, 3}, {0.25f, 0.25f, 0.5f}, {0, 0.25f, 1}};
    for (size_t i = 0; i < 4; ++i) {
        Tensor value = cell.parameters()[i].value;
        value.assign(tensor(value.shape(), values[i]));
    }
    const Tensor one = full({1, 1}, 1);
    const double r = 1 / (1 + std::exp(-1.0)), z = 1 / (1 + std::exp(-2.0));
    const double want = (1 - z) * std::tanh(3 + 4 * r) + z;
    CHECK(std::fabs(static_cast<double>(host(cell.step(one, one, View::centre()))[0]) - want) <
          5e-7);
    float largest = 0;
    for (const float v : host(nn::GRU(50, 9).parameters()[0].value)) {
        largest = std::max(largest, std::fabs(v));
    }
    CHECK(largest <= 1 / 3.0f);  // 1/√H, not 1/√I
    CHECK(largest > 0.3f);
}

TEST_CASE("more layers: MinimalGRU is the unit with one gate, for the centre and every member") {
    CHECK(names_of(nn::MinimalGRU(5, 6)) ==
          std::vector<std::string>{"weight_ih_l0 (12,5)", "weight_hf_l0 (6,6)",
                                   "weight_hh_l0 (6,6)", "bias_l0 (12)"});
    check_cell<nn::MinimalGRU>(ref::minimal_gru);
}

TEST_CASE("more layers: a state that members carry on is what a whole sequence gives") {
    class Steps : public nn::Module {
    public:
        explicit Steps(bool whole) : cell_(3, 4), whole_(whole) { register_module("cell", cell_); }
        Tensor forward(const Tensor& x, const View& v) const override {
            if (whole_) return cell_.forward(x, v);
            std::vector<Tensor> states;
            Tensor h = Tensor::zeros({2, 4}, x.device());
            for (int64_t s = 0; s < 3; ++s) {
                h = cell_.step(reshape(slice(x, 1, s, s + 1), {2, 3}), h, v);
                states.push_back(reshape(h, {2, 1, 4}));
            }
            return concat(states, 1);
        }

    private:
        nn::MinimalGRU cell_;
        bool whole_;
    };
    Steps whole = here(Steps(true)), stepped = here(Steps(false));
    const Options options{.pop_size = 6, .sigma = 0.2f};
    Eggroll a(whole, options), b(stepped, options);
    const Tensor xs = per_member(random_tensor({6, 2, 3, 3}));
    const std::vector<float> got = host(b.ask().forward(xs)), want = host(a.ask().forward(xs));
    CHECK(layer_check::distance(got, want) <= layer_check::bound({.terms = 30}, want));
}

TEST_CASE("more layers: lower precisions are near float32, and the same on the CPU") {
    Reader model = here(Reader());
    const Tensor ids = int_tensor({3, 3}, ids_of(9, 7, 3));
    const auto run = [&](Precision precision) {
        Options options{.pop_size = 6, .sigma = 0.1f};
        options.precision = precision;
        Eggroll es(model, options);
        const Tensor y = es.ask().forward(ids);
        CHECK(y.dtype() == Dtype::f32);
        return host(y);
    };
    const std::vector<float> exact = run(Precision::f32);
    for (const Precision precision : {Precision::tf32, Precision::bf16}) {
        const double off = layer_check::distance(run(precision), exact);
        // Three steps and a layer, of three numbers rounded to 8 bits each; weights within 1/2, so
        // that a sum's terms come to less than twice its inputs.
        CHECK(off <= 4 * 3 * 0x1p-9 * 2);
        if (!on_cuda()) CHECK(off == 0);
    }
}

TEST_CASE("more layers: what is refused") {
    check_refused([] { nn::Embedding(0, 3); }, {"[nn::Embedding]", "count 0", "width 3"});
    const nn::Embedding table = here(nn::Embedding(4, 3));
    check_refused([&] { table(zeros({2})); }, {"[embedding]", "ids", "int32"});
    if (!on_cuda()) {
        for (const int32_t id : {-1, 4}) {
            check_refused(
                [&] {
                    table(int_tensor({2}, {0, id}));
                },
                {"[embedding]", "id " + std::to_string(id), "\"weight\"", "(4,3)"});
        }
    } else {
        const std::vector<float> y = host(table(int_tensor({3}, {-1, 0, 4})));
        for (size_t i = 0; i < 9; ++i) CHECK(std::isnan(y[i]) == (i / 3 != 1));
        nn::Embedding model = here(nn::Embedding(4, 3));
        Eggroll es(model, {.pop_size = 4});
        const Tensor seen = es.ask().forward(int_tensor({3}, {-1, 0, 4}));
        for (size_t i = 0; i < 9; ++i) CHECK(std::isnan(part(seen, 3)[i]) == (i / 3 != 1));
    }
    check_refused([] { nn::RMSNorm(0); }, {"[nn::RMSNorm]", "0"});
    check_refused([] { nn::RMSNorm(3, 0.0f); }, {"[nn::RMSNorm]", "3"});
    check_refused(
        [] {
            here(nn::RMSNorm(5))(zeros({2, 3}));
        },
        {"[rms_norm]", "\"weight\"", "(5)", "(2,3)"});
    check_refused([] { nn::Residual(std::unique_ptr<nn::Module>()); }, {"[nn::Residual]", "null"});
    // An output that would broadcast.
    check_refused(
        [] {
            here(nn::Residual(nn::Linear(3, 1)))(zeros({2, 3}));
        },
        {"[nn::Residual]", "(2,3)", "(2,1)"});
    check_refused([] { nn::GRU(0, 3); }, {"[nn::GRU]", "inputs 0", "hidden 3"});
    check_refused([] { nn::MinimalGRU(2, 0); }, {"[nn::MinimalGRU]", "inputs 2", "hidden 0"});
    const nn::GRU gru = here(nn::GRU(3, 4));
    const nn::MinimalGRU minimal = here(nn::MinimalGRU(3, 4));
    const View centre = View::centre();
    const Tensor h = zeros({2, 4});
    check_refused([&] { gru(zeros({2, 3})); }, {"[nn::GRU]", "(2,3)", "(B,S,I)"});
    check_refused([&] { minimal(zeros({2, 0, 3})); }, {"[nn::MinimalGRU]", "(2,0,3)"});
    check_refused([&] { gru(zeros({2, 5, 7})); }, {"[linear]", "\"weight_ih_l0\"", "7 columns"});
    check_refused(
        [&] {
            gru.forward(zeros({3, 5, 3}), h, centre);
        },
        {"[nn::GRU]", "(3,5,3)", "(2,4)"});
    check_refused(
        [&] {
            gru.step(zeros({3, 3}), h, centre);
        },
        {"[nn::GRU]", "(2,4)", "(3,4)", "(3,3)"});
    check_refused(
        [&] {
            minimal.step(zeros({2, 3}), zeros({2, 5}), centre);
        },
        {"[nn::MinimalGRU]", "(2,5)", "(2,4)"});
}
