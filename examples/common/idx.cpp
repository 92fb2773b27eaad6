// SPDX-License-Identifier: MIT

#include "idx.h"

#include <eggroll/error.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>

namespace examples {

namespace {

constexpr size_t kReadStep = size_t{1} << 20;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
    throw eggroll::Error("[read_idx] \"" + path.string() + "\": " + reason);
}

/// A file under gzip, or a plain one: zlib reads both.
class GzipFile {
public:
    explicit GzipFile(const std::filesystem::path& path)
        : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
        if (!file_) fail(path_, std::strerror(errno));
    }

    /// Fills `out` as far as the file goes; returns how many bytes that is.
    size_t read(std::span<uint8_t> out) {
        const int got = gzread(file_.get(), out.data(), static_cast<unsigned>(out.size()));
        int status = Z_OK;
        const char* message = gzerror(file_.get(), &status);
        if (status == Z_ERRNO) fail(path_, std::strerror(errno));
        if (status == Z_BUF_ERROR) fail(path_, "the compressed data is cut short");
        if (got < 0 || status < 0) fail(path_, std::string("damaged: ") + message);
        return static_cast<size_t>(got);
    }

private:
    const std::filesystem::path& path_;
    std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

}  // namespace

IdxArray read_idx(const std::filesystem::path& path, size_t axes) {
    GzipFile file(path);
    std::array<uint8_t, 4> magic;
    const size_t got = file.read(magic);
    if (got == 0) fail(path, "the file is empty");
    if (got < 4 || magic[0] != 0 || magic[1] != 0) fail(path, "not an IDX file");
    if (magic[2] != 8) {
        fail(path, "the element type is " + std::to_string(magic[2]) +
                       " but only 8, unsigned bytes, is read");
    }
    if (magic[3] != axes) {
        fail(path, "has " + std::to_string(magic[3]) + " axes but " + std::to_string(axes) +
                       " are expected");
    }

    IdxArray array;
    uint64_t size = 1;
    for (size_t i = 0; i < axes; ++i) {
        std::array<uint8_t, 4> word;
        if (file.read(word) < 4) fail(path, "ends within its header");
        const uint64_t extent = uint64_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3];
        if (__builtin_mul_overflow(size, extent, &size)) fail(path, "claims more than 2^64 bytes");
        array.shape.push_back(static_cast<int64_t>(extent));
    }

    size_t filled = 0;
    while (filled < size) {
        array.bytes.resize(std::min<uint64_t>(size, filled + kReadStep));
        const size_t read = file.read(std::span(array.bytes).subspan(filled));
        filled += read;
        if (read == 0) {
            fail(path, "the header announces " + std::to_string(size) +
                           " bytes of data but there are " + std::to_string(filled));
        }
    }
    std::array<uint8_t, 1> more;
    if (file.read(more) != 0) {
        fail(path,
             "there is more data than the " + std::to_string(size) + " bytes the header announces");
    }
    return array;
}

LabelledImages read_labelled_images(const std::filesystem::path& images,
                                    const std::filesystem::path& labels, int classes) {
    IdxArray pixels = read_idx(images, 3);
    IdxArray names = read_idx(labels, 1);
    if (names.shape[0] != pixels.shape[0]) {
        fail(labels, "has " + std::to_string(names.shape[0]) + " labels but \"" + images.string() +
                         "\" has " + std::to_string(pixels.shape[0]) + " images");
    }
    if (pixels.bytes.empty()) fail(images, "holds no images");
    for (const uint8_t label : names.bytes) {
        if (label >= classes) {
            fail(labels, "label " + std::to_string(label) + " is outside 0.." +
                             std::to_string(classes - 1));
        }
    }
    return {pixels.shape[0], pixels.shape[1], pixels.shape[2], std::move(pixels.bytes),
            std::move(names.bytes)};
}

}  // namespace examples
