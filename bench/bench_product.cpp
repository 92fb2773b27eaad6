// SPDX-License-Identifier: MIT

// Our plain product y (rows,d) = x (rows,d) Wᵀ beside what a user might expect behind it: Eigen's
// and oneDNN's, timed in turn. Each has as many threads, its output's memory and, where it has a
// layout of its own for W, W in it beforehand.

#include "bench/cli.h"
#include "bench/workload.h"

#include "tests/cases.h"

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

#ifdef BENCH_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>

#include <omp.h>
#endif

#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using namespace eggroll;
using namespace eggroll::bench;

namespace {

struct Case {
    int64_t d, rows;
    int threads;
    Tensor x = {}, w = {};  // (rows,d), (d,d): standard normals

    /// An equal part of the rows for each thread, in whole tiles of 12.
    int64_t part() const { return ((rows + threads - 1) / threads + 11) / 12 * 12; }
};

/// Each thread takes its part of the rows at once: Eigen packs W for every product.
class EigenProduct {
public:
    explicit EigenProduct(const Case& c) : y(Tensor::zeros({c.rows, c.d})), case_(c) {}
    void run() {
        using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        const int64_t d = case_.d;
        const Eigen::Map<const Matrix> w(case_.w.data().data(), d, d);
        in_parallel((case_.rows + case_.part() - 1) / case_.part(), [&](int64_t i) {
            const int64_t first = i * case_.part();
            const int64_t count = std::min(case_.part(), case_.rows - first);
            const Eigen::Map<const Matrix> x(case_.x.data().data() + first * d, count, d);
            Eigen::Map<Matrix>(y.data().data() + first * d, count, d).noalias() = x * w.transpose();
        });
    }

    Tensor y;

private:
    const Case& case_;
};

#ifdef BENCH_ONEDNN
using dnnl::memory;

/// `matmul` or `inner_product`, whichever a trial finds faster, made beforehand.
class OneDnn {
public:
    explicit OneDnn(const Case& c) : y(Tensor::zeros({c.rows, c.d})) {
        // OMP_NUM_THREADS was read when the runtime was loaded.
        omp_set_num_threads(c.threads);
        using Tag = memory::format_tag;
        const auto desc = [](int64_t n, int64_t m, Tag tag) {
            return memory::desc({n, m}, memory::data_type::f32, tag);
        };
        using Inner = dnnl::inner_product_forward;
        const memory::desc rows = desc(c.rows, c.d, Tag::ab), w = desc(c.d, c.d, Tag::any);
        constexpr auto kForward = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
        const dnnl::matmul::primitive_desc matmul(engine_, rows, w, rows);
        const Inner::primitive_desc inner(engine_, kForward, rows, w, rows);
#else
        const dnnl::matmul::primitive_desc matmul({rows, w, rows}, engine_);
        const Inner::primitive_desc inner({kForward, rows, w, rows}, engine_);
#endif
        // The weights of matmul are (I,O): W's transpose.
        add<dnnl::matmul>("matmul", c, matmul, desc(c.d, c.d, Tag::ba));
        add<Inner>("inner_product", c, inner, desc(c.d, c.d, Tag::ab));
        const std::vector<Timing> trial =
            measure({.warmup = 2, .count = 5, .at_least_ms = 5},
                    std::vector<Side>{{.timed = [&] { run(); }, .before = [&] { form_ = 0; }},
                                      {.timed = [&] { run(); }, .before = [&] { form_ = 1; }}});
        form_ = trial[0].min() <= trial[1].min() ? 0 : 1;
    }
    void run() {
        forms_[form_].primitive.execute(stream_, forms_[form_].arguments);
        stream_.wait();
    }
    /// Version and form.
    std::string name() const {
        const dnnl_version_t& v = *dnnl_version();
        return std::to_string(v.major) + "." + std::to_string(v.minor) + " " + forms_[form_].name;
    }

    Tensor y;

private:
    struct Form {
        const char* name;
        dnnl::primitive primitive;
        std::unordered_map<int, memory> arguments;
    };

    template <class Primitive>
    void add(const char* name, const Case& c, const typename Primitive::primitive_desc& made,
             const memory::desc& w_desc) {
        // Only read, but oneDNN's memory is never const.
        const auto data = [](const Tensor& t) { return const_cast<float*>(t.data().data()); };
        memory plain(w_desc, engine_, data(c.w)), w(made.weights_desc(), engine_);
        dnnl::reorder(plain, w).execute(stream_, plain, w);
        stream_.wait();
        forms_.push_back({name,
                          Primitive(made),
                          {{DNNL_ARG_SRC, memory(made.src_desc(), engine_, data(c.x))},
                           {DNNL_ARG_WEIGHTS, w},
                           {DNNL_ARG_DST, memory(made.dst_desc(), engine_, data(y))}}});
    }

    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
    std::vector<Form> forms_;
    size_t form_ = 0;
};
#endif

/// Refuses products that differ by more than rounding. Each of the I roundings of a sum of I
/// products of standard normals is up to 2^-24 of a partial sum of about √I, and they add like a
/// random walk, to about I·2^-24. 16 times that leaves room for the largest of millions; one
/// product left out makes about 1.
void compare(const char* what, const Tensor& y, const Tensor& ours) {
    const double most = 16 * static_cast<double>(ours.dim(1)) / (1 << 24);
    for (size_t i = 0; i < ours.data().size(); ++i) {
        const double difference = std::abs(double{y.data()[i]} - double{ours.data()[i]});
        if (difference <= most) continue;  // NaN does not pass
        fail(std::string(what) + " element " + std::to_string(i) + " differs from ours by " +
             std::to_string(difference) + ", more than " + std::to_string(most));
    }
}

void run(Case c, const Repeats& repeats) {
    set_num_threads(c.threads);
    c.x = test::random_tensor({c.rows, c.d}, 0);
    c.w = test::random_tensor({c.d, c.d}, 1);
    // Blocks of at most 240 rows, about what a chunk holds.
    PlainProduct ours(c.x, c.w, std::min<int64_t>(c.part(), 240));
    EigenProduct eigen(c);
    // OpenMP's threads spin on for a while and would take their cores from the next side.
    const auto rest = [&] {
        if (c.threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
    std::vector<Side> sides = {{.timed = [&] { ours.run(); }, .before = rest},
                               {.timed = [&] { eigen.run(); }, .before = rest}};
    std::string onednn_name = "not built in";
#ifdef BENCH_ONEDNN
    OneDnn onednn(c);
    onednn_name = onednn.name();
    sides.push_back({.timed = [&] { onednn.run(); }, .before = rest});
#endif
    const std::vector<Timing> timings = measure(repeats, sides);
    const double flop = 2.0 * static_cast<double>(c.rows * c.d * c.d);
    const auto gflops = [&](size_t side) { return flop / timings[side].median() / 1e6; };
    JsonLine line;
    line.add("bench", "product")
        .add("d", c.d)
        .add("rows", c.rows)
        .add("threads", c.threads)
        .add("gflops", gflops(0))
        .add("spread", timings[0].spread())
        .add("eigen_gflops", gflops(1))
        .add("ratio_to_eigen", gflops(0) / gflops(1));
    if (sides.size() > 2) {
        line.add("onednn_gflops", gflops(2)).add("ratio_to_onednn", gflops(0) / gflops(2));
    }
    line.add("onednn", onednn_name).add("checksum", checksum(ours.y().data())).print();
    compare("Eigen's", eigen.y, ours.y());
#ifdef BENCH_ONEDNN
    compare("oneDNN's", onednn.y, ours.y());
#endif
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Our plain product beside Eigen's and oneDNN's.", "bench_product");
    std::vector<int64_t> widths = {64, 128, 256, 512, 1024}, all_rows = {240, 4096};
    std::vector<int> threads = {1};
    Repeats repeats{.at_least_ms = 20};
    app.option_defaults()->always_capture_default();
    add_list(app, "--d", widths, "inputs and outputs")->check(CLI::Range(1, 1 << 16));
    add_list(app, "--rows", all_rows, "rows of x")->check(CLI::Range(1, 1 << 24));
    add_list(app, "--threads", threads, "of each side")->check(CLI::Range(1, 1024));
    add_repeats(app, repeats);
    return run_main(app, argc, argv, [&] {
        bool well = true;
        for (const int64_t d : widths) {
            for (const int64_t rows : all_rows) {
                for (const int n : threads) {
                    const std::string name =
                        "d " + std::to_string(d) + " rows " + std::to_string(rows);
                    well &= run_isolated(name, [&] { run({d, rows, n}, repeats); });
                }
            }
        }
        return well;
    });
}
