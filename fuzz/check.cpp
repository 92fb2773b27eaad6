// SPDX-License-Identifier: MIT
#include "fuzz/check.h"

#include "core/text.h"

#include <cstdio>
#include <cstdlib>

#include <sanitizer/allocator_interface.h>

namespace eggroll::fuzz {

namespace {

thread_local bool watched = false;
thread_local int64_t held = 0, limit = 0;  // bytes

[[noreturn]] void finding(const char* what) {
    std::fprintf(stderr, "finding: %s\n", what);
    std::abort();
}

void on_malloc(const volatile void*, size_t size) {
    if (!watched) return;
    held += static_cast<int64_t>(size);
    if (held <= limit) return;
    watched = false;
    std::fprintf(stderr, "%lld bytes held, %lld allowed\n", static_cast<long long>(held),
                 static_cast<long long>(limit));
    finding("more memory than the input is worth");
}

void on_free(const volatile void* memory) {
    if (!watched || memory == nullptr) return;
    held -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(memory)));
}

}  // namespace

void require(bool holds, const char* what) {
    if (!holds) finding(what);
}

MemoryLimit::MemoryLimit(size_t bytes) {
    static const int installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    require(installed > 0, "the hooks of malloc could not be installed");
    held = 0;
    limit = static_cast<int64_t>(bytes);
    watched = true;
}

MemoryLimit::~MemoryLimit() {
    watched = false;
}

void check_message(std::string_view start, std::string_view message) {
    const bool good = message.starts_with(start) && message.size() < 1200 &&
                      message.find('\n') == message.npos &&
                      detail::first_non_utf8(message) == message.size();
    if (!good) std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
    require(good, "a message is not one short line of UTF-8 that begins as it should");
}

}  // namespace eggroll::fuzz
