"""Whether explanations say what models go by: deletion and insertion against random orders, over the rows of data sets.

    python bench/faithfulness.py RUN DATA [RUN DATA]... [--rows 40] [--threads 1] [--quern build/release/quern]

For each run, explains so many rows of its data, evenly spread, with --audit. Prints the mean over rows of insertion less
deletion, less the same of random orders, with its 95 % interval (bootstrap over rows): above zero, the order that the
explanation gives tells more than chance. Needs Python alone; DATA is a table of which row N is explained with --row N.
"""

import argparse
import json
import random
import statistics
import subprocess


def advantages(args, run, data):
    count = json.loads(subprocess.run([args.quern, "predict", run, data, "-o", "/dev/null", "--json", "--quiet"],
                                      capture_output=True, check=True).stdout)["rows"]
    rows = sorted({1 + i * count // args.rows for i in range(min(args.rows, count))})
    found = []
    for row in rows:
        said = subprocess.run([args.quern, "explain", run, data, "--row", str(row), "--audit", "--json", "--quiet", "--no-events",
                               "--threads", str(args.threads)], capture_output=True, check=True).stdout
        found.append(json.loads(said)["audit"]["advantage"]["value"])
    return found


def interval(values, draws=2000):
    generator = random.Random(1)
    means = sorted(statistics.fmean(generator.choices(values, k=len(values))) for _ in range(draws))
    return means[draws // 40], means[-draws // 40 - 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairs", nargs="+", metavar="RUN DATA")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quern", default="build/release/quern")
    args = parser.parse_args()
    if len(args.pairs) % 2:
        parser.error("give each run its data")
    for run, data in zip(args.pairs[::2], args.pairs[1::2]):
        found = advantages(args, run, data)
        low, high = interval(found)
        print(f"{run}: advantage over random orders {statistics.fmean(found):.4f}, {low:.4f} to {high:.4f}, {len(found)} rows",
              flush=True)


if __name__ == "__main__":
    main()
