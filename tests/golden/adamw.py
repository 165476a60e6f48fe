"""Writes quern/kernels/cpu/adamw_golden.h: steps of torch.optim.AdamW on a few numbers.

    python tests/golden/adamw.py > quern/kernels/cpu/adamw_golden.h
"""

import torch

STEPS, LR, DECAY = 5, 0.02, 0.1

torch.manual_seed(7)
start = torch.randn(7)
gradients = torch.randn(STEPS, 7) * torch.tensor([1, 1e-3, 10, 1, 1e-6, 0, 1])
parameter = torch.nn.Parameter(start.clone())
optimizer = torch.optim.AdamW([parameter], lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY)
after = []
for gradient in gradients:
    parameter.grad = gradient.clone()
    optimizer.step()
    after.append(parameter.detach().clone())


def row(values):
    return "{" + ", ".join(f"{value:.9g}" + ("F" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else ".0F")
                           for value in values.tolist()) + "}"


state = optimizer.state[parameter]
print("#pragma once\n")
print(f"// Written by tests/golden/adamw.py with torch {torch.__version__.split('+')[0]}.")
print("// clang-format off")
print("namespace quern::kernels::cpu::golden {\n")
print(f"inline constexpr int kSteps = {STEPS}, kCount = 7;")
print(f"inline constexpr float kLearningRate = {LR}F, kWeightDecay = {DECAY}F;")
print(f"inline constexpr float kStart[kCount] = {row(start)};")
print("inline constexpr float kGradients[kSteps][kCount] = {")
print(",\n".join("    " + row(gradient) for gradient in gradients) + "};")
print("inline constexpr float kAfter[kSteps][kCount] = {")
print(",\n".join("    " + row(values) for values in after) + "};")
print(f"inline constexpr float kFirstMoment[kCount] = {row(state['exp_avg'])};")
print(f"inline constexpr float kSecondMoment[kCount] = {row(state['exp_avg_sq'])};")
print("\n}  // namespace quern::kernels::cpu::golden")
