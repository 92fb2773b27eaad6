// SPDX-License-Identifier: MIT
// Losses and scores against the formulas in double, for shared outputs and members', shared targets
// and members'; what is not finite never makes a good value.
#include "core/storage.h"
#include "tests/errors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr double kUnit = 0x1p-24;

double wide(float v) {
    return static_cast<double>(v);
}

using Loss = Tensor (*)(const Tensor&, const Tensor&);

/// Labels 0..classes-1 in no order.
Tensor random_labels(const Shape& shape, int64_t classes, uint32_t which = 0) {
    std::vector<uint32_t> words(static_cast<size_t>(element_count(shape)));
    fill_words({.seed = 22, .parameter = 1u << 20, .pair = which, .generation = 0}, 0, words);
    std::vector<int32_t> labels;
    for (const uint32_t word : words) {
        labels.push_back(static_cast<int32_t>(word % static_cast<uint32_t>(classes)));
    }
    return int_tensor(shape, labels);
}

/// Elements first..first+n-1 of a member's part of n elements; a shared tensor's own.
size_t first_of(const Tensor& x, int64_t member) {
    return x.is_per_member() ? static_cast<size_t>(member * (x.size() / x.members())) : 0;
}

double mse_of(const Tensor& y, const Tensor& target, int64_t member) {
    const int64_t n = element_count(y.part_shape());
    const size_t a = first_of(y, member), b = first_of(target, member);
    const std::vector<float> ys = host(y), targets = host(target);
    double sum = 0;
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        const double d = wide(ys[a + i]) - wide(targets[b + i]);
        sum += d * d;
    }
    return sum / static_cast<double>(n);
}

struct CrossEntropy {
    double value = 0, bound = 0;
};

/// log Σ exp(y − max) in float over n classes is within (n + 8)·u, plus u·|y − max| carried by each
/// term's rounded argument, weighted by its share (|d|·e^d <= 1/e, so at most n·u/e in all); what
/// is added to it is rounded with it, and the mean once.
CrossEntropy cross_entropy_of(const Tensor& y, const Tensor& labels, int64_t member) {
    const auto n = static_cast<size_t>(y.shape().back());
    const size_t rows = static_cast<size_t>(element_count(y.part_shape())) / n;
    const size_t a = first_of(y, member), b = first_of(labels, member);
    CrossEntropy mean;
    for (size_t r = 0; r < rows; ++r) {
        const std::vector<float> all = host(y);
        const auto row = std::span(all).subspan(a + r * n, n);
        const double largest = wide(*std::max_element(row.begin(), row.end()));
        double sum = 0;
        for (const float v : row) sum += std::exp(wide(v) - largest);
        const double own = wide(row[static_cast<size_t>(host_ints(labels)[b + r])]);
        mean.value += (std::log(sum) - (own - largest)) / static_cast<double>(rows);
        mean.bound +=
            (1.4 * static_cast<double>(n) + 8 + std::log(sum)) * kUnit / static_cast<double>(rows);
    }
    mean.bound += kUnit * std::fabs(mean.value);
    return mean;
}

double accuracy_of(const Tensor& y, const Tensor& labels, int64_t member) {
    const auto n = static_cast<size_t>(y.shape().back());
    const size_t rows = static_cast<size_t>(element_count(y.part_shape())) / n;
    const size_t a = first_of(y, member), b = first_of(labels, member);
    double right = 0;
    for (size_t r = 0; r < rows; ++r) {
        const std::vector<float> all = host(y);
        const auto row = std::span(all).subspan(a + r * n, n);
        const auto best = std::max_element(row.begin(), row.end()) - row.begin();  // the first
        right += best == host_ints(labels)[b + r] ? 1 : 0;
    }
    return right / static_cast<double>(rows);
}

void check_shape(const Tensor& loss, const Tensor& y) {
    CHECK(loss.shape() == (y.is_per_member() ? Shape{y.members()} : Shape{}));
    CHECK(loss.is_per_member() == y.is_per_member());
}

/// y and targets, each shared or members' own, as far as they go together.
template <class F>
void for_marks(const Shape& y_part, F&& f) {
    constexpr int64_t kMembers = 5;
    Shape y_all = y_part;
    y_all.insert(y_all.begin(), kMembers);
    for (const bool own_y : {false, true}) {
        for (const bool own_target : {false, true}) {
            if (own_target && !own_y) continue;
            const Tensor y = random_tensor(own_y ? y_all : y_part, 1) * 3.0f;
            f(own_y ? per_member(y) : y, own_target ? kMembers : 0);
        }
    }
}

Shape with(int64_t members, Shape part) {
    if (members > 0) part.insert(part.begin(), members);
    return part;
}

Tensor marked(const Tensor& x, int64_t members) {
    return members > 0 ? per_member(x) : x;
}

}  // namespace

TEST_CASE("losses: mse against the formula") {
    for (const Shape& part : {Shape{}, Shape{1}, Shape{7}, Shape{8}, Shape{17}, Shape{4, 3},
                              Shape{2, 3, 5}, Shape{1000, 3}}) {
        for_marks(part, [&](const Tensor& y, int64_t members) {
            CAPTURE(to_string(y.shape()));
            CAPTURE(members);
            const Tensor target = marked(random_tensor(with(members, part), 2), members);
            const Tensor loss = mse(y, target);
            check_shape(loss, y);
            for (int64_t m = 0; m < std::max<int64_t>(y.members(), 1); ++m) {
                const double want = mse_of(y, target, m);
                // In double, rounded to float once.
                CHECK(std::fabs(wide(host(loss)[static_cast<size_t>(m)]) - want) <=
                      (kUnit + 1e-12) * want);
            }
        });
    }
    CHECK(mse(tensor({2}, {1, 2}), tensor({2}, {3, 5})).item() == 6.5f);
    CHECK(mse(full({3}, 2.0f), full({3}, 2.0f)).item() == 0.0f);
    // Differences of large numbers and squares beyond float are not lost on the way.
    CHECK(mse(full({2}, 16777216.0f), full({2}, 16777215.0f)).item() == 1.0f);
    CHECK(mse(full({2}, 1e30f), full({2}, 0.0f)).item() == kInf);
    CHECK(mse(tensor({4}, {3e19f, 0, 0, 0}), zeros({4})).item() == doctest::Approx(2.25e38));
}

TEST_CASE("losses: cross_entropy against the formula") {
    for (const Shape& part :
         {Shape{1}, Shape{3}, Shape{1, 2}, Shape{5, 10}, Shape{63, 3}, Shape{64, 3}, Shape{65, 7},
          Shape{200, 10}, Shape{2, 3, 4}, Shape{3, 1000}}) {
        for_marks(part, [&](const Tensor& y, int64_t members) {
            CAPTURE(to_string(y.shape()));
            CAPTURE(members);
            const Shape rows(part.begin(), part.end() - 1);
            const Tensor labels = marked(random_labels(with(members, rows), part.back()), members);
            const Tensor loss = cross_entropy(y, labels);
            check_shape(loss, y);
            for (int64_t m = 0; m < std::max<int64_t>(y.members(), 1); ++m) {
                const CrossEntropy want = cross_entropy_of(y, labels, m);
                CHECK(std::fabs(wide(host(loss)[static_cast<size_t>(m)]) - want.value) <=
                      want.bound);
            }
        });
    }
    // Equal logits know nothing: ln 10, to within 8 u of it and 1.4·10 u of the sum.
    CHECK(std::fabs(wide(cross_entropy(zeros({4, 10}), random_labels({4}, 10)).item()) -
                    2.302585093) <= 40 * kUnit);
    CHECK(cross_entropy(zeros({4, 1}), random_labels({4}, 1)).item() == 0.0f);
}

TEST_CASE("losses: cross_entropy with large logits") {
    const Tensor first = int_tensor({1}, {0}), second = int_tensor({1}, {1});
    for (const float big : {50.0f, 88.0f, 100.0f, 1000.0f, 1e6f, 1e30f, 1e38f}) {
        CAPTURE(big);
        const Tensor y = tensor({1, 3}, {big, 0, -big});
        CHECK(cross_entropy(y, first).item() <= 2 * std::exp(-static_cast<double>(big)) + 1e-37);
        CHECK(cross_entropy(y, second).item() == doctest::Approx(big).epsilon(2 * kUnit));
        const Tensor flat = full({1, 3}, big);
        CHECK(cross_entropy(flat, first).item() ==
              doctest::Approx(std::log(3.0)).epsilon(8 * kUnit));
        CHECK(cross_entropy(-flat, first).item() ==
              doctest::Approx(std::log(3.0)).epsilon(8 * kUnit));
    }
    // Beyond float is infinitely bad, and so is a label given no share at all.
    CHECK(cross_entropy(tensor({1, 2}, {kLargest, -kLargest}), second).item() == kInf);
    CHECK(cross_entropy(tensor({1, 2}, {0, -kInf}), second).item() == kInf);
    CHECK(cross_entropy(tensor({1, 2}, {0, -kInf}), first).item() <= 1e-37f);
}

TEST_CASE("losses: accuracy is the share of rows whose first largest entry is the label's") {
    for (const Shape& part : {Shape{1}, Shape{3}, Shape{5, 10}, Shape{200, 3}, Shape{2, 3, 4}}) {
        for_marks(part, [&](const Tensor& y, int64_t members) {
            CAPTURE(to_string(y.shape()));
            const Shape rows(part.begin(), part.end() - 1);
            const Tensor labels = marked(random_labels(with(members, rows), part.back()), members);
            const Tensor score = accuracy(y, labels);
            check_shape(score, y);
            for (int64_t m = 0; m < std::max<int64_t>(y.members(), 1); ++m) {
                CHECK(host(score)[static_cast<size_t>(m)] ==
                      static_cast<float>(accuracy_of(y, labels, m)));
            }
        });
    }
    // Ties go to the first.
    const Tensor tied = tensor({3, 3}, {2, 2, 1, 0, 0, 0, 1, 5, 5});
    CHECK(accuracy(tied, int_tensor({3}, {0, 0, 1})).item() == 1.0f);
    CHECK(accuracy(tied, int_tensor({3}, {1, 2, 2})).item() == 0.0f);
    CHECK(accuracy(tied, int_tensor({3}, {0, 1, 0})).item() == static_cast<float>(1.0 / 3));
    CHECK(accuracy(tensor({2, 2}, {kInf, 0, -kInf, -1}), int_tensor({2}, {0, 1})).item() == 1.0f);
}

// A member whose outputs hold a NaN must not win.
TEST_CASE("losses: a NaN anywhere makes the member's value NaN, and nobody else's") {
    for (const int64_t rows : {1, 3, 64, 65}) {
        for (const int64_t n : {1, 2, 9}) {
            const Tensor labels = random_labels({rows}, n), target = random_tensor({rows, n}, 2);
            for (int64_t at = 0; at < rows * n; ++at) {
                CAPTURE(rows);
                CAPTURE(n);
                CAPTURE(at);
                Tensor y = per_member(random_tensor({3, rows, n}, 1));
                set(y, rows * n + at, kNan);
                for (const Tensor& loss :
                     {mse(y, target), cross_entropy(y, labels), accuracy(y, labels),
                      loss::mse(target)(y), loss::cross_entropy(labels)(y),
                      score::accuracy(labels)(y)}) {
                    const std::vector<float> values = host(loss);
                    CHECK(std::isfinite(values[0]));
                    CHECK(std::isnan(values[1]));
                    CHECK(std::isfinite(values[2]));
                }
            }
        }
    }
    Tensor target = random_tensor({4, 2});
    set(target, 3, kNan);
    CHECK(std::isnan(mse(random_tensor({4, 2}, 1), target).item()));
}

TEST_CASE("losses: infinities are never a good value") {
    for (const int64_t n : {2, 9}) {
        for (int64_t at = 0; at < 3 * n; ++at) {
            for (const float inf : {kInf, -kInf}) {
                CAPTURE(n);
                CAPTURE(at);
                Tensor y = random_tensor({3, n}, 1);
                set(y, at, inf);
                CHECK(mse(y, random_tensor({3, n}, 2)).item() == kInf);
                // +inf takes all the share, but inf − inf says nothing: NaN or infinite, or for a
                // −inf that is not the label's the finite loss of the others.
                const Tensor labels = random_labels({3}, n);
                const float loss = cross_entropy(y, labels).item();
                if (inf > 0) CHECK_FALSE(std::isfinite(loss));
                if (inf < 0 && host_ints(labels)[static_cast<size_t>(at / n)] == at % n) {
                    CHECK(loss == kInf);
                }
            }
        }
    }
}

TEST_CASE("losses: labels that name no class are refused by name [host]") {
    for (const int32_t label : {-1, 3, 1000000, std::numeric_limits<int32_t>::max(),
                                std::numeric_limits<int32_t>::min()}) {
        for (const int64_t rows : {1, 64, 70}) {
            for (const int64_t at : {int64_t{0}, rows - 1}) {
                const Tensor y = per_member(random_tensor({2, rows, 3}));
                Tensor labels = random_labels({rows}, 3);
                set(labels, at, label);
                Tensor own = per_member(random_labels({2, rows}, 3));
                set(own, rows + at, label);
                for (const Tensor& bad : {labels, own}) {
                    check_refused([&] { cross_entropy(y, bad); },
                                  {"[cross_entropy]", std::to_string(label), "0..2"});
                    check_refused([&] { accuracy(y, bad); },
                                  {"[accuracy]", std::to_string(label), "0..2"});
                }
            }
        }
    }
}

TEST_CASE("losses: shapes that do not fit are refused with both") {
    const Tensor y = random_tensor({4, 3}), many = per_member(random_tensor({5, 4, 3}));
    const auto floats = [](const Shape& shape) { return zeros(shape); };
    const auto ints = [](const Shape& shape) { return random_labels(shape, 2); };
    for (const Shape& bad :
         {Shape{4}, Shape{3, 4}, Shape{4, 3, 1}, Shape{5, 4, 3}, Shape{12}, Shape{}, Shape{0}}) {
        check_refused([&] { mse(y, floats(bad)); }, {"[mse]", "(4,3)", to_string(bad)});
    }
    for (const Shape& bad : {Shape{3}, Shape{4, 3}, Shape{4, 1}, Shape{1, 4}, Shape{}, Shape{0}}) {
        check_refused([&] { cross_entropy(y, ints(bad)); },
                      {"[cross_entropy]", "(4,3)", to_string(bad)});
        check_refused([&] { accuracy(y, ints(bad)); }, {"[accuracy]", "(4,3)", to_string(bad)});
    }
    // Members' own targets for shared outputs, or for another number of members; a target that was
    // not marked.
    check_refused([&] { mse(y, per_member(floats({5, 4, 3}))); }, {"[mse]", "(4,3)", "(5,4,3)"});
    check_refused(
        [&] {
            mse(many, per_member(floats({6, 4, 3})));
        },
        {"[mse]", "(5,4,3)", "(6,4,3)"});
    check_refused([&] { mse(many, floats({5, 4, 3})); }, {"[mse]", "(5,4,3)"});
    for (const Loss loss : {static_cast<Loss>(cross_entropy), static_cast<Loss>(accuracy)}) {
        check_refused([&] { loss(y, per_member(ints({5, 4}))); }, {"(4,3)", "(5,4)"});
        check_refused([&] { loss(many, per_member(ints({6, 4}))); }, {"(5,4,3)", "(6,4)"});
        check_refused([&] { loss(many, ints({5, 4})); }, {"(5,4,3)", "(5,4)"});
        check_refused([&] { loss(zeros({}), ints({})); }, {"()"});
        check_refused([&] { loss(per_member(floats({5})), ints({})); }, {"(5)", "()"});
    }
    // Nothing to take a mean of.
    check_refused([&] { mse(floats({0, 3}), floats({0, 3})); }, {"[mse]", "(0,3)"});
    check_refused([&] { mse(Tensor(), Tensor()); }, {"[mse]", "(0)"});
    check_refused([&] { cross_entropy(floats({0, 3}), ints({0})); }, {"[cross_entropy]", "(0,3)"});
    check_refused([&] { cross_entropy(floats({3, 0}), ints({3})); }, {"[cross_entropy]", "(3,0)"});
    check_refused([&] { accuracy(floats({3, 0}), ints({3})); }, {"[accuracy]", "(3,0)"});
    check_refused([&] { cross_entropy(y, Tensor()); }, {"[cross_entropy]", "(4,3)", "(0)"});
}

TEST_CASE("losses: element types that do not fit are refused") {
    const Tensor y = random_tensor({4, 3}), ids = random_labels({4, 3}, 3);
    check_refused([&] { mse(y, ids); }, {"[mse]", "float32"});
    check_refused([&] { mse(ids, y); }, {"[mse]", "float32"});
    check_refused([&] { cross_entropy(y, zeros({4})); }, {"[cross_entropy]", "int32"});
    check_refused([&] { cross_entropy(ids, random_labels({4}, 3)); },
                  {"[cross_entropy]", "float32"});
    check_refused([&] { accuracy(y, zeros({4})); }, {"[accuracy]", "int32"});
    check_refused([&] { accuracy(ids, random_labels({4}, 3)); }, {"[accuracy]", "float32"});
}

// --- As objectives ------------------------------------------------------------------------------

TEST_CASE("losses: as objectives, higher is better") {
    const Tensor target = random_tensor({4, 3}, 2), labels = random_labels({4}, 3);
    // Members ever farther from the target.
    Tensor near_first = zeros({3, 4, 3});
    Tensor confident = zeros({3, 4, 3});
    for (size_t m = 0; m < 3; ++m) {
        for (size_t i = 0; i < 12; ++i) {
            set(near_first, m * 12 + i, host(target)[i] + static_cast<float>(m) * 0.5f);
            // Member 0 is sure and right, 1 undecided, 2 sure and wrong.
            const bool own = host_ints(labels)[i / 3] == static_cast<int32_t>(i % 3);
            set(confident, m * 12 + i, (own ? 1.0f : 0.0f) * (1.0f - static_cast<float>(m)));
        }
    }
    const Tensor by_mse = loss::mse(target)(per_member(near_first));
    const Tensor by_entropy = loss::cross_entropy(labels)(per_member(confident));
    const Tensor by_score = score::accuracy(labels)(per_member(confident));
    for (const Tensor& fitness : {by_mse, by_entropy}) {
        REQUIRE(fitness.shape() == Shape{3});
        CHECK(host(fitness)[0] > host(fitness)[1]);
        CHECK(host(fitness)[1] > host(fitness)[2]);
    }
    CHECK(host(by_score)[0] == 1.0f);
    CHECK(host(by_score)[2] == 0.0f);
    CHECK(host(by_mse) == host(-mse(per_member(near_first), target)));
    CHECK(host(by_entropy) == host(-cross_entropy(per_member(confident), labels)));
    CHECK(host(by_mse)[0] == 0.0f);
    CHECK(loss::mse(target).name() == "mse");
    CHECK(loss::cross_entropy(labels).name() == "cross_entropy");
    CHECK(score::accuracy(labels).name() == "accuracy");
    CHECK(host(loss::mse(target).target()) == host(target));
}

TEST_CASE("losses: an objective for a range of members takes those members' targets") {
    const Tensor y = per_member(random_tensor({6, 4, 3}, 1));
    const Tensor targets = per_member(random_tensor({6, 4, 3}, 2));
    const Tensor labels = per_member(random_labels({6, 4}, 3));
    const Objective squares = loss::mse(targets), entropy = loss::cross_entropy(labels),
                    score = score::accuracy(labels);
    for (const Objective& objective : {squares, entropy, score}) {
        CAPTURE(objective.name());
        const std::vector<float> all = host(objective(y));
        for (int64_t first = 0; first < 6; ++first) {
            for (int64_t count = 1; first + count <= 6; ++count) {
                const Tensor some = detail::TensorAccess::member_range(y, first, count);
                const std::vector<float> got = host(objective.evaluate(some, first));
                CHECK(got == std::vector<float>(all.begin() + first, all.begin() + first + count));
            }
        }
        check_refused([&] { objective.evaluate(y, 1); },
                      {"[Objective]", objective.name(), "member 6"});
    }
    check_refused([] { Objective("none", {}, Tensor()); }, {"[Objective]", "none"});
}

TEST_CASE("losses: training by each objective improves it") {
    const Tensor x = random_tensor({16, 4}, 1), labels = random_labels({16}, 3);
    const Tensor target = random_tensor({16, 3}, 2);
    const auto first_and_last = [&](const Objective& objective) {
        nn::Sequential model =
            here(nn::Sequential(nn::Linear(4, 16), nn::Tanh(), nn::Linear(16, 3)));
        Eggroll es(model, {.pop_size = 32, .sigma = 0.1f, .lr = 0.2f});
        const float first = objective(model(x)).item();
        for (int step = 0; step < (is_slow() ? 20 : 60); ++step) es.step(x, objective);
        return std::pair{first, objective(model(x)).item()};
    };
    for (const Objective& objective :
         {loss::mse(target), loss::cross_entropy(labels), score::accuracy(labels)}) {
        CAPTURE(objective.name());
        const auto [first, last] = first_and_last(objective);
        CHECK(last > first);
    }
}
