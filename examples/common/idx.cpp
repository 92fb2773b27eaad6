// SPDX-License-Identifier: MIT

#include "idx.h"

#include <eggroll/error.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>

namespace examples {

namespace {

constexpr size_t kReadStep = size_t{1} << 20, kFirstStep = size_t{1} << 14;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
    throw eggroll::Error("[read_idx] \"" + path.string() + "\": " + reason);
}

/// What a file says, front to back: its bytes, or what gzip (RFC 1952) made them of.
class Content {
public:
    explicit Content(std::span<const uint8_t> bytes)
        : bytes_(bytes), gzipped_(bytes.size() >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B) {
        if (!gzipped_) return;
        constexpr int kGzip = 16;
        if (inflateInit2(&stream_, kGzip + MAX_WBITS) != Z_OK) throw std::bad_alloc();
    }
    ~Content() {
        if (gzipped_) inflateEnd(&stream_);
    }
    Content(const Content&) = delete;
    Content& operator=(const Content&) = delete;

    /// Fills `out` as far as there is anything; returns how many bytes that is.
    size_t read(std::span<uint8_t> out) {
        if (gzipped_) return inflate_to(out);
        const size_t count = std::min(out.size(), bytes_.size());
        std::copy_n(bytes_.begin(), count, out.begin());
        bytes_ = bytes_.subspan(count);
        return count;
    }

private:
    size_t inflate_to(std::span<uint8_t> out) {
        constexpr size_t kMost = std::numeric_limits<uInt>::max();
        size_t filled = 0;
        while (filled < out.size() && !ended_) {
            const size_t given = std::min(bytes_.size(), kMost);
            const size_t wanted = std::min(out.size() - filled, kMost);
            stream_.next_in = const_cast<Bytef*>(bytes_.data());  // zlib only reads it
            stream_.avail_in = static_cast<uInt>(given);
            stream_.next_out = out.data() + filled;
            stream_.avail_out = static_cast<uInt>(wanted);
            const int status = inflate(&stream_, Z_NO_FLUSH);
            bytes_ = bytes_.subspan(given - stream_.avail_in);
            filled += wanted - stream_.avail_out;
            if (status == Z_STREAM_END) {
                // Another may follow; together they are one.
                ended_ = bytes_.empty();
                if (!ended_) inflateReset(&stream_);
            } else if (status == Z_BUF_ERROR) {
                throw eggroll::Error("the compressed data is cut short");
            } else if (status != Z_OK) {
                throw eggroll::Error(std::string("damaged: ") +
                                     (stream_.msg != nullptr ? stream_.msg : "not gzip"));
            }
        }
        return filled;
    }

    std::span<const uint8_t> bytes_;  // not read yet
    bool gzipped_, ended_ = false;
    z_stream stream_{};
};

}  // namespace

IdxArray parse_idx(std::span<const uint8_t> content, size_t axes) {
    const auto refuse = [](const std::string& reason) { throw eggroll::Error(reason); };
    Content file(content);
    std::array<uint8_t, 4> magic;
    const size_t got = file.read(magic);
    if (got == 0) refuse("the file is empty");
    if (got < 4 || magic[0] != 0 || magic[1] != 0) refuse("not an IDX file");
    if (magic[2] != 8) {
        refuse("the element type is " + std::to_string(magic[2]) +
               " but only 8, unsigned bytes, is read");
    }
    if (magic[3] != axes) {
        refuse("has " + std::to_string(magic[3]) + " axes but " + std::to_string(axes) +
               " are expected");
    }

    IdxArray array;
    uint64_t size = 1;
    for (size_t i = 0; i < axes; ++i) {
        std::array<uint8_t, 4> word;
        if (file.read(word) < 4) refuse("ends within its header");
        const uint64_t extent = uint64_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3];
        if (__builtin_mul_overflow(size, extent, &size)) refuse("claims more than 2^64 bytes");
        array.shape.push_back(static_cast<int64_t>(extent));
    }

    // As much again as there was so far.
    size_t filled = 0;
    while (filled < size) {
        array.bytes.resize(std::min<uint64_t>(size, filled + std::max(filled, kFirstStep)));
        const size_t read = file.read(std::span(array.bytes).subspan(filled));
        filled += read;
        if (read == 0) {
            refuse("the header announces " + std::to_string(size) +
                   " bytes of data but there are " + std::to_string(filled));
        }
    }
    std::array<uint8_t, 1> more;
    if (file.read(more) != 0) {
        refuse("there is more data than the " + std::to_string(size) +
               " bytes the header announces");
    }
    return array;
}

IdxArray read_idx(const std::filesystem::path& path, size_t axes) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                               std::fclose);
    if (!file) fail(path, std::strerror(errno));
    std::vector<uint8_t> content;
    for (size_t got = 1, filled = 0; got > 0; filled += got) {
        content.resize(filled + kReadStep);
        got = std::fread(content.data() + filled, 1, kReadStep, file.get());
        if (std::ferror(file.get()) != 0) fail(path, std::strerror(errno));
        if (got < kReadStep) content.resize(filled + got);
    }
    try {
        return parse_idx(content, axes);
    } catch (const eggroll::Error& error) {
        fail(path, error.what());
    }
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
