// SPDX-License-Identifier: MIT

// Single rows of the backend's table, with GFLOP/s or GB/s. FLOP of a perturbed linear are those of
// the plain product; bytes are what must be read and written at least once.

#include "bench/cli.h"

#include <eggroll/threads.h>

#include "core/backend.h"
#include "tests/cases.h"

#include <deque>

using namespace eggroll;
using namespace eggroll::bench;
using detail::Backend;

namespace {

/// One operation, its operands ready. Operands live in the context that made it.
struct Operation {
    std::string op, shape;
    double flop = 0, bytes = 0;
    std::function<void()> run;
    std::span<const float> result;
};

/// Operands and what is the same for all operations.
class Context {
public:
    /// Standard normals.
    float* values(int64_t n) {
        memory_.push_back(test::random_tensor({n}, static_cast<uint32_t>(memory_.size())));
        return memory_.back().data().data();
    }
    int32_t* labels(int64_t n, int64_t classes) {
        std::vector<int32_t> ids(static_cast<size_t>(n));
        for (size_t i = 0; i < ids.size(); ++i) {
            ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) % classes);
        }
        labels_.push_back(std::move(ids));
        return labels_.back().data();
    }

    const Backend& backend = detail::cpu_backend();
    detail::GenerationBlock block{.seed = 1, .generation = 0, .sigma = 0.02f, .lr = 0.01f};
    detail::FitnessStats stats;

private:
    std::deque<Tensor> memory_;
    std::deque<std::vector<int32_t>> labels_;
};

std::span<const float> view(const float* data, int64_t n) {
    return {data, static_cast<size_t>(n)};
}

std::string text(std::initializer_list<std::pair<const char*, int64_t>> extents) {
    std::string out;
    for (const auto& [name, value] : extents) {
        out += (out.empty() ? "" : " ") + std::string(name) + std::to_string(value);
    }
    return out;
}

/// A chunk of members through one layer d-d with a perturbed bias and ReLU; rank 0: the plain rows.
Operation linear(Context& c, int64_t d, int64_t members, int64_t batch, int rank, bool shared) {
    const int64_t rows = members * batch;
    const float* w = c.values(d * d);
    const int64_t packed_size = c.backend.packed_size(d, d, rows, Precision::f32);
    float* packed = packed_size > 0 ? c.values(packed_size) : nullptr;
    if (packed != nullptr) c.backend.pack(w, d, d, Precision::f32, packed);
    const float* x = c.values((shared ? batch : rows) * d);
    float* base = shared ? c.values(batch * d) : nullptr;
    if (shared) c.backend.product(x, w, base, batch, d, d, Precision::f32);
    const bool plain = rank == 0;
    detail::LinearArgs args{
        .members = {&c.block, 0, plain ? 0 : members, true},
        .x = x,
        .shared_x = shared,
        .base = base,
        .packed = packed,
        .w = {.value = w, .parameter = 0, .perturbed = !plain, .rank = rank},
        .b = {.value = c.values(d), .parameter = 1, .perturbed = !plain},
        .act = Act::relu,
        .y = c.values(rows * d),
        .batch = plain ? rows : batch,
        .inputs = d,
        .outputs = d,
    };
    return {.op = plain    ? "linear_plain"
                  : shared ? "linear_shared"
                           : "linear_own",
            .shape = text({{"V", members}, {"B", batch}, {"I", d}, {"O", d}, {"r", rank}}),
            .flop = 2.0 * static_cast<double>(rows * d * d),
            .run =
                [&c, args] {
                    ++c.block.generation;
                    c.backend.linear(args);
                },
            .result = view(args.y, rows * d)};
}

Operation update(Context& c, int64_t d, int64_t pop_size, int rank) {
    const detail::UpdateArgs args{.block = &c.block,
                                  .weights = c.values(pop_size / 2),
                                  .streams = pop_size / 2,
                                  .pop_size = pop_size,
                                  .parameter = 0,
                                  .rank = rank,
                                  .rows = d,
                                  .cols = d,
                                  .g = c.values(d * d)};
    return {.op = "update",
            .shape = text({{"P", pop_size}, {"I", d}, {"O", d}, {"r", rank}}),
            .flop = static_cast<double>(pop_size * rank) * static_cast<double>(d * d),
            .run =
                [&c, args] {
                    ++c.block.generation;
                    c.backend.update(args);
                },
            .result = view(args.g, d * d)};
}

Operation vectors(Context& c, int64_t members, int64_t n) {
    float* y = c.values(members * n);
    const detail::Operand b{.value = c.values(n), .parameter = 1, .perturbed = true};
    return {.op = "perturb_vector",
            .shape = text({{"V", members}, {"n", n}}),
            .bytes = 4.0 * static_cast<double>(members * n),
            .run =
                [&c, y, b, members, n] {
                    ++c.block.generation;
                    c.backend.perturb_vector({&c.block, 0, members, true}, b, n, y);
                },
            .result = view(y, members * n)};
}

/// An operation that reads x (rows,n) and writes `results` values.
Operation rows_op(const char* name, int64_t rows, int64_t n, const float* y, int64_t results,
                  std::function<void()> run) {
    return {.op = name,
            .shape = text({{"rows", rows}, {"n", n}}),
            .bytes = 4.0 * static_cast<double>(rows * n + results),
            .run = std::move(run),
            .result = view(y, results)};
}

/// Built-in cross-entropy of `members` with `batch` rows each.
Operation cross_entropy(Context& c, int64_t members, int64_t batch, int64_t n) {
    const detail::LossArgs args{.kind = detail::Loss::cross_entropy,
                                .y = c.values(members * batch * n),
                                .target = nullptr,
                                .labels = c.labels(batch, n),
                                .per_member_target = false,
                                .out = c.values(members),
                                .members = members,
                                .rows = batch,
                                .n = n};
    return {.op = "cross_entropy",
            .shape = text({{"V", members}, {"B", batch}, {"n", n}}),
            .bytes = 4.0 * static_cast<double>(members * batch * n),
            .run = [&c, args] { c.backend.loss(args); },
            .result = view(args.out, members)};
}

/// Operations along or over the rows of x (rows,n).
void add_rows(Context& c, int64_t rows, int64_t n, std::vector<Operation>& all) {
    const Backend& b = c.backend;
    const float* x = c.values(rows * n);
    float* y = c.values(rows * n);
    const int64_t size = rows * n;
    using detail::Unary;
    for (const auto& [name, kind] : {std::pair("relu", Unary::relu),
                                     {"tanh", Unary::tanh},
                                     {"gelu", Unary::gelu},
                                     {"silu", Unary::silu}}) {
        all.push_back(
            rows_op(name, rows, n, y, size, [=, &b, k = kind] { b.unary(k, x, y, size); }));
    }
    all.push_back(
        rows_op("softmax", rows, n, y, size, [=, &b] { b.softmax(x, y, rows, n, false); }));
    all.push_back(rows_op("standardize", rows, n, y, size,
                          [=, &b] { b.standardize(x, y, rows, n, 1e-5f, true); }));
    all.push_back(rows_op("reduce_sum", rows, n, y, rows,
                          [=, &b] { b.reduce(detail::Reduce::sum, x, y, rows, n, 1); }));
    all.push_back(rows_op("argmax", rows, n, y, rows, [=, &b] { b.argmax(x, y, rows, n); }));
    const detail::LossArgs loss{.kind = detail::Loss::mse,
                                .y = x,
                                .target = c.values(size),
                                .labels = nullptr,
                                .per_member_target = true,
                                .out = y,
                                .members = rows,
                                .rows = 1,
                                .n = n};
    all.push_back(rows_op("mse", rows, n, y, rows, [=, &b] { b.loss(loss); }));
    all.back().bytes += 4.0 * static_cast<double>(size);
}

Operation optimize(Context& c, const char* name, detail::Rule rule, int64_t n, int arrays) {
    const detail::OptimizeArgs args{.rule = rule,
                                    .block = &c.block,
                                    .value = c.values(n),
                                    .g = c.values(n),
                                    .first_moment = c.values(n),
                                    .second_moment = c.values(n),
                                    .n = n,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .eps = 1e-8f};
    // A second moment is no less than 0.
    for (int64_t i = 0; i < n; ++i) args.second_moment[i] *= args.second_moment[i];
    return {.op = name,
            .shape = text({{"n", n}}),
            .bytes = 4.0 * static_cast<double>(n * arrays),
            .run = [&c, args] { c.backend.optimize(args); },
            .result = view(args.value, n)};
}

Operation shaping(Context& c, int64_t pop_size) {
    const detail::ShapingArgs args{.fitness = c.values(pop_size),
                                   .pop_size = pop_size,
                                   .antithetic = true,
                                   .kind = detail::ShapingKind::z_score,
                                   .weights = c.values(pop_size / 2),
                                   .stats = &c.stats};
    return {.op = "shape_fitness",
            .shape = text({{"P", pop_size}}),
            .bytes = 6.0 * static_cast<double>(pop_size),
            .run = [&c, args] { c.backend.shape_fitness(args); },
            .result = view(args.weights, pop_size / 2)};
}

Operation matmul(Context& c, int64_t batches, int64_t n) {
    const detail::MatmulArgs args{.a = c.values(batches * n * n),
                                  .b = c.values(batches * n * n),
                                  .c = c.values(batches * n * n),
                                  .batches = batches,
                                  .m = n,
                                  .k = n,
                                  .n = n,
                                  .stride_a = n * n,
                                  .stride_b = n * n};
    return {.op = "matmul",
            .shape = text({{"batches", batches}, {"M", n}, {"K", n}, {"N", n}}),
            .flop = 2.0 * static_cast<double>(batches * n * n * n),
            .run = [&c, args] { c.backend.matmul(args); },
            .result = view(args.c, batches * n * n)};
}

std::vector<Operation> operations(Context& c) {
    constexpr int64_t kRows = 240;  // about what a chunk holds
    std::vector<Operation> all;
    for (const int64_t d : {64, 128, 256, 512, 1024}) {
        all.push_back(linear(c, d, kRows, 1, 0, false));
        for (const int64_t batch : {1, 16}) {
            for (const int rank : {1, 4}) {
                all.push_back(linear(c, d, kRows / batch / 2 * 2, batch, rank, false));
            }
        }
    }
    for (const int rank : {1, 4}) all.push_back(linear(c, 256, 16, 256, rank, true));
    for (const int64_t d : {256, 1024}) {
        for (const int rank : {1, 4}) all.push_back(update(c, d, 4096, rank));
    }
    all.push_back(vectors(c, kRows, 256));
    add_rows(c, 4096, 10, all);
    add_rows(c, kRows, 256, all);
    for (const int64_t batch : {1, 256}) {
        for (const int64_t n : {10, 256}) all.push_back(cross_entropy(c, 4096 / batch, batch, n));
    }
    all.push_back(matmul(c, 16, 64));
    all.push_back(matmul(c, 1, 512));
    all.push_back(shaping(c, 16384));
    all.push_back(optimize(c, "sgd", detail::Rule::sgd, 1 << 20, 3));
    all.push_back(optimize(c, "momentum", detail::Rule::momentum, 1 << 20, 5));
    all.push_back(optimize(c, "adam", detail::Rule::adam, 1 << 20, 7));
    return all;
}

void report(const Operation& operation, const Repeats& repeats) {
    const Timing timing = measure(repeats, operation.run);
    const double seconds = timing.median() / 1000;
    const double sum = checksum(operation.result);
    JsonLine line;
    line.add("bench", "ops")
        .add("op", operation.op)
        .add("shape", operation.shape)
        .add("threads", num_threads())
        .add(timing);
    if (operation.flop > 0) line.add("gflops", operation.flop / seconds / 1e9);
    if (operation.bytes > 0) line.add("gb_per_s", operation.bytes / seconds / 1e9);
    line.add("checksum", sum).print();
    if (!std::isfinite(sum)) fail("the checksum is not finite");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Single operations of the backend.", "bench_ops");
    std::vector<std::string> wanted;
    int threads = 1;
    Repeats repeats{.at_least_ms = 20};
    app.option_defaults()->always_capture_default();
    add_list(app, "--op", wanted, "only operations whose name begins so");
    app.add_option("--threads", threads, "linear runs on one all the same, as in a chunk")
        ->check(CLI::Range(1, 1024));
    add_repeats(app, repeats);
    return run_main(app, argc, argv, [&] {
        return run_isolated("operations", [&] {
            set_num_threads(threads);
            Context context;
            int64_t done = 0;
            for (const Operation& operation : operations(context)) {
                const auto begins = [&](const std::string& p) {
                    return operation.op.starts_with(p);
                };
                if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), begins)) continue;
                report(operation, repeats);
                ++done;
            }
            if (done == 0) fail("no operation's name begins with \"" + wanted.front() + "\"");
        });
    });
}
