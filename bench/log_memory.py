"""Recommendation from a long log: the most memory that reading and training take.

    python bench/log_memory.py [--rows 10000000] [--items 100000] [--users 200000] [--steps 20] [--quern build/release/quern]

Writes a log of so many interactions (Zipf-like items, users in turn) to a temporary file, trains for a few steps, and prints peak
resident memory beside the log's size. With --items above half of --rows all of them are taken in turn: --rows 15000000 --items
10000000 shows how a catalogue that does not fit is refused.
"""

import argparse
import pathlib
import random
import resource
import subprocess
import tempfile


def write_log(path, options):
    draw = random.Random(1)
    with open(path, "w", encoding="ascii") as out:
        out.write("user_id,item_id,timestamp\n")
        for row in range(options.rows):
            many = 2 * options.items > options.rows
            item = row % options.items if many else int(options.items * draw.random() ** 3)
            out.write(f"user{row % options.users},item{item},{1600000000 + row}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quern", default="build/release/quern")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log.csv"
        write_log(log, options)
        done = subprocess.run([options.quern, "train", str(log), "--task", "recommend", "--out", f"{folder}/run", "--steps",
                               str(options.steps), "--threads", str(options.threads)], stderr=subprocess.PIPE, text=True,
                              check=False)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"log: {options.rows} rows, {log.stat().st_size / 2**20:.0f} MiB; exit {done.returncode}; peak {peak:.0f} MiB")
        if done.returncode != 0:
            print(done.stderr.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
