#include "quern/cli/explain.h"
#include "quern/explain/prompt_explainer.h"

namespace quern::cli {

int explain_text(Invocation& invocation, const ExplainFlags& flags) {
  explain::PromptQuestion question;
  question.prompt = flags.input == "-" ? read_input(invocation, "-") : flags.input;
  question.target = flags.target;
  question.max_tokens = flags.max_tokens;
  question.probability = flags.scale == "probability";
  question.estimate = estimate_options(invocation, flags);
  question.audit = flags.audit;
  question.attention = flags.attention;
  question.interactions = static_cast<size_t>(flags.interactions);
  run::Run run = run::load_run(flags.run);
  run.parameters.use(invocation.gpu.get());
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  give_explanation(invocation, flags, explain::explain_prompt(run, pool, question));
  return 0;
}

}  // namespace quern::cli
