#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "quern/explain/attribution.h"
#include "quern/explain/audit.h"
#include "quern/explain/interactions.h"
#include "quern/metrics/interval.h"

namespace quern::explain {

/// A part of the input as people read it. Parts that the model does not look at are no players:
/// exactly 0.
struct ExplainedPart {
  std::string kind;         // "column", "word", "patch", "item", "special"
  std::string name, value;  // of a column: its name and its cell
  int player = -1;          // of the game; -1: none

  /// "duration = 48" of a column; of other parts the name.
  std::string label() const { return kind == "column" ? name + " = " + value : name; }
};

/// The group of each of `players`: itself, or with `words` that of its name, so that all places of
/// a word (white space aside) are one. The parts are moved to the groups.
std::vector<size_t> group_players(std::vector<ExplainedPart>& parts, size_t players, bool words);

/// A picture with the part that each of its pixels belongs to.
struct ExplainedPicture {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;   // (height, width, channels)
  std::vector<int32_t> players;  // (height · width)

  bool present() const { return height > 0; }
};

/// The principal reasons for an answer, in approved words, and what was passed over.
struct ReasonReport {
  struct Reason {
    std::string code, text, column, value;
    std::string side;  // of the reference median: "high", "low", or "any" where there is none
    double phi = 0;
    double effect = 0;  // of this column alone, against the reference population
  };
  struct Withheld {
    std::string column, value;
    double phi = 0;
    std::string why;
  };
  bool asked = false;
  std::vector<Reason> reasons;
  std::vector<Withheld> withheld;
};

/// A change that changes the decision.
struct Counterfactual {
  struct Change {
    std::string column, from, to;
  };
  bool asked = false, found = false;
  std::vector<Change> changes;
  std::string from_class, to_class;
  double before = 0, after = 0;  // probability of to_class
  uint64_t rows_answered = 0;
};

/// Which training rows shaped a prediction, the strongest first: a step of training on one raises
/// what is explained, or lowers it.
struct InfluenceReport {
  struct Row {
    std::string where;   // in the training data
    std::string answer;  // its target
    double influence = 0;
  };
  std::vector<Row> raising, lowering;
  size_t rows = 0;     // looked at, evenly over the training rows; 0: not asked
  size_t weights = 0;  // sets of them that gradients were taken at
};

/// An answer and what made it.
struct Explanation {
  std::string run, task;
  std::string device = "cpu";  // where the model answered
  std::string input;           // where it stands, or what it is
  std::string target;          // what is explained, for people: "probability of class bad"
  std::string answer;          // a continuation, a class, an item
  std::string unit;            // "probability", "log-odds", "nats", "score", or the target column
  std::string mask_policy;     // what hidden parts are replaced with
  Attribution attribution;
  std::vector<ExplainedPart> parts;  // in the order of the input
  ExplainedPicture picture;
  ReasonReport reasons;
  Counterfactual counterfactual;
  std::optional<Interactions> interactions;      // of the players, where asked for
  size_t interactions_shown = 0;                 // of its pairs, the strongest
  std::optional<metrics::Interval> novelty;      // of masked inputs, where columns are hidden
  std::optional<std::vector<double>> attention;  // (players): attention rollout, where asked for
  InfluenceReport influence;
  Audit audit;
  double seconds = 0;
  uint64_t rows_answered = 0;  // by the model, for all coalitions

  double phi(const ExplainedPart& part) const {
    return part.player < 0 ? 0 : attribution.phi[static_cast<size_t>(part.player)];
  }
  /// The players' parts by falling |phi|; of a player with several the first.
  std::vector<const ExplainedPart*> ranked() const;
};

/// {"method", "base", "value", "attributions": [{"name", "value", "phi", "standard_error", …}],
/// "completeness_error", "evaluations", "seed", …}, attributions by falling |phi|.
nlohmann::ordered_json to_json(const Explanation& explanation);

/// Asks the game for interactions of its players, of which `shown` are shown; 0: nothing.
void add_interactions(Game& game, const EstimateOptions& options, size_t shown,
                      Explanation& explanation);

/// What the training rows that are told come from, in one sentence.
std::string influence_line(const InfluenceReport& influence);

/// What attention rollout says, strongest part first, with the warning that it needs.
std::string attention_line(const Explanation& explanation);

/// The strongest interactions of two parts, as they are shown.
struct ShownInteraction {
  std::string a, b;  // labels
  double value = 0, standard_error = 0, margin = 0;
};
std::vector<ShownInteraction> shown_interactions(const Explanation& explanation);

/// What holds and how sure it is, in one sentence each.
std::vector<std::string> sentences(const Explanation& explanation);

/// One line a principal reason, then one a column passed over.
std::vector<std::string> reason_lines(const ReasonReport& report);
/// The change in words, or that none was found.
std::string counterfactual_line(const Counterfactual& counterfactual);

/// What the checks found, in one sentence each.
std::vector<std::string> audit_lines(const Audit& audit);

/// Bars for the terminal, the `most` strongest parts.
std::string terminal_text(const Explanation& explanation, size_t most = 20);

}  // namespace quern::explain
