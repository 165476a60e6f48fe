#pragma once

// What a language model's loss may be, from published fits; nats a token on their authors' text.
namespace quern::sizing {

/// L(N, D) = E + A / N^α + B / D^β, with N parameters and D training tokens.
struct ScalingLaw {
  double e, a, b, alpha, beta;
};

/// Besiroglu et al. 2024 ("Chinchilla Scaling: A replication attempt"), which corrects the rounded
/// constants of Hoffmann et al. 2022.
inline constexpr ScalingLaw kBesiroglu = {1.8172, 482.01, 2085.43, 0.3478, 0.3658};
/// Muennighoff et al. 2023 ("Scaling Data-Constrained Language Models"), whose own constants go
/// with its rule for repeated tokens.
inline constexpr ScalingLaw kMuennighoff = {1.8691, 520.8, 1487.7, 0.35266, 0.35266};

double loss(const ScalingLaw& law, double parameters, double tokens);

/// Training on `tokens` of which only `unique` differ: repeats are worth less, and so are
/// parameters beyond what the unique tokens call for (Muennighoff et al. 2023, equations 5 and 6).
double repeated_loss(double parameters, double tokens, double unique);

/// Parameters and tokens of the least loss for 6·N·D floating-point operations.
struct Allocation {
  double parameters, tokens;
};
Allocation best_allocation(const ScalingLaw& law, double flops);

/// The model that reaches `target` with the least training and use together, 6·N·D + 2·N·served
/// (Sardana et al. 2024, "Beyond Chinchilla-Optimal"). The target must be above the law's E; Throws
/// UsageError otherwise.
Allocation best_allocation_for_use(const ScalingLaw& law, double target, double served);

}  // namespace quern::sizing
