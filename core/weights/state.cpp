// SPDX-License-Identifier: Apache-2.0
#include "core/weights/state.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/weights/safetensors.h"
#include "core/weights/torch_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace medgen {
namespace {

using pickle::Dict;
using pickle::TensorRef;
using pickle::Value;

constexpr int kSearchDepth = 3;
constexpr std::size_t kMaxCandidates = 10;
constexpr std::string_view kTopLevel = ".";

/// A dict that may be the state dict, with the dicts that lead to it (outermost first).
struct Candidate {
  std::string key;
  const Dict* dict;
  std::vector<const Dict*> parents;
};

bool is_weight(const Value& value) {
  const auto* tensor = value.as<TensorRef>();
  return tensor != nullptr && element_count(tensor->shape) > 1;
}

/// A dict reachable by several ways counts once, under the first.
void find_candidates(const Value& value, const std::string& key, std::vector<const Dict*> parents,
                     std::set<const Dict*>& visited, std::vector<Candidate>& found) {
  const auto* dict = value.as<Dict>();
  if (dict == nullptr || !visited.insert(dict).second) return;
  const auto named_weight = [](const auto& item) {
    return item.first->template as<std::string>() && is_weight(*item.second);
  };
  if (std::ranges::any_of(dict->items, named_weight))
    found.push_back({key.empty() ? std::string(kTopLevel) : key, dict, parents});
  if (parents.size() == kSearchDepth) return;
  parents.push_back(dict);
  for (const auto& [name, child] : dict->items) {
    const auto* text = name->as<std::string>();
    if (text != nullptr) find_candidates(*child, key.empty() ? *text : key + "." + *text, parents, visited, found);
  }
}

std::string list_of(const std::vector<Candidate>& candidates) {
  std::string text;
  for (std::size_t i = 0; i < std::min(candidates.size(), kMaxCandidates); ++i) {
    const Candidate& candidate = candidates[i];
    text += fmt::format("\n  {}  ({} entries)", candidate.key == kTopLevel ? ". (the top level)" : candidate.key,
                        candidate.dict->items.size());
  }
  if (candidates.size() > kMaxCandidates) text += fmt::format("\n  and {} more", candidates.size() - kMaxCandidates);
  return text;
}

Candidate choose(std::vector<Candidate> candidates, const Value& root, const LoadOptions& options,
                 const std::string& path) {
  if (candidates.empty()) {
    const bool object = root.as<pickle::Opaque>() != nullptr;
    throw DataError("{}: holds no state dict; its content is: {}{}", path, pickle::describe(root),
                    object ? ". Save model.state_dict() instead of the model" : "");
  }
  if (options.key) {
    const auto wanted = std::ranges::find(candidates, *options.key, &Candidate::key);
    if (wanted != candidates.end()) return *wanted;
    std::vector<std::string> keys;
    for (const Candidate& candidate : candidates) keys.push_back(candidate.key);
    throw DataError("{}: no state dict under '{}'{}. There is{}", path, *options.key, did_you_mean(*options.key, keys),
                    list_of(candidates));
  }
  const auto named = [](const Candidate& candidate) { return candidate.key.ends_with("state_dict"); };
  if (candidates.size() > 1 && std::ranges::count_if(candidates, named) == 1) {
    return *std::ranges::find_if(candidates, named);
  }
  if (candidates.size() > 1) {
    throw DataError("{}: holds several state dicts; name the one to load as its key:{}", path, list_of(candidates));
  }
  return candidates.front();
}

std::optional<StateScalar> as_scalar(const Value& value, std::string_view name, TorchFile& file) {
  if (const auto* flag = value.as<bool>()) return *flag;
  if (const auto* number = value.as<std::int64_t>()) return *number;
  if (const auto* number = value.as<double>()) return *number;
  if (const auto* text = value.as<std::string>()) return *text;
  const auto* tensor = value.as<TensorRef>();
  if (tensor == nullptr || element_count(tensor->shape) != 1) return std::nullopt;
  return file.tensor(*tensor, name).to(DType::F64).values<double>()[0];
}

/// The entries of the dicts around the state dict; of equal names the nearest counts.
void read_surroundings(const Candidate& candidate, TorchFile& file, State& state) {
  for (auto parent = candidate.parents.rbegin(); parent != candidate.parents.rend(); ++parent) {
    for (const auto& [key, value] : (*parent)->items) {
      const auto* name = key->as<std::string>();
      const auto* dict = value->as<Dict>();
      const bool leads_here =
          dict == candidate.dict || std::ranges::find(candidate.parents, dict) != candidate.parents.end();
      if (name == nullptr || (dict != nullptr && leads_here)) continue;
      if (auto scalar = as_scalar(*value, *name, file)) {
        state.scalars.try_emplace(*name, std::move(*scalar));
      } else {
        state.skipped.push_back(fmt::format("{} ({})", *name, pickle::describe(*value)));
      }
    }
  }
}

bool is_unreadable_tensor(const Value& value) {
  const auto* object = value.as<pickle::Opaque>();
  return object != nullptr && (object->type.full_name().starts_with("torch._utils._rebuild") ||
                               object->type.full_name().starts_with("torch._tensor._rebuild"));
}

void read_tensors(const Dict& dict, TorchFile& file, State& state, const std::string& path) {
  for (const auto& [key, value] : dict.items) {
    const auto* name = key->as<std::string>();
    if (name == nullptr)
      throw DataError("{}: the state dict has a key that is no text: {}", path, pickle::describe(*key));
    if (const auto* tensor = value->as<TensorRef>()) {
      if (!state.tensors.emplace(*name, file.tensor(*tensor, *name)).second) {
        throw DataError("{}: tensor '{}' is stored twice", path, *name);
      }
    } else if (auto scalar = as_scalar(*value, *name, file)) {
      state.scalars.try_emplace(*name, std::move(*scalar));
    } else if (is_unreadable_tensor(*value)) {
      throw DataError("{}: '{}' is a {}, not a tensor that medgen can read (complex, quantised or sparse?)", path,
                      *name, pickle::describe(*value));
    } else {
      state.skipped.push_back(fmt::format("{} ({})", *name, pickle::describe(*value)));
    }
  }
}

State load_torch(const std::shared_ptr<const MappedFile>& mapped, const LoadOptions& options) {
  const std::string path = mapped->path().string();
  TorchFile file(mapped);
  std::vector<Candidate> candidates;
  std::set<const Dict*> visited;
  find_candidates(file.root(), "", {}, visited, candidates);
  const Candidate candidate = choose(std::move(candidates), file.root(), options, path);
  State state;
  state.key = candidate.key;
  state.format = file.format();
  read_tensors(*candidate.dict, file, state, path);
  read_surroundings(candidate, file, state);
  return state;
}

/// Metadata are text; what reads as a number is one.
StateScalar parse_scalar(const std::string& text) {
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto result = std::from_chars(text.data(), end, integer); result.ec == std::errc{} && result.ptr == end) {
    return integer;
  }
  double real = 0;
  if (const auto result = std::from_chars(text.data(), end, real); result.ec == std::errc{} && result.ptr == end)
    return real;
  return text;
}

State load_safetensors(const std::shared_ptr<const MappedFile>& mapped, const LoadOptions& options) {
  if (options.key && *options.key != kTopLevel) {
    throw DataError("{}: a safetensors file has no parts, so '{}' cannot be chosen: leave the key out",
                    mapped->path().string(), *options.key);
  }
  const SafetensorsFile file(mapped);
  State state;
  state.tensors = file.tensors();
  for (const auto& [name, text] : file.metadata()) state.scalars.emplace(name, parse_scalar(text));
  state.key = kTopLevel;
  state.format = "safetensors";
  return state;
}

bool all_start_with(const TensorMap& tensors, std::string_view prefix) {
  const auto starts = [prefix](const auto& item) {
    return item.first.size() > prefix.size() && item.first.starts_with(prefix);
  };
  return !tensors.empty() && std::ranges::all_of(tensors, starts);
}

void strip(State& state, std::string_view prefix) {
  TensorMap shorter;
  for (auto& [name, tensor] : state.tensors) shorter.emplace(name.substr(prefix.size()), std::move(tensor));
  state.tensors = std::move(shorter);
  state.stripped_prefix += prefix;
}

/// Wrappers nest in any order ("_orig_mod.module."), and the given prefix may stand before or after them.
void strip_prefixes(State& state, const std::string& given, const std::string& path) {
  constexpr std::array<std::string_view, 2> kWrappers{"module.", "_orig_mod."};
  bool given_left = !given.empty();
  for (bool changed = true; changed;) {
    changed = false;
    if (given_left && all_start_with(state.tensors, given)) {
      strip(state, given);
      given_left = false;
      changed = true;
    }
    for (const std::string_view wrapper : kWrappers) {
      if (!all_start_with(state.tensors, wrapper)) continue;
      strip(state, wrapper);
      changed = true;
    }
  }
  if (!given_left) return;
  const auto having =
      std::ranges::count_if(state.tensors, [&](const auto& item) { return item.first.starts_with(given); });
  throw DataError("{}: prefix '{}' cannot be stripped: {} of {} tensors have it", path, given, having,
                  state.tensors.size());
}

/// What people download by mistake instead of weights.
std::string guess_content(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 64));
  if (text.empty()) return "is empty";
  if (text.starts_with("version https://git-lfs"))
    return "is a Git LFS pointer; fetch the file itself with `git lfs pull`";
  if (text.starts_with('<')) return "is a web page; the download went wrong";
  return "is neither a safetensors file nor a torch checkpoint";
}

}  // namespace

std::optional<double> State::number(const std::string& name) const {
  const auto found = scalars.find(name);
  if (found == scalars.end()) return std::nullopt;
  return std::visit(
      [&](const auto& value) -> double {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
          throw DataError("'{}' beside the weights is '{}', not a number", name, value.substr(0, 60));
        } else {
          return static_cast<double>(value);
        }
      },
      found->second);
}

State load_state(const std::filesystem::path& path, const LoadOptions& options) {
  return load_state(MappedFile::open(path), options);
}

State load_state(const std::shared_ptr<const MappedFile>& file, const LoadOptions& options) {
  const std::string path = file->path().string();
  const auto bytes = file->bytes();
  const auto load = [&] {
    if (looks_like_safetensors(bytes)) return load_safetensors(file, options);
    if (looks_like_zip(bytes) || looks_like_pickle(bytes)) return load_torch(file, options);
    throw DataError("{}: {}", path, guess_content(bytes));
  };
  State state = load();
  strip_prefixes(state, options.strip_prefix, path);
  return state;
}

}  // namespace medgen
