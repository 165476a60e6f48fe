"""Memory and time that a table larger than most asks for: the peak of quern train and predict, beside the file's size.

    python bench/table_memory.py [--rows 10000000] [--quern build/release/quern] [--threads 2] [--steps 200]

Writes a CSV of that many rows (six numbers, four categories, a class that follows some of them) beside the system's
temporary files, trains on it for a fixed number of steps and predicts the first million rows. Needs about three times the
file's size on disk: cells are kept in temporary files while the table is read.
"""

import argparse
import os
import pathlib
import random
import subprocess
import tempfile
import time

COLUMNS = ["age", "income", "balance", "visits", "distance", "score", "region", "plan", "channel", "device"]


def write(path, rows):
    draw = random.Random(1)
    with open(path, "w", encoding="utf-8") as out:
        out.write(",".join(COLUMNS) + ",left\n")
        for _ in range(rows):
            unit = draw.random
            age, income, visits, plan = 18 + int(60 * unit()), 1e5 * unit(), int(20 * unit() ** 2), int(4 * unit())
            risk = (age - 40) / 40 - visits / 10 + (plan == 2) + unit() - 0.5
            out.write(f"{age},{income:.2f},{1e4 * unit() - 2e3:.2f},{visits},{50 * unit():.1f},{unit():.4f},"
                      f"r{int(30 * unit())},p{plan},c{int(5 * unit())},d{int(8 * unit())},{'yes' if risk > 0 else 'no'}\n")


def measured(command):
    """Seconds, and the peak of resident memory in bytes, of one command."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[1]} failed")
    return time.monotonic() - begin, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quern", default=os.environ.get("QUERN", "build/release/quern"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data, part, run = folder / "rows.csv", folder / "part.csv", folder / "run"
        write(data, options.rows)
        size = data.stat().st_size
        common = ["--threads", str(options.threads), "--quiet"]
        seconds, peak = measured([options.quern, "train", data, "--target", "left", "--out", run, "--steps",
                                  str(options.steps), *common])
        print(f"{options.rows:,} rows, {size / 1e9:.2f} GB: training peaks at {peak / 1e9:.2f} GB "
              f"({peak / options.rows:.0f} bytes a row, {peak / size:.2f} of the file), {seconds:.0f} s", flush=True)
        with open(data, encoding="utf-8") as rows, open(part, "w", encoding="utf-8") as out:
            for _, line in zip(range(1_000_001), rows):
                out.write(line)
        count = min(options.rows, 1_000_000)
        seconds, peak = measured([options.quern, "predict", run, part, "-o", folder / "out.csv", *common])
        print(f"{count:,} rows: predicting peaks at {peak / 1e9:.2f} GB, {count / seconds:,.0f} rows a second, reading and "
              "writing included")


if __name__ == "__main__":
    main()
