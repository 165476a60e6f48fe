"""Training step of the gpt2 preset: Quern against PyTorch on the same CPU and threads, in one run.

    python bench/train_step.py [--quern build/release/quern] [--threads 2] [--steps 20] [--only NAME]

Needs torch. PyTorch runs eager and compiled, each with its fused attention and its fused AdamW; the better of the two
is the peer. Both sides do the same work: forward, backward, gradient clipping, AdamW with decay groups, dropout off,
random tokens. Times alternate (Quern, PyTorch, Quern), so that a machine whose speed drifts favours nobody. Prints one
line a configuration: milliseconds a step, the ratio, and Quern's share of the machine's measured FMA peak.
"""

import argparse
import json
import math
import statistics
import subprocess
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIGURATIONS = {
    # name: (width, layers, heads, context, batch, vocabulary, wanted ratio, wanted share of the peak)
    "128x4": (128, 4, 4, 64, 12, 65, 1.5, 0.35),
    "256x4": (256, 4, 4, 256, 8, 1024, 1.5, 0.50),
    "384x6": (384, 6, 6, 256, 8, 65, 1.5, 0.65),
    "768x12": (768, 12, 12, 256, 2, 50257, 1.2, 0.65),
}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, width, layers, heads, context, vocabulary):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def torch_step(name, compiled):
    width, layers, heads, context, batch, vocabulary, _, _ = CONFIGURATIONS[name]
    torch.manual_seed(1)
    model = Model(width, layers, heads, context, vocabulary)
    groups = [dict(params=[p for p in model.parameters() if p.dim() > 1], weight_decay=0.1),
              dict(params=[p for p in model.parameters() if p.dim() < 2], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
    forward = torch.compile(model) if compiled else model

    def step():
        ids = torch.randint(0, vocabulary, (batch, context))
        targets = torch.randint(0, vocabulary, (batch, context))
        loss = forward(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def time_torch(step, steps):
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def run_quern(binary, name, threads, steps):
    width, layers, heads, context, batch, vocabulary, _, _ = CONFIGURATIONS[name]
    settings = dict(width=width, layers=layers, heads=heads, kv_heads=heads, ffn_width=4 * width, context=context)
    command = [binary, "bench", "train", "--json", "--preset", "gpt2", "--steps", str(steps), "--threads", str(threads)]
    for key, value in settings.items():
        command += ["--set", f"model.{key}={value}"]
    command += ["--set", f"train.batch={batch}", "--set", f"tokenizer.vocabulary={vocabulary}",
                "--set", "train.optimizer=adamw", "--set", "regularise.dropout=0"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=CONFIGURATIONS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads")
    for name in [arguments.only] if arguments.only else CONFIGURATIONS:
        ratio_wanted, share_wanted = CONFIGURATIONS[name][-2:]
        steps = max(5, arguments.steps // 4) if name == "768x12" else arguments.steps
        quern, peers = [], {"eager": [], "compiled": []}
        steppers = {kind: torch_step(name, kind == "compiled") for kind in peers}
        for step in steppers.values():
            time_torch(step, 3)  # compilation and warm-up
        for _ in range(3):
            quern.append(run_quern(arguments.quern, name, arguments.threads, steps))
            for kind, step in steppers.items():
                peers[kind] += time_torch(step, steps)
        ours = statistics.median(run["step_ms"]["median"] for run in quern)
        theirs = {kind: 1000 * statistics.median(times) for kind, times in peers.items()}
        best = min(theirs, key=theirs.get)
        share = statistics.median(run["share_of_peak"] for run in quern)
        print(f"{name:8} quern {ours:8.2f} ms   eager {theirs['eager']:8.2f}   compiled {theirs['compiled']:8.2f}   "
              f"ratio to {best} {theirs[best] / ours:5.2f} (wanted {ratio_wanted})   "
              f"share of peak {share:5.1%} (wanted {share_wanted:.0%})   "
              f"peak {quern[0].get('peak_gflops', math.nan):.0f} GFLOP/s", flush=True)


main()
