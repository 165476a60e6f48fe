"""Writes quern/kernels/quantized_golden.h: blocks of weights as the PyPI package gguf rounds them.

    python tests/golden/quantized.py > quern/kernels/quantized_golden.h
"""

import importlib.metadata

import numpy
from gguf import GGMLQuantizationType, quants

random = numpy.random.default_rng(11)
weights = random.standard_normal((6, 32), dtype=numpy.float32)
weights[1] *= 0.02
weights[2] = 0
weights[3] *= numpy.float32(1e-6)  # scales below the least normal half
weights[4] = numpy.round(weights[4] * 16) / 16  # ties
weights[5, 7] = 40  # one weight far from the rest


def rows(values, text):
    lines = []
    for row in values:
        parts = [text(value) for value in row]
        lines += ["    " + ", ".join(parts[i:i + 8]) for i in range(0, len(parts), 8)]
    return "{\n" + ",\n".join(lines) + "}"


def number(value):
    text = f"{value:.9g}"
    return text + ("F" if "." in text or "e" in text else ".0F")


print("#pragma once\n")
print("#include <cstdint>\n")
print(f"// Written by tests/golden/quantized.py with gguf {importlib.metadata.version('gguf')}.")
print("// clang-format off")
print("namespace quern::kernels::golden {\n")
print(f"inline constexpr int kBlocks = {len(weights)};")
print(f"inline constexpr float kWeights[kBlocks * 32] = {rows(weights, number)};\n")
for name, kind in (("Q8_0", GGMLQuantizationType.Q8_0), ("Q4_0", GGMLQuantizationType.Q4_0)):
    blocks = quants.quantize(weights, kind)
    print("/// Of each block the scale's two bytes, then the integers.")
    print(f"inline constexpr uint8_t k{name}[kBlocks * {blocks.shape[1]}] = {rows(blocks, str)};")
    back = quants.dequantize(blocks, kind)
    print(f"inline constexpr float k{name}Weights[kBlocks * 32] = {rows(back, number)};\n")
print("}  // namespace quern::kernels::golden")
