#include "quern/train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/strings.h"
#include "quern/formats/json.h"
#include "quern/formats/safetensors.h"
#include "quern/run/run_folder.h"

namespace quern::train {
namespace {

constexpr int kFormat = 1;
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".safetensors";

std::string to_json(const Progress& p) {
  return nlohmann::json{{"step", p.step},
                        {"total_steps", p.total_steps},
                        {"warmup_steps", p.warmup_steps},
                        {"evaluate_every", p.evaluate_every},
                        {"evaluate_limit", p.evaluate_limit},
                        {"seconds", p.seconds},
                        {"evaluations", p.evaluations},
                        {"best_step", p.best_step},
                        {"best_loss", p.best_loss},
                        {"since_best", p.since_best},
                        {"train_loss", p.train_loss},
                        {"fingerprint", p.fingerprint}}
      .dump();
}

Progress from_json(std::string_view text, std::string_view where) {
  const nlohmann::json json = formats::parse_json(text, where);
  Progress p;
  try {
    p.step = json.at("step").get<int64_t>();
    p.total_steps = json.at("total_steps").get<int64_t>();
    p.warmup_steps = json.at("warmup_steps").get<int64_t>();
    p.evaluate_every = json.at("evaluate_every").get<int64_t>();
    p.evaluate_limit = json.at("evaluate_limit").get<int64_t>();
    p.seconds = json.at("seconds").get<double>();
    p.evaluations = json.at("evaluations").get<int64_t>();
    p.best_step = json.at("best_step").get<int64_t>();
    p.best_loss = json.at("best_loss").get<double>();
    p.since_best = json.at("since_best").get<int64_t>();
    p.train_loss = json.at("train_loss").get<double>();
    p.fingerprint = json.at("fingerprint").get<std::string>();
  } catch (const nlohmann::json::exception&) {
    throw FormatError(fmt::format("{}: the training progress is incomplete", where));
  }
  return p;
}

/// Of the progress and of every tensor by rising name.
class Checksum {
 public:
  explicit Checksum(std::string_view progress) { hasher_.update(progress); }
  void add(std::string_view name, const Shape& shape, std::span<const std::byte> bytes) {
    hasher_.update(name);
    hasher_.update(shape.to_string());
    hasher_.update({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::string hex() const { return hasher_.hex(); }

 private:
  Hasher hasher_;
};

std::string checksum_of(const formats::SafetensorsFile& file, std::string_view progress) {
  std::vector<const formats::TensorEntry*> entries;
  for (const auto& entry : file.tensors()) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(), [](auto* a, auto* b) { return a->name < b->name; });
  Checksum checksum(progress);
  for (const auto* entry : entries) checksum.add(entry->name, entry->shape, file.data(*entry));
  return checksum.hex();
}

constexpr const char* kDamagedHint = "use another checkpoint, or train afresh";

const std::string& metadata(const formats::SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    throw FormatError(
        fmt::format("{}: not a checkpoint of Quern's: no \"{}\"", file.path().string(), key),
        kDamagedHint);
  }
  return found->second;
}

Progress verify(const formats::SafetensorsFile& file) {
  const std::string where = file.path().string();
  const std::string& format = metadata(file, "quern_checkpoint");
  int version = 0;
  std::from_chars(format.data(), format.data() + format.size(), version);
  if (version > kFormat) {
    throw Error("newer_version",
                fmt::format("{}: written by a newer Quern (checkpoint format {}, this reads {})",
                            where, format, kFormat),
                "use that version of Quern");
  }
  const std::string& progress = metadata(file, "progress");
  if (checksum_of(file, progress) != metadata(file, "checksum")) {
    throw FormatError(fmt::format("{}: damaged: the checksum does not fit", where), kDamagedHint);
  }
  return from_json(progress, where);
}

}  // namespace

fs::path fold_folder(const fs::path& run, size_t fold) {
  return fold == 0 ? run : run / run::kFoldFolder / std::to_string(fold);
}

std::vector<std::pair<int64_t, fs::path>> list_checkpoints(const fs::path& folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) continue;
    const std::string digits =
        name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
    int64_t step = 0;
    const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
    if (bad == std::errc() && end == digits.data() + digits.size()) {
      found.emplace_back(step, entry.path());
    }
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

fs::path save_checkpoint(const fs::path& folder, const Progress& progress,
                         std::span<const NamedTensor> tensors, size_t keep) {
  std::vector<formats::TensorData> data;
  for (const NamedTensor& tensor : tensors) {
    data.push_back({tensor.name, DType::kF32, tensor.shape, std::as_bytes(tensor.values)});
  }
  std::sort(data.begin(), data.end(), [](auto& a, auto& b) { return a.name < b.name; });
  const std::string text = to_json(progress);
  Checksum checksum(text);
  for (const auto& tensor : data) checksum.add(tensor.name, tensor.shape, tensor.data);
  fs::path path = folder / fmt::format("{}{}{}", kPrefix, progress.step, kSuffix);
  formats::write_safetensors(path, data,
                             {{"quern_checkpoint", fmt::format("{}", kFormat)},
                              {"progress", text},
                              {"checksum", checksum.hex()}});
  const auto all = list_checkpoints(folder);
  for (size_t i = keep; i < all.size(); ++i) {
    std::error_code ignored;  // an old one that stays does no harm
    fs::remove(all[i].second, ignored);
  }
  return path;
}

std::optional<FoundCheckpoint> find_checkpoint(const fs::path& folder,
                                               std::vector<std::string>* damaged) {
  for (const auto& [step, path] : list_checkpoints(folder)) {
    try {
      return FoundCheckpoint{path, verify_checkpoint(path)};
    } catch (const FormatError& error) {
      if (damaged != nullptr) damaged->emplace_back(error.what());
    }
  }
  return std::nullopt;
}

Progress verify_checkpoint(const fs::path& path) { return verify(formats::SafetensorsFile(path)); }

Progress load_checkpoint(const fs::path& path, std::span<const NamedTensor> tensors) {
  const formats::SafetensorsFile file(path);
  Progress progress = verify(file);
  for (const NamedTensor& tensor : tensors) {
    const formats::TensorEntry* entry = file.find(tensor.name);
    if (entry == nullptr) {
      throw FormatError(fmt::format("{}: no tensor {}", path.string(), tensor.name),
                        "the checkpoint is of another model or optimizer");
    }
    if (entry->shape != tensor.shape || entry->dtype != DType::kF32) {
      throw FormatError(
          fmt::format("{}: tensor {} is {} {}, the model needs F32 {}", path.string(), tensor.name,
                      name(entry->dtype), entry->shape.to_string(), tensor.shape.to_string()),
          "the checkpoint is of another model or optimizer");
    }
  }
  if (file.tensors().size() != tensors.size()) {
    throw FormatError(fmt::format("{}: {} tensors, the model and its optimizer have {}",
                                  path.string(), file.tensors().size(), tensors.size()),
                      "the checkpoint is of another model or optimizer");
  }
  for (const NamedTensor& tensor : tensors) {
    if (tensor.values.empty()) continue;
    const auto bytes = file.data(file.at(tensor.name))
                           .subspan(tensor.begin * sizeof(float), tensor.values.size_bytes());
    std::memcpy(tensor.values.data(), bytes.data(), bytes.size());
  }
  return progress;
}

}  // namespace quern::train
