// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <cstddef>
#include <vector>

namespace eggroll::test {

/// An array in the memory of a backend; what it holds at first is unknown.
template <class T>
class BackendArray {
public:
    BackendArray(const detail::Backend& backend, size_t n) : backend_(backend), n_(n) {
        data_ = static_cast<T*>(backend.allocate(n * sizeof(T)));
    }
    BackendArray(const detail::Backend& backend, const std::vector<T>& values)
        : BackendArray(backend, values.size()) {
        backend.copy_from_host(data_, values.data(), n_ * sizeof(T));
    }
    ~BackendArray() { backend_.release(data_, n_ * sizeof(T)); }
    BackendArray(const BackendArray&) = delete;
    BackendArray& operator=(const BackendArray&) = delete;

    T* data() const { return data_; }
    std::vector<T> host() const {
        std::vector<T> values(n_);
        backend_.copy_to_host(values.data(), data_, n_ * sizeof(T));
        return values;
    }

private:
    const detail::Backend& backend_;
    size_t n_;
    T* data_;
};

}  // namespace eggroll::test
