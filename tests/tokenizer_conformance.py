"""Encodes whole texts with Quern and with Hugging Face tokenizers: the ids must be the same.

    python tests/tokenizer_conformance.py --quern build/release/quern TEXT...

Needs the `tokenizers` package. TEXT are plain UTF-8 files, .gz or not. Every kind and pattern is trained on every text,
and encodes every text; byte-level merges are also compared with those that Hugging Face's own trainer learns.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

KINDS = [
    ["--kind", "bpe", "--pattern", "gpt2"],
    ["--kind", "bpe", "--pattern", "llama3"],
    ["--kind", "bpe", "--pattern", "chinese"],
    ["--kind", "char"],
    ["--kind", "char", "--fallback", "unknown"],
    ["--kind", "byte"],
]
AWKWARD = (
    "it's IT'S it\u2019s it'\u017f we'LL 'sus ''  \t\n \r\n\r\n x\u00a0y\u3000z\u1680 \u2028\u0085\u180e 12345 \u0663\u0664 \u00bd"
    " \u7684\u4e2d\u6587\uff0c\u6ca1\u6709\u7a7a\u683c\u7684\u5f88\u957f\u4e00\u6bb5\u6587\u5b57 \u4e8c\u3007\u3007\u516b\u5e74"
    " \u3005 \ufa0e \U00020000\U0002a6d6 \u304b\u306a\u30ab\u30ca \ud55c\uad6d\uc5b4 e\u0301\u0301 \U0001f468\u200d\U0001f469"
    " !!!\n\n...\r\n (x) $5 -- <|endoftext |> \x00\x7f end  "
)


def read(path):
    data = pathlib.Path(path).read_bytes()
    return (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8")


class Quern:
    def __init__(self, binary):
        self.binary = binary

    def __call__(self, *arguments, text=None):
        done = subprocess.run([self.binary, "tokenizer", *arguments, "--quiet"], input=text, check=True,
                              stdout=subprocess.PIPE)
        return done.stdout

    def encode(self, tokenizer, text):
        return list(map(int, self("encode", tokenizer, "-", text=text.encode("utf-8")).split()))


def check_ids(quern, trained, texts):
    theirs = Tokenizer.from_file(str(trained))
    failures = 0
    for name, text in texts.items():
        mine = quern.encode(str(trained), text)
        ids = theirs.encode(text).ids
        decoded = theirs.decode(mine)
        same = mine == ids
        # Without a fallback to bytes, unknown characters are lost in both.
        lossless = decoded == text or "<|unk|>" in theirs.get_vocab()
        failures += not (same and lossless)
        print(f"  {'same' if same else 'DIFFERENT':9} {len(ids):9,} ids  {name}", flush=True)
        if not same:
            at = next((i for i, (a, b) in enumerate(zip(mine, ids)) if a != b), min(len(mine), len(ids)))
            print(f"    first at {at}: {mine[at:at + 5]} for {ids[at:at + 5]}")
    return failures


def check_training(quern, path, text, folder):
    """Merges learned from one text, character halves allowed, against Hugging Face's trainer."""
    mine = folder / "mine.json"
    size = 3000
    quern("train", path, "--out", str(mine), "--vocabulary", str(size), "--pattern", "gpt2", "--any-bytes")
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in json.loads(mine.read_text())["model"]["merges"]]
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<|endoftext|>"], min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    theirs.train_from_iterator([text], trainer)
    expected = [tuple(m) for m in json.loads(theirs.to_str())["model"]["merges"]]
    same = merges == expected
    print(f"  {'same' if same else 'DIFFERENT':9} {len(expected):9,} merges learned from {path}", flush=True)
    return not same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("text", nargs="+")
    arguments = parser.parse_args()
    quern = Quern(arguments.quern)
    texts = {path: read(path) for path in arguments.text}
    texts["awkward characters"] = AWKWARD * 3
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for path in arguments.text:
            for kind in KINDS:
                trained = folder / "tokenizer.json"
                quern("train", path, "--out", str(trained), "--vocabulary", "8192", *kind)
                print(" ".join(kind), "trained on", path)
                failures += check_ids(quern, trained, texts)
            failures += check_training(quern, path, texts[path], folder)
    print("all the same" if not failures else f"{failures} differences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
