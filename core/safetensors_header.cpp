// SPDX-License-Identifier: MIT
#include "core/safetensors_header.h"

#include "core/json_reader.h"
#include "core/text.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace eggroll::detail {

namespace {

constexpr std::string_view kMetadataKey = "__metadata__";
/// NumPy's limit; bounds what a hostile shape costs.
constexpr size_t kMaxAxes = 64;

struct DtypeBits {
    std::string_view name;
    uint64_t bits;
};

constexpr std::array kDtypes{
    DtypeBits{"BOOL", 8},        DtypeBits{"U8", 8},          DtypeBits{"I8", 8},
    DtypeBits{"U16", 16},        DtypeBits{"I16", 16},        DtypeBits{"U32", 32},
    DtypeBits{"I32", 32},        DtypeBits{"U64", 64},        DtypeBits{"I64", 64},
    DtypeBits{"F16", 16},        DtypeBits{"BF16", 16},       DtypeBits{"F32", 32},
    DtypeBits{"F64", 64},        DtypeBits{"C64", 64},        DtypeBits{"F8_E4M3", 8},
    DtypeBits{"F8_E5M2", 8},     DtypeBits{"F8_E8M0", 8},     DtypeBits{"F6_E2M3", 6},
    DtypeBits{"F8_E4M3FNUZ", 8}, DtypeBits{"F8_E5M2FNUZ", 8}, DtypeBits{"F6_E3M2", 6},
    DtypeBits{"F4", 4},
};

// --- The grammar --------------------------------------------------------------------------------

/// Notes that `key` was seen; throws when it was before.
void see(JsonReader& json, bool& seen, const std::string& owner, std::string_view key) {
    if (std::exchange(seen, true)) json.fail(owner + " has " + in_quotes(key) + " twice");
}

TensorEntry read_entry(JsonReader& json, std::string&& name) {
    TensorEntry entry;
    entry.name = std::move(name);
    const std::string owner = "tensor " + in_quotes(entry.name);
    bool has_dtype = false, has_shape = false, has_offsets = false;
    json.each_member([&](const std::string& key) {
        if (key == "dtype") {
            see(json, has_dtype, owner, key);
            entry.dtype = json.string();
        } else if (key == "shape") {
            see(json, has_shape, owner, key);
            json.each_element([&] {
                if (entry.shape.size() == kMaxAxes) json.fail(owner + " has more than 64 axes");
                entry.shape.push_back(json.whole_number());
            });
        } else if (key == "data_offsets") {
            see(json, has_offsets, owner, key);
            std::array<uint64_t, 2> offsets{};
            size_t count = 0;
            json.each_element([&] {
                if (count == 2) json.fail(owner + " has more than two data_offsets");
                offsets[count++] = static_cast<uint64_t>(json.whole_number());
            });
            if (count < 2) json.fail(owner + " has fewer than two data_offsets");
            entry.begin = offsets[0];
            entry.end = offsets[1];
        } else {
            json.fail(owner + " has the unknown key " + in_quotes(key));
        }
    });
    if (!has_dtype) json.fail(owner + " has no \"dtype\"");
    if (!has_shape) json.fail(owner + " has no \"shape\"");
    if (!has_offsets) json.fail(owner + " has no \"data_offsets\"");
    return entry;
}

Metadata read_metadata(JsonReader& json) {
    Metadata result;
    json.each_member([&](std::string&& key) {
        std::string value = json.string();
        const auto [at, added] = result.try_emplace(std::move(key), std::move(value));
        if (!added) json.fail("__metadata__ has " + in_quotes(at->first) + " twice");
    });
    return result;
}

SafetensorsHeader read_header(std::string_view text) {
    if (text.empty() || text.front() != '{') throw Error("does not begin with '{'");
    const size_t bad = first_non_utf8(text);
    if (bad < text.size()) throw Error("byte " + std::to_string(bad) + ": is not UTF-8");

    SafetensorsHeader header;
    JsonReader json(text);
    bool has_metadata = false;
    json.each_member([&](std::string&& key) {
        if (key == kMetadataKey) {
            see(json, has_metadata, "the header", key);
            header.metadata = read_metadata(json);
        } else {
            header.tensors.push_back(read_entry(json, std::move(key)));
        }
    });
    json.end();
    return header;
}

// --- What the entries say -----------------------------------------------------------------------

[[noreturn]] void fail(const TensorEntry& entry, const std::string& reason) {
    throw Error("tensor " + in_quotes(entry.name) + " " + reason);
}

std::string range_of(const TensorEntry& entry) {
    return "data_offsets " +
           to_string({static_cast<int64_t>(entry.begin), static_cast<int64_t>(entry.end)});
}

/// Type, shape and range of one tensor fit each other.
void check_entry(const TensorEntry& entry, uint64_t data_bytes) {
    if (entry.begin > entry.end)
        fail(entry, "has " + range_of(entry) + ": it ends before it begins");
    if (entry.end > data_bytes) {
        fail(entry, "has " + range_of(entry) + " but the file holds only " +
                        std::to_string(data_bytes) + " bytes of data");
    }
    const auto dtype = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeBits& known) {
        return known.name == entry.dtype;
    });
    if (dtype == kDtypes.end()) fail(entry, "has the unknown dtype " + in_quotes(entry.dtype));

    uint64_t bits = dtype->bits;
    for (const int64_t extent : entry.shape) {
        const auto factor = static_cast<uint64_t>(extent);
        if (factor != 0 && bits > std::numeric_limits<uint64_t>::max() / factor) {
            fail(entry, "has shape " + to_string(entry.shape) + ", whose size overflows");
        }
        bits *= factor;
    }
    if (bits % 8 != 0 || bits / 8 != entry.end - entry.begin) {
        fail(entry, "of shape " + to_string(entry.shape) + " and dtype " + entry.dtype + " takes " +
                        std::to_string(bits / 8) + " bytes but has " + range_of(entry));
    }
}

/// Nothing overlaps, nothing is left out.
void check_cover(const std::vector<TensorEntry>& in_order, uint64_t data_bytes) {
    uint64_t covered = 0;
    for (const TensorEntry& entry : in_order) {
        if (entry.begin < covered) {
            fail(entry, "has " + range_of(entry) + " and overlaps the one before, which ends at " +
                            std::to_string(covered));
        }
        if (entry.begin > covered) {
            fail(entry, "has " + range_of(entry) + " and leaves a hole from " +
                            std::to_string(covered) + " on");
        }
        covered = entry.end;
    }
    if (covered < data_bytes) {
        throw Error("the tensors end at byte " + std::to_string(covered) +
                    " of the data but the file holds " + std::to_string(data_bytes));
    }
}

void check_names(const std::vector<TensorEntry>& entries) {
    std::vector<std::string_view> names;
    names.reserve(entries.size());
    for (const TensorEntry& entry : entries) names.push_back(entry.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) throw Error("two tensors are named " + in_quotes(*twice));
}

void append_string(std::string& json, std::string_view text) {
    if (first_non_utf8(text) < text.size())
        throw Error("the text " + in_quotes(text) + " is not UTF-8");
    constexpr std::string_view kDigits = "0123456789abcdef";
    json += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') json += '\\';
        if (static_cast<unsigned char>(c) < 0x20) {
            json += "\\u00";
            json += kDigits[static_cast<unsigned char>(c) / 16];
            json += kDigits[static_cast<unsigned char>(c) % 16];
        } else {
            json += c;
        }
    }
    json += '"';
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes) {
    SafetensorsHeader header;
    try {
        header = read_header(json);
    } catch (const Error& error) {
        throw Error(std::string("header: ") + error.what());
    }
    std::vector<TensorEntry>& entries = header.tensors;
    check_names(entries);
    for (const TensorEntry& entry : entries) check_entry(entry, data_bytes);
    std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    check_cover(entries, data_bytes);
    return header;
}

std::string write_safetensors_header(const SafetensorsHeader& header) {
    check_names(header.tensors);
    std::string json = "{";
    const auto separate = [&] {
        if (json.size() > 1) json += ',';
    };
    if (!header.metadata.empty()) {
        append_string(json, kMetadataKey);
        json += ":{";
        for (const auto& [key, value] : header.metadata) {
            if (json.back() != '{') json += ',';
            append_string(json, key);
            json += ':';
            append_string(json, value);
        }
        json += '}';
    }
    for (const TensorEntry& entry : header.tensors) {
        if (entry.name == kMetadataKey) throw Error("a tensor may not be named \"__metadata__\"");
        separate();
        append_string(json, entry.name);
        json += ":{\"dtype\":\"" + entry.dtype + "\",\"shape\":[";
        for (const int64_t extent : entry.shape) {
            if (json.back() != '[') json += ',';
            json += std::to_string(extent);
        }
        json += "],\"data_offsets\":[" + std::to_string(entry.begin) + ',' +
                std::to_string(entry.end) + "]}";
    }
    json += '}';
    json.resize((json.size() + 7) / 8 * 8, ' ');
    if (json.size() > kMaxHeaderBytes) {
        throw Error("the header would be " + std::to_string(json.size()) +
                    " bytes long, above the format's limit of " + std::to_string(kMaxHeaderBytes));
    }
    return json;
}

}  // namespace eggroll::detail
