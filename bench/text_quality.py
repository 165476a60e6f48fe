"""How well Quern learns text: bits per byte on a held-out part, against an n-gram and against known figures.

    python3 bench/text_quality.py DATA [--quern build/release/quern] [--only nanogpt|3m|10m|tang]

DATA holds tiny_shakespeare.txt.gz, song_ci_zh.txt.gz, tang_poems_zh.txt.gz. Each run is one `quern train`; the line
printed gives its validation figure beside the one wanted.

  nanogpt  nanoGPT's CPU configuration on tiny Shakespeare: characters, 4 layers of 4 heads and width 128, context 64,
           batch 12, 2,000 steps, first nine tenths for training. nanoGPT prints 1.88 nats a character.
  3m, 10m  tiny Shakespeare with nothing but --time.
  tang     Tang poems, ten minutes, nothing but --time.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

NANOGPT = {
    "tokenizer.kind": "char", "model.preset": "gpt2", "model.layers": 4, "model.heads": 4, "model.kv_heads": 4,
    "model.width": 128, "model.ffn_width": 512, "model.context": 64, "model.bias": "false", "model.ngram_orders": 0,
    "train.batch": 12, "train.steps": 2000, "train.optimizer": "adamw", "train.learning_rate": 1e-3,
    "train.min_learning_rate": 1e-4, "train.warmup_steps": 100, "train.beta2": 0.99, "regularise.dropout": 0,
    "regularise.attention_dropout": 0, "regularise.weight_decay": 0.1, "data.validation": 0.1, "data.documents": "file",
}


def train(quern, data, out, arguments=(), settings=None):
    command = [quern, "train", str(data), "--out", str(out), "--json", "--quiet", *arguments]
    for key, value in (settings or {}).items():
        command += ["--set", f"{key}={value}"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--only", choices=["nanogpt", "3m", "10m", "tang"])
    arguments = parser.parse_args()
    shakespeare = arguments.data / "tiny_shakespeare.txt.gz"
    runs = {
        "nanogpt": (shakespeare, (), NANOGPT, "loss", 1.90),
        "3m": (shakespeare, ("--time", "3m"), None, "bits_per_byte", 2.60),
        "10m": (shakespeare, ("--time", "10m"), None, "bits_per_byte", 2.40),
        "tang": (arguments.data / "tang_poems_zh.txt.gz", ("--time", "10m"), None, "bits_per_byte", None),
    }
    for name, (data, flags, settings, metric, wanted) in runs.items():
        if arguments.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = train(arguments.quern, data, pathlib.Path(folder) / "run", flags, settings)
        value = result["validation"][metric]
        baseline = result["baseline"]["bits_per_byte"]
        line = f"{name:8} validation {metric} {value:.4f}"
        if wanted:
            line += f" (wanted ≤ {wanted}: ratio {value / wanted:.3f})"
        line += f"   n-gram {baseline:.4f} bits per byte   {result['steps']} steps, {result['seconds']:.0f} s, "
        print(line + f"{result['parameters']:,} parameters, {result['tokens_per_second']:.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
