"""Tokenizer: encoding and training against Hugging Face tokenizers and tiktoken, one core, one run.

    python bench/tokenizer.py FOLDER [--quern build/release/quern] [--rounds 5]

FOLDER holds tiny_shakespeare.txt.gz and song_ci_zh.txt.gz. Needs `tokenizers` and `tiktoken`. All three use the same
vocabulary and merges, and must give the same ids. Quern's figure is of a fresh process each round, so that its cache of
pieces starts empty; the others are timed in a warm process and keep their best round. Rounds alternate.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tiktoken  # noqa: E402
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CASES = [  # text, pattern, wanted MB/s
    ("tiny_shakespeare.txt.gz", "gpt2", 75),
    ("tiny_shakespeare.txt.gz", "chinese", 75),
    ("song_ci_zh.txt.gz", "chinese", 40),
]
WANTED_ENCODE, WANTED_TRAIN = 5, 3


def byte_of():
    """GPT-2's alphabet: character to byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{chr(b): b for b in plain}, **{chr(256 + i): b for i, b in enumerate(rest)}}


def tiktoken_of(file):
    spelled = byte_of()
    steps = file["pre_tokenizer"]
    pattern = GPT2 if steps["type"] == "ByteLevel" else steps["pretokenizers"][0]["pattern"]["Regex"]
    ranks = {bytes(spelled[c] for c in token): i for token, i in file["model"]["vocab"].items() if token != "<|endoftext|>"}
    return tiktoken.Encoding("same", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def timed(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def quern(binary, *arguments):
    done = subprocess.run([binary, "tokenizer", *arguments, "--json", "--quiet"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def bench(arguments, folder, name, pattern, wanted):
    text = gzip.decompress((pathlib.Path(arguments.folder) / name).read_bytes()).decode("utf-8")
    plain, trained = folder / "text.txt", folder / "tokenizer.json"
    plain.write_bytes(text.encode("utf-8"))
    megabytes = plain.stat().st_size / 1e6
    train = ["train", str(plain), "--out", str(trained), "--vocabulary", "8192", "--pattern", pattern]
    train += ["--set", "data.documents=file"]
    train_ours = statistics.median(quern(arguments.quern, *train)["seconds"] for _ in range(3))
    file = json.loads(trained.read_text())
    hugging, tik = Tokenizer.from_file(str(trained)), tiktoken_of(file)
    ours, theirs, tiks = [], [], []
    for _ in range(arguments.rounds):
        result = quern(arguments.quern, "encode", str(trained), str(plain), "--count")
        ours.append(result["seconds"])
        seconds, ids = timed(lambda: hugging.encode(text).ids)
        theirs.append(seconds)
        seconds, tik_ids = timed(lambda: tik.encode_ordinary(text))
        tiks.append(seconds)
        assert len(ids) == len(tik_ids) == result["tokens"] and ids == tik_ids, "the ids differ"
    mine = megabytes / statistics.median(ours)
    peers = {"tokenizers": megabytes / min(theirs), "tiktoken": megabytes / min(tiks)}
    fresh = Tokenizer(models.BPE())
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == "gpt2")]
    if pattern != "gpt2":
        regex = file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        steps.insert(0, pre_tokenizers.Split(Regex(regex), "isolated"))
    fresh.pre_tokenizer = pre_tokenizers.Sequence(steps)
    trainer = trainers.BpeTrainer(vocab_size=8192, special_tokens=["<|endoftext|>"], show_progress=False, min_frequency=2,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    train_theirs, _ = timed(lambda: fresh.train_from_iterator([text], trainer))
    ratio = mine / max(peers.values())
    print(f"{name} ({pattern}, {megabytes:.1f} MB)")
    print(f"  encode: Quern {mine:.1f} MB/s (wanted {wanted}), " + ", ".join(
        f"{peer} {speed:.1f} (ratio {mine / speed:.1f})" for peer, speed in peers.items()))
    print(f"  train:  Quern {train_ours:.2f} s, tokenizers {train_theirs:.2f} s (ratio {train_theirs / train_ours:.1f})",
          flush=True)
    return mine >= wanted and ratio >= WANTED_ENCODE and train_theirs >= WANTED_TRAIN * train_ours


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # one core, for the programs started from here too
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        good = [bench(arguments, pathlib.Path(temporary), *case) for case in CASES]
    print(f"wanted: encoding {WANTED_ENCODE} times the faster peer, training {WANTED_TRAIN} times: "
          + ("met" if all(good) else "NOT met"))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
