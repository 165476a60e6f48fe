"""What an installation weighs and how fast it starts: Quern with its libraries beside a Python environment with PyTorch.

    python bench/footprint.py [--quern build/release/quern]

Run it with the interpreter of an environment that has torch to see the peer; without one, only Quern's figures appear.
Sizes are of files on disk; start-up is the median of 21 runs of `quern --version` and of 5 of `import torch`.
"""

import argparse
import importlib.util
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def seconds(command, runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def folder_size(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quern", default=os.environ.get("QUERN", "build/release/quern"))
    quern = parser.parse_args().quern
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder) / "quern"
        shutil.copy(quern, stripped)
        subprocess.run(["strip", str(stripped)], check=True)
        binary = stripped.stat().st_size
    listing = subprocess.run(["ldd", quern], check=True, capture_output=True, text=True).stdout
    libraries = {os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", listing)}
    ours = binary + sum(os.path.getsize(path) for path in libraries)
    start = seconds([quern, "--version"], 21)
    print(f"quern    stripped {binary / 1e6:.1f} MB (wanted ≤ 20), with its {len(libraries)} shared libraries "
          f"{ours / 1e6:.1f} MB; --version {1000 * start:.1f} ms (wanted ≤ 50)")
    if importlib.util.find_spec("torch") is None:
        print("PyTorch  this interpreter has none")
        return
    theirs = folder_size(pathlib.Path(importlib.util.find_spec("torch").origin).parent.parent)
    peer_start = seconds([sys.executable, "-c", "import torch"], 5)
    print(f"PyTorch  its environment {theirs / 1e6:.0f} MB; import torch {peer_start:.2f} s")
    print(f"ratios   size {theirs / ours:.0f} to 1, start-up {peer_start / start:.0f} to 1")


main()
