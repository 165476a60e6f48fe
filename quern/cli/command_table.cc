#include "quern/cli/command_list.h"

namespace quern::cli {
namespace {

constexpr Command kCommands[] = {
    {"train", "learn from your own data and leave a run folder", declare_train},
    {"check", "look at data before training: types, repeats, outliers, leakage", declare_check},
    {"generate", "continue a text, or show what may come next", declare_generate},
    {"recommend", "rank what a user may take next", declare_recommend},
    {"evaluate", "score a trained model on labelled rows", declare_evaluate},
    {"diagnose", "tell overfitting, calibration, leakage and drift of a run, with evidence",
     declare_diagnose},
    {"predict", "answer new rows with a trained model", declare_predict},
    {"compare", "runs side by side: scores, options, curves", declare_compare},
    {"explain", "why a model gives this answer: what each part of the input contributes",
     declare_explain},
    {"quantize", "a run again with weights of 8 or 4 bits, smaller and quicker", declare_quantize},
    {"info", "what a run or a file is: shapes, parameters, memory, provenance", declare_info},
    {"tokenizer", "learn a tokenizer, encode, decode", declare_tokenizer},
    {"plan", "memory, time, cost and loss of a model on given hardware", declare_plan},
    {"bench", "what this machine can do, and Quern's share of it", declare_bench},
    {"options", "list every configuration key", declare_options},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace quern::cli
