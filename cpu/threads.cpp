// SPDX-License-Identifier: MIT
#include "cpu/threads.h"

#include "core/text.h"

#include <eggroll/threads.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace eggroll {
namespace cpu {
namespace {

constexpr int kMaxThreads = 1024;

/// How long a thread looks for work before it sleeps, and how often between two looks at the clock.
constexpr std::chrono::microseconds kPatience{50};
constexpr int kLooks = 50;

/// One call of run_chunks. Lives on the caller's stack; `users` keeps it there.
struct Job {
    Job(int64_t chunks, detail::ChunkFunction body, void* of)
        : count(chunks), function(body), context(of) {}

    int64_t count;
    detail::ChunkFunction function;
    void* context;
    std::atomic<int64_t> next{0};
    int users = 0;  // workers inside; guarded by the pool's mutex
    std::mutex error_mutex;
    std::exception_ptr error;
    int64_t error_index = 0;
};

thread_local bool inside_chunk = false;

void work_on(Job& job) {
    inside_chunk = true;
    for (int64_t i; (i = job.next.fetch_add(1, std::memory_order_relaxed)) < job.count;) {
        try {
            job.function(job.context, i);
        } catch (...) {
            // Nobody starts another chunk; those of lower index have been started already.
            job.next.store(job.count, std::memory_order_relaxed);
            const std::scoped_lock lock(job.error_mutex);
            if (!job.error || i < job.error_index) {
                job.error = std::current_exception();
                job.error_index = i;
            }
        }
    }
    inside_chunk = false;
}

/// Workers that help whoever has chunks to run. Several threads may bring jobs at once.
class Pool {
public:
    ~Pool() { resize(1); }

    int size() {
        const std::scoped_lock lock(mutex_);
        return static_cast<int>(workers_.size()) + 1;
    }

    void resize(int threads) {
        const std::scoped_lock one_at_a_time(resize_mutex_);
        std::vector<std::thread> retired;
        {
            const std::scoped_lock lock(mutex_);
            ++generation_;
            ++changes_;
            retired.swap(workers_);
        }
        wake_.notify_all();
        for (std::thread& worker : retired) worker.join();
        const std::scoped_lock lock(mutex_);
        for (int i = 1; i < threads; ++i) {
            try {
                workers_.emplace_back([this, born = generation_] { serve(born); });
            } catch (const std::system_error& error) {
                throw Error("[set_num_threads] the system gives " + std::to_string(i) +
                            " threads, not " + std::to_string(threads) + ": " + error.what());
            }
        }
    }

    void run(Job& job) {
        {
            const std::scoped_lock lock(mutex_);
            jobs_.push_back(&job);
            ++changes_;
        }
        wake_.notify_all();
        work_on(job);
        std::unique_lock lock(mutex_);
        std::erase(jobs_, &job);
        wait(lock, idle_, [&] { return job.users == 0; });
    }

private:
    void serve(int64_t born) {
        std::unique_lock lock(mutex_);
        for (;;) {
            wait(lock, wake_, [&] { return generation_ != born || !jobs_.empty(); });
            if (generation_ != born) return;
            Job& job = *jobs_.front();
            ++job.users;
            lock.unlock();
            work_on(job);
            lock.lock();
            // Nothing is left to start: nobody else needs to look at it.
            std::erase(jobs_, &job);
            if (--job.users == 0) {
                ++changes_;
                idle_.notify_all();
            }
        }
    }

    /// Looks for a while before it sleeps: one parallel loop often follows another within
    /// microseconds, and waking a thread takes tens of them.
    template <class Condition>
    void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& sleepers,
              Condition condition) {
        const auto begin = std::chrono::steady_clock::now();
        const auto patient = [&] { return std::chrono::steady_clock::now() - begin < kPatience; };
        while (!condition() && patient()) {
            // Without the lock until something has changed: many who look must not hold up those
            // who work.
            const int64_t seen = changes_;
            lock.unlock();
            do {
                for (int i = 0; i < kLooks && changes_.load(std::memory_order_relaxed) == seen;
                     ++i) {
                    pause();
                }
                std::this_thread::yield();  // to whoever works, where threads outnumber processors
            } while (changes_.load(std::memory_order_relaxed) == seen && patient());
            lock.lock();
        }
        sleepers.wait(lock, condition);
    }

    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }

    std::mutex resize_mutex_;
    std::mutex mutex_;
    std::condition_variable wake_, idle_;
    std::deque<Job*> jobs_;
    std::vector<std::thread> workers_;
    int64_t generation_ = 0;
    /// Of what a thread may be waiting for; written under the mutex.
    std::atomic<int64_t> changes_{0};
};

/// Processors' worth of time the container grants (cgroup v2, then v1); 0 when unlimited.
int container_limit() {
    const auto read = [](const char* path) {
        std::ifstream file(path);
        std::string first, second;
        file >> first >> second;
        return std::pair(first, second);
    };
    const auto [quota, period] = read("/sys/fs/cgroup/cpu.max");
    if (const int limit = processors_granted(quota, period)) return limit;
    return processors_granted(read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").first,
                              read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").first);
}

int default_threads() {
    if (const char* text = std::getenv("EGGROLL_NUM_THREADS"); text != nullptr && *text != 0) {
        return parse_thread_count(text);
    }
    int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) n = CPU_COUNT(&allowed);
#endif
    if (const int limit = container_limit()) n = std::min(n, limit);
    return std::clamp(n, 1, kMaxThreads);
}

Pool& unsized_pool() {
    static Pool instance;
    return instance;
}

// Not std::call_once: after an exception it hangs where pthread_once knows none.
std::mutex sizing;
bool pool_sized = false;

/// The pool, of the default size unless somebody set one before.
Pool& pool() {
    const std::scoped_lock lock(sizing);
    if (!pool_sized) unsized_pool().resize(default_threads());
    pool_sized = true;
    return unsized_pool();
}

}  // namespace

int parse_thread_count(const std::string& text) {
    const int n = detail::number_in<int>(text).value_or(0);
    if (n < 1 || n > kMaxThreads) {
        throw Error("[EGGROLL_NUM_THREADS] must be a number from 1 to " +
                    std::to_string(kMaxThreads) + " but is " + detail::in_quotes(text));
    }
    return n;
}

int processors_granted(const std::string& quota, const std::string& period) {
    const double q = std::strtod(quota.c_str(), nullptr);
    const double p = std::strtod(period.c_str(), nullptr);
    if (!(q > 0 && p > 0 && std::isfinite(q / p))) return 0;
    return static_cast<int>(std::clamp(std::ceil(q / p), 1.0, double{kMaxThreads}));
}

void run_chunks(int64_t count, detail::ChunkFunction function, void* context) {
    if (inside_chunk || count <= 1) {
        for (int64_t i = 0; i < count; ++i) function(context, i);
        return;
    }
    Job job(count, function, context);
    pool().run(job);
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace cpu

int num_threads() {
    return cpu::pool().size();
}

void set_num_threads(int n) {
    if (n < 1 || n > cpu::kMaxThreads) {
        throw Error("[set_num_threads] must be from 1 to " + std::to_string(cpu::kMaxThreads) +
                    " but is " + std::to_string(n));
    }
    if (cpu::inside_chunk) {
        throw Error("[set_num_threads] not from a function the threads are running");
    }
    {
        const std::scoped_lock lock(cpu::sizing);
        cpu::pool_sized = true;  // the default is not asked for any more
    }
    cpu::unsized_pool().resize(n);
}

}  // namespace eggroll
