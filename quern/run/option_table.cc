#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quern/run/options.h"

namespace quern::run {
namespace {

using enum OptionType;
constexpr double kMany = 1e15;
constexpr std::string_view kTables = "classify regress";

constexpr auto kTable_ = std::to_array<OptionInfo>({
    {"seed", kInteger, "1", "Fixes every random choice", "", 0, kMany},
    {"device", kChoice, "auto", "Where to compute", "auto|cpu|cuda"},
    {"precision", kChoice, "float32",
     "What a GPU computes in; bf16 also keeps activations so. Sums and the optimizer stay in "
     "float32",
     "float32|tf32|bf16"},
    {"stochastic_rounding", kBoolean, "false",
     "With precision = bf16, training rounds weights up or down by chance, so that small steps add "
     "up"},
    {"threads", kInteger, "0", "Threads to use; 0: all", "", 0, 1024},
    {"memory", kBytes, "", "Memory to stay within; empty: what is available", "a size, as 16GB"},
    {"bit_exact", kBoolean, "false",
     "The same bits for any number of ranks; refuses what depends on the clock (train.time)"},

    {"data.task", kChoice, "auto", "What to learn", "auto|generate|classify|regress|recommend"},
    {"data.table", kText, "", "The table to read of a SQLite database",
     "a table name; empty: the only one"},
    {"data.target", kText, "", "The column to predict", "a column name", 0, 0, kTables},
    {"data.validation", kText, "0.1", "What is held out to choose the best step",
     "a fraction below 1, or a file"},
    {"data.test", kNumber, "0", "Fraction held out and never looked at in training", "", 0, 0.9},
    {"data.split", kText, "auto", "How rows are divided",
     "auto, random, contiguous; for tables also stratified, time:COLUMN, group:COLUMN; for logs "
     "last, time"},
    {"data.folds", kInteger, "auto",
     "Models that are trained, each without one part of the rows, and "
     "averaged; 1: one model that "
     "data.validation is held out of",
     "", 1, 20, kTables},
    {"data.class_weights", kChoice, "none",
     "What the rows of a class count in the loss; balanced: every class as much as another",
     "none|balanced", 0, 0, "classify"},
    {"data.positive", kText, "",
     "Of two classes, the one that scores, threshold and costs speak of",
     "a class; empty: the rarer", 0, 0, "classify"},
    {"data.metric", kChoice, "auto",
     "What the threshold of two classes is chosen by, on validation; auto: one half",
     "auto|accuracy|balanced_accuracy|f1", 0, 0, "classify"},
    {"data.costs", kText, "", "What a false alarm and a miss cost; decides the threshold",
     "two numbers, as 1:5", 0, 0, "classify"},
    {"data.types", kTable, "", "Column types",
     "column = number, category, text, image, date, id or ignore", 0, 0, kTables},
    {"data.user", kText, "", "The column of users in a log", "a column name; empty: by its name", 0,
     0, "recommend"},
    {"data.item", kText, "", "The column of items in a log", "a column name; empty: by its name", 0,
     0, "recommend"},
    {"data.time", kText, "", "The column of times in a log",
     "a column name; empty: by its name or values; none: the order of the file", 0, 0, "recommend"},
    {"data.items", kText, "", "A table of the items, whose columns help to tell what they are",
     "a file", 0, 0, "recommend"},
    {"data.item_columns", kText, "",
     "Columns that describe items, of data.items or of the log itself",
     "names with commas; empty: all of data.items, none of the log", 0, 0, "recommend"},
    {"data.min_count", kInteger, "1", "Items taken fewer times in the whole log are left out of it",
     "", 1, kMany, "recommend"},
    {"data.column", kText, "", "The column or field that holds the text", "a name; empty: text", 0,
     0, "generate"},
    {"data.documents", kChoice, "auto", "What one document is in a plain text file",
     "auto|file|blank_line|percent|line", 0, 0, "generate"},

    {"tokenizer.kind", kText, "bpe", "How text becomes tokens",
     "bpe, char, byte, or a tokenizer.json"},
    {"tokenizer.vocabulary", kInteger, "auto", "Tokens to learn (bpe: 257 or more)", "", 2,
     1 << 24},
    {"tokenizer.pattern", kChoice, "chinese", "How text is cut into pieces that merges stay within",
     "gpt2|llama3|chinese"},

    {"model.preset", kChoice, "auto", "The family of the model",
     "auto|article|gpt2|llama|ft-transformer|bert|sasrec|vit"},
    {"model.size", kChoice, "auto", "One dial for width, depth, heads, context, batch and rate",
     "auto|tiny|small|base|large"},
    {"model.layers", kInteger, "auto", "Transformer blocks; an encoder of columns may have none",
     "", 0, 1024},
    {"model.heads", kInteger, "auto", "Attention heads", "", 1, 1024},
    {"model.kv_heads", kInteger, "auto", "Heads of keys and values; divides heads", "", 1, 1024},
    {"model.width", kInteger, "auto", "Width of the residual stream", "", 1, 1 << 20},
    {"model.ffn_width", kInteger, "auto", "Inner width of the feed-forward part", "", 1, 1 << 22},
    {"model.context", kInteger, "auto", "Tokens that the model sees at once", "", 2, 1 << 22},
    {"model.position", kChoice, "auto", "How positions are told apart",
     "sinusoidal|learned|rope|alibi|none"},
    {"model.norm", kChoice, "auto", "Normalisation", "layer|rms"},
    {"model.norm_place", kChoice, "auto", "Where the normalisation stands", "pre|post|article"},
    {"model.activation", kChoice, "auto", "Activation of the feed-forward part",
     "relu|gelu|gelu_tanh|swiglu|geglu|reglu"},
    {"model.bias", kBoolean, "auto", "Biases in linear layers"},
    {"model.tie_embeddings", kBoolean, "auto", "The output matrix is the embedding table"},
    {"model.ngram_orders", kInteger, "auto",
     "Hashed n-gram embeddings added to the input, of orders 2 to this + 1; 0: none", "", 0, 7},
    {"model.ngram_buckets", kInteger, "auto", "Rows of the n-gram embedding table", "", 0, 1 << 28},

    {"model.image_size", kInteger, "auto", "Pixels of a picture's side; 0: as they are, at most 64",
     "", 0, 4096, kTables},
    {"model.stem", kInteger, "auto",
     "Rounds of convolution and pooling that turn pictures into tokens; 0: plain patches", "", 0, 8,
     kTables},
    {"model.patch", kInteger, "auto", "Pixels of a patch's side, without a stem", "", 1, 256,
     kTables},
    {"model.linear", kBoolean, "auto",
     "The answer starts from a linear model's, which training mends", "", 0, 0, kTables},
    {"model.head_layers", kInteger, "auto", "Hidden layers of the head that answers", "", 0, 16,
     kTables},
    {"model.head_width", kInteger, "auto", "Width of the head's hidden layers", "", 1, 1 << 16,
     kTables},

    {"regularise.dropout", kNumber, "auto", "Dropout rate of the residual stream", "", 0, 0.95},
    {"regularise.attention_dropout", kNumber, "auto", "Dropout rate of attention weights", "", 0,
     0.95},
    {"regularise.drop_path", kNumber, "0", "Rate of leaving out a whole branch", "", 0, 0.95},
    {"regularise.label_smoothing", kNumber, "0", "Mass moved from the target to all", "", 0, 0.9},
    {"regularise.weight_decay", kNumber, "auto", "Decoupled decay of matrices and tables", "", 0,
     100},
    {"regularise.ema", kNumber, "auto", "Decay of averaged weights, used for evaluation; 0: off",
     "", 0, 0.99999},
    {"regularise.token_dropout", kNumber, "0",
     "Rate of replacing input tokens by random ones while training", "", 0, 0.9},
    {"regularise.item_dropout", kNumber, "0.1",
     "Rate of hiding an item's own weights while training, so that its columns learn to speak", "",
     0, 0.9, "recommend"},
    {"regularise.augment", kChoice, "auto", "Augmentation", "off|light|strong|auto", 0, 0,
     "classify"},
    {"regularise.randaugment", kNumber, "auto",
     "Strength of RandAugment on pictures, of 10: two random changes each; 0: off", "", 0, 10,
     "classify regress"},
    {"regularise.mixup", kNumber, "auto", "Rate of blending a picture, and its class, with another",
     "", 0, 1, "classify"},
    {"regularise.cutmix", kNumber, "auto",
     "Rate of cutting a rectangle of another picture, and its class, into one", "", 0, 1,
     "classify"},
    {"regularise.head_dropout", kNumber, "auto", "Dropout rate in the head", "", 0, 0.95, kTables},
    {"regularise.column_dropout", kNumber, "auto", "Rate of hiding a column's value while training",
     "", 0, 0.9, kTables},
    {"regularise.masked_inputs", kNumber, "auto",
     "Share of the rows whose parts are hidden at random while training, as explaining hides them",
     "", 0, 0.9, kTables},
    {"regularise.ensemble", kInteger, "auto", "Members that share weights", "", 1, 64, kTables},

    {"train.candidates", kInteger, "auto",
     "Items that the loss of a step is taken over (sampled softmax); 0: all", "", 0, 1 << 24,
     "recommend"},
    {"train.steps", kInteger, "0", "Optimizer steps; 0: decided by epochs, time or patience", "", 0,
     kMany},
    {"train.epochs", kNumber, "0", "Passes over the training part; 0: not a limit", "", 0, 1e9},
    {"train.time", kDuration, "", "Wall time to stay within", "a duration, as 10m"},
    {"train.batch",
     kInteger,
     "auto",
     "Sequences a step; 0 or auto: by the size",
     "",
     0,
     1 << 20,
     {},
     true},
    {"train.accumulate", kInteger, "1", "Parts in which the batch of a step is run", "", 1,
     1 << 16},
    {"train.optimizer", kChoice, "auto",
     "Optimizer; muon takes the matrices and leaves the rest to AdamW", "adamw|muon"},
    {"train.learning_rate", kNumber, "auto", "Peak rate", "", 0, 100},
    {"train.min_learning_rate", kNumber, "auto", "Rate at the end of the schedule", "", 0, 100},
    {"train.schedule", kChoice, "cosine", "How the rate falls after the warm-up",
     "cosine|linear|constant|wsd"},
    {"train.warmup_steps", kInteger, "auto",
     "Steps of linear warm-up; auto: a twentieth of all, at most 200", "", 0, kMany},
    {"train.beta1", kNumber, "0.9", "AdamW's decay of the first moment", "", 0, 0.99999},
    {"train.beta2", kNumber, "auto", "AdamW's decay of the second moment", "", 0, 0.999999},
    {"train.clip", kNumber, "1", "Largest gradient norm; 0: none", "", 0, kMany},
    {"train.evaluate_every", kInteger, "0", "Steps between evaluations; 0: automatic", "", 0,
     kMany},
    {"train.patience", kInteger, "0",
     "Evaluations without improvement before training stops; 0: automatic", "", 0, kMany},
    {"train.checkpoint_every", kInteger, "0", "Steps between checkpoints; 0: every 30 seconds", "",
     0, kMany},
});

constexpr std::string_view kTypeNames[] = {"text",    "choice",   "integer", "number",
                                           "boolean", "duration", "size",    "table"};

std::string escape_cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string accepted_text(const OptionInfo& info) {
  if (!info.accepted.empty()) return escape_cell(info.accepted);
  if (info.type == kBoolean) return "true, false";
  if (info.maximum <= info.minimum) return "";
  if (info.maximum >= kMany) return fmt::format("{} or more", info.minimum);
  return fmt::format("{} to {}", info.minimum, info.maximum);
}

}  // namespace

std::span<const OptionInfo> option_table() { return kTable_; }

const OptionInfo* find_option(std::string_view key) {
  const auto it = std::find_if(kTable_.begin(), kTable_.end(),
                               [&](const auto& info) { return info.key == key; });
  return it == kTable_.end() ? nullptr : &*it;
}

std::string options_markdown() {
  std::string out =
      "| key | type | default | accepted | what it does |\n| --- | --- | --- | --- | --- |\n";
  for (const OptionInfo& info : kTable_) {
    out += fmt::format(
        "| `{}` | {} | `{}` | {} | {}{} |\n", info.key, kTypeNames[static_cast<size_t>(info.type)],
        info.fallback.empty() ? "\"\"" : info.fallback, accepted_text(info), info.help,
        info.tasks.empty() ? "" : fmt::format(" (tasks: {})", info.tasks));
  }
  return out;
}

}  // namespace quern::run
