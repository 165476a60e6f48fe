"""What the benchmarks of rows share: Quern trained and asked, its options, and the paired bootstrap."""

import argparse
import csv
import os
import pathlib
import shutil
import subprocess
import time

import numpy as np


def parser_of(description, sets):
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--quern", default=os.environ.get("QUERN", "build/release/quern"))
    parser.add_argument("--only", choices=sets, action="append", help="this data set alone; may be given again")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=seeds, default="1", help="so many, from 1 on; or from one to another, as 2-3")
    parser.add_argument("--folds", type=int, default=0, help="score so many of the folds alone; 0: all")
    parser.add_argument("--option", action="append", default=[], help="a word more for quern train, as --option=--steps --option=100")
    return parser


def seeds(text):
    first, dash, last = text.partition("-")
    return range(int(first), int(last) + 1) if dash else range(1, int(text) + 1)


def mean_line(name, measure, scores, intervals):
    """The line that ends a data set's seeds: the mean of each score, and the outermost ends of the seeds' intervals. `scores` and
    `intervals` have a dictionary a seed."""
    line = "  ".join(f"{who} {np.mean([each[who] for each in scores]):.4f}" for who in scores[0])
    ends = "  ".join(f"quern - {who}: {min(each[who][0] for each in intervals):+.4f} to {max(each[who][1] for each in intervals):+.4f}"
                     for who in intervals[0] if all(who in each for each in intervals))
    return f"{name}, mean of {len(scores)} seeds: {measure}  {line}  {ends}".rstrip()


def answers(options, folder, train, test, target, seed):
    """Trains on one table and answers another: the rows of quern predict, and the seconds of training."""
    folder = pathlib.Path(folder)
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    common = ["--threads", str(options.threads), "--quiet"]
    begin = time.monotonic()
    subprocess.run([options.quern, "train", folder / "train.csv", "--target", target, "--out", run, "--seed", str(seed),
                    *common, *options.option], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    subprocess.run([options.quern, "predict", run, folder / "test.csv", "-o", folder / "out.csv", *common], check=True)
    with open(folder / "out.csv", encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows)), seconds


def paired(score, truth, ours, theirs, draws=500):
    """The 95 % interval of score(ours) - score(theirs) over rows drawn with replacement, the same for both."""
    choose = np.random.default_rng(1)
    differences = []
    for _ in range(draws):
        at = choose.integers(0, len(truth), len(truth))
        if len(np.unique(truth[at])) > 1:
            differences.append(score(truth[at], ours[at]) - score(truth[at], theirs[at]))
    return np.percentile(differences, [2.5, 97.5])
