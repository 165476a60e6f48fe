#include "quern/model/model_config.h"

#include <gtest/gtest.h>

#include <string>

#include "quern/base/error.h"
#include "quern/model/decoder.h"

namespace quern::model {
namespace {

ModelConfig sized(std::string_view preset, std::string_view size, int64_t vocabulary) {
  ModelConfig config;
  apply_preset(config, preset);
  apply_size(config, size);
  config.vocabulary = vocabulary;
  return config;
}

TEST(ModelConfig, Gpt2Has124MillionParameters) {
  // VC + TC + L(12C² + 13C) + 2C with C = 768, L = 12, T = 1024, V = 50257.
  EXPECT_EQ(count_parameters(sized("gpt2", "base", 50257)), 124439808);
}

TEST(ModelConfig, LlamaCountFollowsItsFormula) {
  ModelConfig config = sized("llama", "tiny", 1000);
  config.kv_heads = 2;
  config.tie_embeddings = false;
  const int64_t c = 128, f = config.ffn_width, head = 32;
  EXPECT_EQ(count_parameters(config),
            2 * 1000 * c + 4 * (2 * c * 4 * head + 2 * c * 2 * head + 3 * c * f + 2 * c) + c);
}

TEST(ModelConfig, JsonRoundTrips) {
  for (const char* preset : {"article", "gpt2", "llama"}) {
    ModelConfig config = sized(preset, "small", 777);
    config.dropout = 0.25F;
    config.ngram_orders = 2;
    config.ngram_buckets = 64;
    const std::string text = to_json(config);
    EXPECT_EQ(to_json(config_from_json(text, "config.json")), text);
  }
}

TEST(ModelConfig, HuggingFaceSpellingOnlyWhereTheModelIsTheirs) {
  ModelConfig config = sized("gpt2", "tiny", 100);
  EXPECT_NE(to_json(config).find("\"GPT2LMHeadModel\""), std::string::npos);
  config.position = Position::kAlibi;
  EXPECT_EQ(to_json(config).find("GPT2LMHeadModel"), std::string::npos);
  EXPECT_NE(to_json(sized("llama", "tiny", 100)).find("\"LlamaForCausalLM\""), std::string::npos);
}

std::string message(const ModelConfig& config) {
  try {
    config.validate();
  } catch (const UsageError& error) {
    return error.what();
  }
  return {};
}

TEST(ModelConfig, RefusalsNameTheKey) {
  ModelConfig good = sized("llama", "tiny", 100);
  EXPECT_EQ(message(good), "");
  ModelConfig config = good;
  config.heads = 3;
  EXPECT_NE(message(config).find("model.width"), std::string::npos);
  config = good;
  config.kv_heads = 3;
  EXPECT_NE(message(config).find("model.kv_heads"), std::string::npos);
  config = good;
  config.width = 132;  // 33 a head
  EXPECT_NE(message(config).find("rotary"), std::string::npos);
  config = good;
  config.layers = int64_t{1} << 40;
  EXPECT_NE(message(config).find("model.layers"), std::string::npos);
  config = good;
  config.dropout = 1;
  EXPECT_NE(message(config).find("dropout"), std::string::npos);
}

TEST(ModelConfig, DamagedJsonIsRefused) {
  const std::string text = to_json(sized("llama", "tiny", 100));
  EXPECT_THROW(config_from_json("", "c"), FormatError);
  EXPECT_THROW(config_from_json(text.substr(0, text.size() / 2), "c"), FormatError);
  EXPECT_THROW(config_from_json("{}", "c"), FormatError);
  EXPECT_THROW(config_from_json("[1]", "c"), FormatError);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const size_t at = changed.rfind(from);
    EXPECT_NE(at, std::string::npos);
    return changed.replace(at, from.size(), to);
  };
  EXPECT_THROW(config_from_json(with("\"layers\": 4", "\"layers\": \"4\""), "c"), FormatError);
  EXPECT_THROW(config_from_json(with("\"layers\": 4", "\"layers\": 18446744073709551615"), "c"),
               FormatError);
  EXPECT_THROW(config_from_json(with("\"layers\": 4", "\"layers\": -4"), "c"), UsageError);
  EXPECT_THROW(config_from_json(with("\"format\": 1", "\"format\": 2"), "c"), Error);
}

TEST(ModelConfig, FieldsThatContradictEachOtherAreRefused) {
  for (const char* preset : {"gpt2", "llama", "article"}) {
    const std::string text = to_json(sized(preset, "tiny", 100));
    const auto refusal = [&](const std::string& from, const std::string& to) -> std::string {
      std::string changed = text;
      const size_t at = changed.find(from);  // the first: Hugging Face's, before "quern"
      EXPECT_LT(at, changed.find("\"quern\": {")) << from;
      changed.replace(at, from.size(), to);
      try {
        (void)config_from_json(changed, "config.json");
      } catch (const FormatError& error) {
        return error.what();
      }
      return "";
    };
    EXPECT_NE(refusal("\"vocab_size\": 100", "\"vocab_size\": 101").find("vocab_size"),
              std::string::npos);
    EXPECT_NE(refusal("\"float32\"", "\"bfloat16\"").find("torch_dtype"), std::string::npos);
    EXPECT_NE(refusal("\"model_type\": \"", "\"model_type\": \"a\\n").find("model_type"),
              std::string::npos);
    // What other programs add, leave out, or round to fewer digits is no contradiction.
    EXPECT_EQ(refusal("\"vocab_size\"", "\"_name_or_path\": \"x\",\n  \"vocab_size\""), "");
    EXPECT_EQ(refusal("\"vocab_size\"", "\"Vocab_size\""), "");
  }
  const std::string llama = to_json(sized("llama", "tiny", 100));
  std::string rounded = llama;
  const size_t at = rounded.find("\"rms_norm_eps\": ") + 16;
  rounded.replace(at, rounded.find(',', at) - at, "1e-05");
  EXPECT_NE(rounded, llama);
  EXPECT_EQ(to_json(config_from_json(rounded, "c")), llama);
}

TEST(ModelConfig, UnknownNamesComeWithTheNearest) {
  ModelConfig config;
  try {
    apply_preset(config, "gtp2");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(error.hint().find("gpt2"), std::string::npos);
  }
  EXPECT_THROW(parse_position("rotary"), UsageError);
  EXPECT_THROW(apply_size(config, "huge"), UsageError);
}

}  // namespace
}  // namespace quern::model
