"""The tokenizer command: train, encode, decode, info."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from house import QUERN

TEXT = "The cat sat on the mat, and the cat's hat sat too.\n明月几时有？把酒问青天。\n" * 50


class TokenizerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "text.txt").write_text(TEXT, encoding="utf-8")

    def quern(self, *arguments, text=b""):
        return subprocess.run([QUERN, "tokenizer", *map(str, arguments)], input=text, capture_output=True)

    def train(self, *arguments):
        out = self.folder / "tokenizer.json"
        done = self.quern("train", self.folder / "text.txt", "--out", out, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out, json.loads(done.stdout)

    def test_round_trip_of_every_kind(self):
        raw = "The hat 明月 \U0001f600".encode() + b"\xff\x00\xe4"
        for kind in ("bpe", "char", "byte"):
            tokenizer, result = self.train("--kind", kind, "--vocabulary", "400")
            self.assertEqual(result["kind"], kind)
            ids = self.quern("encode", tokenizer, text=raw)
            self.assertEqual(ids.returncode, 0, ids.stderr)
            self.assertEqual(self.quern("decode", tokenizer, text=ids.stdout).stdout, raw)
            info = json.loads(self.quern("info", tokenizer, "--json").stdout)
            self.assertEqual(info["vocabulary"], result["vocabulary"])
            self.assertEqual(info["end_of_text"], info["vocabulary"] - 1)

    def test_counts_and_files(self):
        tokenizer, _ = self.train("--vocabulary", "300")
        counts = json.loads(self.quern("encode", tokenizer, self.folder / "text.txt", "--count", "--json").stdout)
        self.assertEqual(counts["bytes"], len(TEXT.encode()))
        self.assertNotIn("ids", counts)
        ids = self.folder / "ids.txt"
        self.assertEqual(self.quern("encode", tokenizer, self.folder / "text.txt", "-o", ids).returncode, 0)
        self.assertEqual(len(ids.read_text().split()), counts["tokens"])
        back = self.quern("decode", tokenizer, ids)
        self.assertEqual(back.stdout.decode(), TEXT)

    def test_binary_ids_and_json_beside_a_file(self):
        tokenizer, _ = self.train("--vocabulary", "300")
        text, ids, back = self.folder / "text.txt", self.folder / "ids", self.folder / "back.txt"
        done = self.quern("encode", tokenizer, text, "-o", ids, "--format", "u32", "--json")
        counts = json.loads(done.stdout)
        self.assertEqual(ids.stat().st_size, 4 * counts["tokens"])
        plain = self.quern("encode", tokenizer, text).stdout.split()
        self.assertEqual([int.from_bytes(ids.read_bytes()[i:i + 4], "little")
                          for i in range(0, 4 * counts["tokens"], 4)], [int(word) for word in plain])
        done = self.quern("decode", tokenizer, ids, "-o", back, "--format", "u32", "--json")
        self.assertEqual(json.loads(done.stdout), {"tokens": counts["tokens"], "bytes": len(TEXT.encode())})
        self.assertEqual(back.read_text(encoding="utf-8"), TEXT)
        cut = self.quern("decode", tokenizer, "--format", "u32", text=b"abc")
        self.assertEqual((cut.returncode, len(cut.stderr.splitlines())), (1, 1))

    def test_bad_input_is_one_line_and_a_code(self):
        tokenizer, _ = self.train("--vocabulary", "300")
        (self.folder / "other.json").write_text('{"model":{"type":"WordPiece","vocab":{"a":0}}}')
        (self.folder / "empty.txt").write_text("")
        for code, arguments, text in [
            (2, ["train", self.folder / "text.txt", "--out", "x.json", "--vocabulary", "10"], b""),
            (1, ["train", self.folder / "empty.txt", "--out", self.folder / "x.json"], b""),
            (1, ["encode", self.folder / "missing.json"], b"a"),
            (1, ["encode", self.folder / "other.json"], b"a"),
            (1, ["decode", tokenizer], b"1 2 three"),
            (1, ["decode", tokenizer], b"300"),
            (2, [], b""),
        ]:
            done = self.quern(*arguments, text=text)
            self.assertEqual(done.returncode, code, arguments)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertFalse((self.folder / "x.json").exists())


if __name__ == "__main__":
    unittest.main()
