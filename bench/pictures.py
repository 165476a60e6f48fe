"""Pictures: training speed against PyTorch on the same model, Fashion-MNIST's official test, flowers by 5-fold.

    python bench/pictures.py speed FASHION [--steps 100] [--threads 1]
    python bench/pictures.py fashion FASHION [--time 19m] [--steps N] [--seeds 3] [--threads 2]
    python bench/pictures.py flowers FOLDER [--time 4m] [--steps N] [--seeds 3] [--threads 2]

FASHION is the folder of Fashion-MNIST's four IDX files (Debian's dataset-fashion-mnist has them), FOLDER one of pictures by
class. `speed` trains Quern's default model for so many steps, then the model that it wrote (config.json) in PyTorch, on the
same threads, and prints pictures a second of both, their ratio, and the share of the machine's multiply-add peak.
`fashion` trains with the defaults on the 60,000 and scores the 10,000. `flowers` trains on four fifths of each class and
scores the rest, fold by fold, beside scikit-learn's logistic regression on the same pictures, shrunk to 14 × 14 as Quern's own
baseline has them and to 32 × 32. --set KEY=VALUE goes to quern train. Needs torch (speed), Pillow and scikit-learn (flowers).
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
from common import seeds


def quern(options, *words):
    done = subprocess.run([options.quern, *map(str, words), "--quiet", "--json", "--threads", str(options.threads)],
                          check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def limits(options):
    limit = ["--steps", options.steps] if options.steps else ["--time", options.time]
    return limit + [word for key in options.set for word in ("--set", key)]


def torch_model(config):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    trunk, image = config["quern"], config["encoder"]["image"]
    width, heads = trunk["width"], trunk["heads"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, trunk["ffn_width"]), nn.Linear(trunk["ffn_width"], width)

        def forward(self, x):
            batch, length, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=trunk["attention_dropout"])
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            channels = [image["channels"]] + [max(width >> (image["stem"] - 1 - r), 8) for r in range(image["stem"])]
            self.stem = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in zip(channels, channels[1:]))
            side = image["height"]
            for _ in range(image["stem"]):
                side = (side - 1) // 2 + 1
            self.position = nn.Parameter(torch.zeros(side * side, width))
            self.blocks = nn.ModuleList(Block() for _ in range(trunk["layers"]))
            self.norm, self.pool = nn.LayerNorm(width), nn.Linear(width, 1)
            self.head = nn.Linear(width, config["encoder"]["outputs"])

        def forward(self, x):
            for convolution in self.stem:
                x = F.max_pool2d(F.relu(convolution(x)), 3, 2, 1)
            x = x.flatten(2).transpose(1, 2) + self.position
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)
            return self.head((self.pool(x).softmax(1) * x).sum(1))

    return Model().to(memory_format=torch.channels_last), image


def torch_rate(config, batch, steps, threads):
    """Pictures a second of PyTorch's training step: the median over `steps` of them."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    model, image = torch_model(config)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.06, fused=True)
    x = torch.randn(batch, image["channels"], image["height"], image["width"]).to(memory_format=torch.channels_last)
    y = torch.randint(config["encoder"]["outputs"], (batch,))
    times = []
    for _ in range(steps + 5):
        begin = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y, label_smoothing=0.1).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - begin)
    return batch / statistics.median(times[5:])


def speed(options):
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        result = quern(options, "train", options.data / "train-images-idx3-ubyte.gz", "--out", run, "--set",
                       "train.batch=64", *limits(options))
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    rate = torch_rate(config, 64, options.steps, options.threads)
    ours = result["rows_per_second"]
    print(f"{options.threads} threads, batch 64, {result['parameters']:,} parameters: quern {ours:.0f} pictures/s, "
          f"torch {rate:.0f}: {ours / rate:.2f} times; {result['share_of_peak']:.2f} of the multiply-add peak")


def fashion(options):
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = pathlib.Path(folder) / "run"
            begin = time.monotonic()
            result = quern(options, "train", options.data / "train-images-idx3-ubyte.gz", "--out", run, "--seed", seed,
                           *limits(options))
            seconds = time.monotonic() - begin
            scores = quern(options, "evaluate", run, options.data / "t10k-images-idx3-ubyte.gz")["metrics"]
        accuracy = scores["accuracy"]
        print(f"fashion seed {seed}: test accuracy {accuracy['value']:.4f} ({accuracy['low']:.4f} to {accuracy['high']:.4f}), "
              f"validation {result['validation']['accuracy']:.4f}, {result['steps']} steps in {seconds:.0f} s, "
              f"{result['rows_per_second']:.0f} pictures/s", flush=True)


def shrunk(path, side):
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        return np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side), Image.BILINEAR), np.float32).ravel() / 255


def linear_right(train, test, side):
    """How many of the test's pictures a linear model gets right; its strength chosen within the training part."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 1, 7), cv=5, max_iter=2000))
    model.fit([shrunk(path, side) for path in train], [path.parent.name for path in train])
    said = model.predict([shrunk(path, side) for path in test])
    return sum(answer == path.parent.name for answer, path in zip(said, test))


def flowers(options):
    from sklearn.model_selection import StratifiedKFold

    paths = sorted(path for path in options.data.glob("*/*") if path.is_file())
    labels = [path.parent.name for path in paths]
    for seed in options.seeds:
        right = {"quern": 0, "linear 14 x 14": 0, "linear 32 x 32": 0}
        for fold, (train, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(paths, labels)):
            parts = {"train": [paths[i] for i in train], "test": [paths[i] for i in test]}
            with tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                for part, chosen in parts.items():
                    for path in chosen:
                        (folder / part / path.parent.name).mkdir(parents=True, exist_ok=True)
                        (folder / part / path.parent.name / path.name).symlink_to(path.resolve())
                quern(options, "train", folder / "train", "--out", folder / "run", "--seed", seed, *limits(options))
                accuracy = quern(options, "evaluate", folder / "run", folder / "test")["metrics"]["accuracy"]["value"]
            right["quern"] += round(accuracy * len(test))
            for side in (14, 32):
                right[f"linear {side} x {side}"] += linear_right(parts["train"], parts["test"], side)
            seen = len(test) * (fold + 1)
            print(f"  fold {fold + 1}: " + "  ".join(f"{who} {count / seen:.3f}" for who, count in right.items()), flush=True)
        print(f"flowers seed {seed}, {len(paths)} pictures, 5-fold: " +
              "  ".join(f"{who} {count / len(paths):.4f}" for who, count in right.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=["speed", "fashion", "flowers"])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--time", help="of each training; by default 19m for fashion, 4m for flowers")
    parser.add_argument("--steps", type=int, help="of each training, instead of a time; by default 100 for speed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=seeds, default="1", help="so many, from 1 on; or from one to another, as 2-3")
    parser.add_argument("--set", action="append", default=[], help="a key of quern train, as section.key=value")
    options = parser.parse_args()
    options.time = options.time or ("4m" if options.what == "flowers" else "19m")
    if options.what == "speed":
        options.steps = options.steps or 100
    {"speed": speed, "fashion": fashion, "flowers": flowers}[options.what](options)


if __name__ == "__main__":
    main()
