"""On a GPU, all in one run: builds, checks every op, times ops and whole steps, prints one table.

    python bench/cuda.py [--precision bf16] [--only build,ops,sanitizer,op-times,step,step-xl,decode] [--build DIR] [--json OUT.json]

    build      cmake with QUERN_CUDA=on: the kernels for this GPU's architecture among them
    ops        every op's CUDA kernels on the GPU against its float64 reference (float32 1e-5; bf16 and tf32 products 1e-2)
    sanitizer  the same under compute-sanitizer, where it is found
    op-times   every op at GPT-2 124M's shapes as a share of the peaks that the program measures first
    step       a training step of GPT-2 124M, 64 x 1,024 tokens, and the same in PyTorch compiled (bf16 autocast, its
               fused attention and AdamW) where torch with CUDA is installed; times alternate
    step-xl    a training step of GPT-2 1.5B with the largest batch that fits
    decode     tokens of one sequence, Llama's shape of about 1B parameters, against the memory's bandwidth; then the same
               with weights of 8 and 4 bits, whose bytes are those that are counted

Each line says what was run, the figure, what is wanted, and whether it holds; a stage that cannot run says why. Without a
GPU the first stage runs, the second with the kernels' sources run by the processor, and the rest say that they skipped.
Exits with 1 where a check fails or a figure is missed.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAGES = ["build", "ops", "sanitizer", "op-times", "step", "step-xl", "decode"]

GPT2 = ["--preset", "gpt2", "--set", "model.layers=12", "--set", "model.heads=12", "--set", "model.kv_heads=12",
        "--set", "model.width=768", "--set", "model.ffn_width=3072", "--set", "model.context=1024",
        "--set", "tokenizer.vocabulary=50304", "--set", "train.batch=64", "--set", "train.optimizer=adamw",
        "--set", "regularise.dropout=0"]  # 50,257 tokens, padded to a multiple of 64 as in the peer
GPT2_XL = ["--preset", "gpt2", "--set", "model.layers=48", "--set", "model.heads=25", "--set", "model.kv_heads=25",
           "--set", "model.width=1600", "--set", "model.ffn_width=6400", "--set", "model.context=1024",
           "--set", "tokenizer.vocabulary=50304", "--set", "train.optimizer=adamw", "--set", "regularise.dropout=0"]
LLAMA_1B = ["--preset", "llama", "--set", "model.layers=16", "--set", "model.heads=32", "--set", "model.kv_heads=8",
            "--set", "model.width=2048", "--set", "model.ffn_width=8192", "--set", "model.context=2048",
            "--set", "tokenizer.vocabulary=128256"]


class Skipped(Exception):
    """Why a stage could not run."""


def run(command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)


def gpu_name():
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    result = run([tool, "--query-gpu=name", "--format=csv,noheader"])
    return result.stdout.strip().splitlines()[0] if result.returncode == 0 and result.stdout.strip() else None


class Bench:
    def __init__(self, precision, folder):
        self.precision = precision
        self.folder = folder
        self.gpu = gpu_name()
        self.rows = []
        self.bandwidth = None  # GB/s of a copy, once op-times has measured it

    def line(self, what, figure, wanted="", holds=None):
        mark = {True: "holds", False: "MISSED", None: ""}[holds]
        self.rows.append({"what": what, "figure": figure, "wanted": wanted, "holds": holds})
        print(f"{what:<52} {figure:<34} {wanted:<26} {mark}", flush=True)

    def need_gpu(self):
        if self.gpu is None:
            raise Skipped("nvidia-smi sees no GPU")

    def build(self):
        begin = time.monotonic()
        configure = ["cmake", "-S", ROOT, "-B", self.folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                     "-DQUERN_CUDA=on", "-DQUERN_BUILD_BENCHMARKS=ON"]
        for command in (configure, ["cmake", "--build", self.folder, "--target", "quern", "quern_graph_test",
                                    "quern_kernels_test", "op_table_bench"]):
            result = run(command)
            if result.returncode != 0:
                print((result.stdout + result.stderr)[-4000:], file=sys.stderr)
                self.line("build", "fails", "builds", False)
                return
        image = (self.folder / "quern_kernels.fatbin").stat().st_size
        self.line("build", f"{time.monotonic() - begin:.0f} s, kernels {image / 1e6:.1f} MB", "builds", True)

    def test(self, prefix, what, environment, suite="CudaOpTable", room="graph"):
        program = self.folder / f"rooms/{room}/quern_{room}_test"
        if not program.exists():
            raise Skipped(f"the build stage has not made quern_{room}_test")
        result = run([*prefix, program, f"--gtest_filter=*{suite}*", "--gtest_brief=1"],
                     env={**os.environ, **environment}, cwd=ROOT)
        passed = [text for text in result.stdout.splitlines() if "PASSED" in text]
        figure = passed[-1].strip() if passed else f"exit {result.returncode}"
        if result.returncode != 0:
            print((result.stdout + result.stderr)[-4000:], file=sys.stderr)
        self.line(what, figure, "all pass", result.returncode == 0)

    def ops(self):
        if self.gpu is None:
            self.test([], "ops, kernels run by the processor", {})
            self.test([], "activations in bf16, run by the processor", {}, "CudaBFloat16")
            self.test([], "own products, run by the processor", {}, "CudaOwnProducts")
            return
        for precision, limit in (("float32", "1e-5"), ("tf32", "1e-2"), ("bf16", "1e-2")):
            self.test([], f"ops on the GPU, {precision}, within {limit}", {"QUERN_TEST_GPU": precision})
        self.test([], "ops on the GPU, activations in bf16, within 1e-2", {"QUERN_TEST_GPU": "bf16"}, "CudaBFloat16")
        self.test([], "own products on the GPU, without cuBLASLt", {"QUERN_TEST_GPU": "float32", "QUERN_CUDA_BLAS": "0"},
                  "CudaOwnProducts")
        self.test([], "attention by cuDNN on the GPU against own", {"QUERN_TEST_GPU": "bf16"}, "CudnnShapes", "kernels")

    def sanitizer(self):
        self.need_gpu()
        tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not pathlib.Path(tool).exists():
            raise Skipped("compute-sanitizer is not found")
        for check in ("memcheck", "racecheck", "initcheck", "synccheck"):
            for suite, precision in (("CudaOpTable", "float32"), ("CudaBFloat16", "bf16")):
                self.test([tool, "--tool", check, "--error-exitcode", "9"],
                          f"ops under compute-sanitizer, {check}, {precision}", {"QUERN_TEST_GPU": precision}, suite)

    def op_times(self):
        self.need_gpu()
        result = run([self.folder / "bench/op_table_bench", "--benchmark_format=json"],
                     env={**os.environ, "QUERN_BENCH_GPU": self.precision})
        if result.returncode != 0:
            raise Skipped(result.stderr.strip().splitlines()[-1] if result.stderr.strip() else "op_table_bench fails")
        peaks = result.stderr.strip().splitlines()[-1]
        self.bandwidth = float(peaks.split(",")[-1].split()[0])
        self.line("peaks", peaks)
        for entry in json.loads(result.stdout)["benchmarks"]:
            for counter in ("of_fma_peak", "of_read_peak"):
                if counter in entry:
                    peak = "of the products' peak" if counter == "of_fma_peak" else "of the memory's peak"
                    self.line(entry["name"].removesuffix("/min_time:0.100/real_time"),
                              f"{entry['real_time'] / 1e3:.3f} ms, {100 * entry[counter]:.0f} % {peak}")

    def quern(self, *arguments):
        result = run([self.folder / "quern", *arguments, "--device", "cuda", "--json", "--set",
                      f"precision={self.precision}"])
        if result.returncode != 0:
            raise Skipped(json.loads(result.stdout)["error"]["message"] if result.stdout else result.stderr[-300:])
        return json.loads(result.stdout)

    def step(self):
        self.need_gpu()
        ours, theirs, why = [], [], ""
        for _ in range(2):
            ours.append(self.quern("bench", "train", *GPT2, "--steps", "30"))
            peer = run([sys.executable, "-c", PEER])
            if peer.returncode == 0:
                theirs.append(json.loads(peer.stdout.strip().splitlines()[-1]))
            else:
                why = peer.stderr.strip().splitlines()[-1] if peer.stderr.strip() else "it fails"
        best = min(ours, key=lambda one: one["step_ms"]["median"])
        milliseconds = best["step_ms"]["median"]
        # 6 N + 6 L C T (causal attention), N the parameters that multiply.
        flops = 6 * 124_318_464 + 6 * 12 * 768 * 1024
        share = flops * 65536 / (milliseconds * 1e-3) / 790e12
        self.line(f"GPT-2 124M step, 64 x 1,024, {self.precision}",
                  f"{milliseconds:.1f} ms, {best['tokens_per_second'] / 1e3:.0f} k tokens/s",
                  "<= 102 ms on an H200", milliseconds <= 102)
        self.line("  its share of 790 TFLOP/s (6N + 6LCT)", f"{100 * share:.0f} %", ">= 52 % on an H200", share >= 0.52)
        if not theirs:
            raise Skipped(f"PyTorch: {why}")
        peer = min(theirs)
        self.line("  PyTorch compiled, bf16", f"{peer:.1f} ms, ratio {peer / milliseconds:.2f}", ">= 1.15",
                  peer / milliseconds >= 1.15)

    def step_xl(self):
        self.need_gpu()
        for batch in (64, 48, 32, 24, 16, 12, 8, 4, 2, 1):
            try:
                got = self.quern("bench", "train", *GPT2_XL, "--set", f"train.batch={batch}", "--steps", "10")
            except Skipped as too_large:
                if batch == 1 or "needs" not in str(too_large):
                    raise
                continue
            milliseconds = got["step_ms"]["median"]
            # 6 N + 6 L C T, N the parameters that multiply: 12 L C² + V C.
            flops = 6 * (12 * 48 * 1600**2 + 50304 * 1600) + 6 * 48 * 1600 * 1024
            share = flops * batch * 1024 / (milliseconds * 1e-3) / 790e12
            self.line(f"GPT-2 1.5B step, {batch} x 1,024, {self.precision}",
                      f"{milliseconds:.1f} ms, {100 * share:.0f} % of 790 TFLOP/s", ">= 55 % on an H200", share >= 0.55)
            return

    def decode(self):
        self.need_gpu()
        plain = None
        for kind in (None, "q8_0", "q4_0"):
            got = self.quern("bench", "decode", *LLAMA_1B, *(["--quantize", kind] if kind else []))
            rate = got["bytes_per_token"] / got["token_ms"]["median"] / 1e6
            share = rate / self.bandwidth if self.bandwidth else None
            figure = f"{got['tokens_per_second']:.0f} tokens/s, {rate:.0f} GB/s"
            if share is not None:
                figure += f", {100 * share:.0f} %"
            if kind is None:
                plain = got["tokens_per_second"]
                self.line("decode, Llama 1B shape, batch 1", figure, ">= 70 % of the bandwidth",
                          None if share is None else share >= 0.7)
            else:
                ratio = got["tokens_per_second"] / plain
                self.line(f"  weights in {kind}", f"{figure}, x {ratio:.2f}", "faster than without", ratio > 1)


PEER = """
import json, pathlib, statistics, time
import torch, torch.nn as nn, torch.nn.functional as F
assert torch.cuda.is_available(), "torch sees no CUDA"
torch.manual_seed(1)
torch.set_float32_matmul_precision("high")
W, L, H, T, B, V = 768, 12, 12, 1024, 64, 50304
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(W), nn.LayerNorm(W)
        self.qkv, self.out = nn.Linear(W, 3 * W), nn.Linear(W, W)
        self.up, self.down = nn.Linear(W, 4 * W), nn.Linear(4 * W, W)
    def forward(self, x):
        q, k, v = (p.view(B, T, H, -1).transpose(1, 2) for p in self.qkv(self.n1(x)).split(W, dim=2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(B, T, W))
        return x + self.down(F.gelu(self.up(self.n2(x)), approximate="tanh"))
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, W), nn.Embedding(T, W)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(L)), nn.LayerNorm(W)
        self.head = nn.Linear(W, V, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)
    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())
model = Model().cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
forward = torch.compile(model)
ids, targets = (torch.randint(0, 50257, (B, T), device="cuda") for _ in range(2))
times = []
for step in range(40):
    torch.cuda.synchronize()
    begin = time.perf_counter()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = forward(ids, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    if step >= 10:
        times.append((time.perf_counter() - begin) * 1e3)
print(json.dumps(statistics.median(times)))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16"], default="bf16")
    parser.add_argument("--only", default=",".join(STAGES), help="stages, separated by commas")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "cuda", help="the folder to build in")
    parser.add_argument("--json", type=pathlib.Path, help="also write the table there")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    unknown = set(chosen) - set(STAGES)
    if unknown:
        parser.error(f"no stage is called {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    bench = Bench(arguments.precision, arguments.build.resolve())
    print(f"GPU: {bench.gpu or 'none'}\n")
    for stage in STAGES:
        if stage not in chosen:
            continue
        try:
            getattr(bench, stage.replace("-", "_"))()
        except Skipped as reason:
            bench.line(stage, "skipped", str(reason))
    if arguments.json:
        arguments.json.write_text(json.dumps({"gpu": bench.gpu, "precision": arguments.precision, "rows": bench.rows},
                                             indent=1) + "\n", encoding="utf-8")
    return 1 if any(row["holds"] is False for row in bench.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
