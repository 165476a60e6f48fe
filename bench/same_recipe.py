"""The same model, recipe and wall time in Quern and in PyTorch: whose bits per byte are lower?

    python bench/same_recipe.py DATA/song_ci_zh.txt.gz [--time 600] [--together] [--quern build/release/quern]

Needs torch and tokenizers. Quern trains first, with its defaults, on nine tenths of the poems; PyTorch then builds the
model that Quern chose (read from the run folder), with its tokenizer, batch, context, optimizer, schedule and
regularisation, trains it for the same time on the same machine and threads, and both are scored on the last tenth, window
by window. PyTorch runs its fused attention and compiles the model, whose compilation time is not counted. With --together both
train at once, each pinned to its own half of the cores: on a machine that others use, both then meet the same load.
"""

import argparse
import gzip
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import tomllib

import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer


def ngram_ids(ids, orders, buckets):
    """Hashed n-grams in the manner of Quern's (another hash, of the same quality)."""
    out, key = [], ids + 1
    for order in range(orders):
        shifted = F.pad(ids, (order + 1, 0), value=-1)[:, : ids.shape[1]]
        key = (key * 1000003 + shifted + 7919) % 2147483647
        out.append(torch.where(shifted >= 0, key % buckets, buckets))
    return torch.stack(out, -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, width, inner = c["heads"], c["width"], c["ffn_width"]
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)
        self.drop = nn.Dropout(c["dropout"])
        for module in (self.qkv, self.up):
            nn.init.normal_(module.weight, std=0.02)
        for module in (self.out, self.down):
            nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * c["layers"]))

    def forward(self, x, cos, sin):
        batch, length, width = x.shape
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2)
                   for p in self.qkv(self.norm1(x)).split(width, dim=2))

        def rope(y):
            a, b = y.chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        mixed = F.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True)
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        gate, value = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.drop(self.down(F.silu(gate) * value))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(c["vocabulary"], c["width"])
        nn.init.normal_(self.embed.weight, std=0.02)
        if c["ngram_orders"]:
            self.ngram = nn.Embedding(c["ngram_buckets"] + 1, c["width"])
            nn.init.zeros_(self.ngram.weight)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm, self.drop = nn.RMSNorm(c["width"]), nn.Dropout(c["dropout"])
        head = c["width"] // c["heads"]
        angles = torch.arange(c["context"])[:, None] * 10000.0 ** (-torch.arange(0, head, 2) / head)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        x = self.embed(ids)
        if self.c["ngram_orders"]:
            x = x + self.ngram(ngram_ids(ids, self.c["ngram_orders"], self.c["ngram_buckets"])).sum(2)
        x = self.drop(x)
        for block in self.blocks:
            x = block(x, self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])
        logits = self.norm(x) @ self.embed.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")


def newton_schulz(gradient):
    x = gradient / (gradient.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        s = x @ x.T
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return x.T if tall else x


def train_torch(options, c, train_ids, seconds):
    torch.manual_seed(1)
    model = Model(c)
    matrices = [p for n, p in model.named_parameters() if n.startswith("blocks") and p.dim() == 2]
    muon = options["train"]["optimizer"] == "muon"
    own = {id(p) for p in matrices} if muon else set()
    rest = [p for p in model.parameters() if id(p) not in own]
    decay, rate = options["regularise"]["weight_decay"], options["train"]["learning_rate"]
    lowest = options["train"]["min_learning_rate"]
    adamw = torch.optim.AdamW(
        [dict(params=[p for p in rest if p.dim() > 1], weight_decay=decay),
         dict(params=[p for p in rest if p.dim() < 2], weight_decay=0.0)],
        lr=rate, betas=(options["train"]["beta1"], options["train"]["beta2"]), fused=True)
    momenta = [torch.zeros_like(p) for p in matrices]
    compiled = torch.compile(model)
    batch, length = options["train"]["batch"], c["context"]
    generator = torch.Generator().manual_seed(3)

    def step(learning_rate):
        starts = torch.randint(0, len(train_ids) - length - 1, (batch,), generator=generator)
        x = torch.stack([train_ids[i : i + length] for i in starts])
        y = torch.stack([train_ids[i + 1 : i + length + 1] for i in starts])
        compiled(x, y).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options["train"]["clip"])
        for group in adamw.param_groups:
            group["lr"] = learning_rate
        adamw.step()
        if muon:
            with torch.no_grad():
                for p, m in zip(matrices, momenta):
                    m.lerp_(p.grad, 0.05)
                    update = newton_schulz(p.grad.lerp(m, 0.95))
                    p.mul_(1 - learning_rate * decay).add_(update, alpha=-learning_rate * 0.2 * math.sqrt(max(p.shape)))
        model.zero_grad(set_to_none=True)

    for _ in range(3):
        step(0.0)
    for m in momenta:
        m.zero_()
    adamw.state.clear()
    warmup = options["train"]["warmup_steps"]  # "auto": a twentieth of the steps, 200 at most
    start, steps = time.monotonic(), 0
    while (passed := time.monotonic() - start) < seconds:
        share = passed / seconds
        shape = 0.5 * (1 + math.cos(math.pi * share)) if options["train"]["schedule"] == "cosine" else 1 - share
        warm = (steps + 1) / warmup if isinstance(warmup, int) and warmup > 0 else max(share / 0.05, (steps + 1) / 200)
        step(min(1, warm) * (lowest + (rate - lowest) * shape))
        steps += 1
    return model, steps


@torch.no_grad()
def bits_per_byte(model, ids, length, size):
    model.eval()
    total = 0.0
    for begin in range(0, len(ids) - 1, length):
        window = ids[begin : begin + length + 1]
        total += float(model(window[None, :-1], window[None, 1:]).double().sum())
    return total / math.log(2) / size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("poems", type=pathlib.Path)
    parser.add_argument("--time", type=float, default=600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--together", action="store_true")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    half = len(cores) // 2 if arguments.together else len(cores)
    ours, theirs = (cores[:half], cores[half:]) if arguments.together else (cores, cores)
    torch.set_num_threads(len(theirs))
    poems = gzip.open(arguments.poems, "rt", encoding="utf-8").read().strip("\n").split("\n\n")
    cut = len(poems) * 9 // 10
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "train.txt").write_text("\n\n".join(poems[:cut]) + "\n", encoding="utf-8")
        (folder / "valid.txt").write_text("\n\n".join(poems[cut:]) + "\n", encoding="utf-8")
        out = folder / "run"
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, ours)), arguments.quern, "train", str(folder / "train.txt"), "--out", str(out),
             "--json", "--quiet", "--time", f"{arguments.time:.0f}s", "--threads", str(len(ours)),
             "--set", f"data.validation={folder / 'valid.txt'}"], stdout=subprocess.PIPE, text=True)
        needed = [out / "config.resolved.toml", out / "tokenizer.json"]
        while process.poll() is None and not (arguments.together and all(path.exists() for path in needed)):
            time.sleep(0.2)
        options = tomllib.loads(needed[0].read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(needed[1]))
        os.sched_setaffinity(0, theirs)
        end = tokenizer.token_to_id("<|endoftext|>")
        encode = lambda parts: torch.tensor([i for poem in parts for i in tokenizer.encode(poem).ids + [end]])
        train_ids, valid_ids = encode(poems[:cut]), encode(poems[cut:])
        c = {**options["model"], **options["regularise"], "vocabulary": tokenizer.get_vocab_size()}
        if (c["position"], c["norm"], c["norm_place"], c["activation"], c["bias"]) != ("rope", "rms", "pre", "swiglu", False):
            sys.exit("this benchmark writes out the llama preset; the run chose another model")
        model, steps = train_torch(options, c, train_ids, arguments.time)
        theirs = bits_per_byte(model, valid_ids, c["context"], sum(len(p.encode()) for p in poems[cut:]))
        print(f"PyTorch  {theirs:.4f} bits per byte, {steps} steps", flush=True)
        result = json.loads(process.communicate()[0])
    ours = result["validation"]["bits_per_byte"]
    print(f"quern    {ours:.4f} bits per byte, {result['steps']} steps")
    print(f"quern / PyTorch {ours / theirs:.4f} (wanted below 1); steps {result['steps'] / steps:.2f} to 1")


main()
