"""What the end-to-end tests share: where the program is, how it is run, texts to run it on."""

import dataclasses
import hashlib
import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest
import zlib

QUERN = os.environ.get("QUERN", str(pathlib.Path(__file__).parents[1] / "build/release/quern"))
BUILD = pathlib.Path(os.environ.get("QUERN_BUILD", pathlib.Path(QUERN).parent))
SANITIZED = bool(os.environ.get("QUERN_SANITIZE"))
OPTIMISED = os.environ.get("QUERN_BUILD_TYPE", "Release") == "Release" and not SANITIZED

# A model that trains in a second or two, even under a sanitizer.
SMALL = [
    "--set", "tokenizer.kind=byte", "--set", "model.layers=2", "--set", "model.heads=2",
    "--set", "model.kv_heads=2", "--set", "model.width=32", "--set", "model.ffn_width=64",
    "--set", "model.context=32", "--set", "train.batch=4",
]


@dataclasses.dataclass
class Result:
    code: int
    out: bytes
    err: str

    @property
    def json(self):
        return json.loads(self.out)


CACHE = tempfile.TemporaryDirectory(prefix="quern-e2e-cache-", ignore_cleanup_errors=True)
ENVIRONMENT = {**os.environ, "XDG_CACHE_HOME": CACHE.name}


def quern(*arguments, stdin=b"", timeout=600, program=QUERN, **options):
    """Runs the program to its end, with a cache of the tests' own."""
    done = subprocess.run([str(program), *map(str, arguments)], input=stdin, capture_output=True,
                          timeout=timeout, check=False, **{"env": ENVIRONMENT, **options})
    return Result(done.returncode, done.stdout, done.stderr.decode("utf-8"))


def sayings(count=400, seed=1):
    """English of a small grammar, one document a paragraph."""
    choose = random.Random(seed).choice
    who = ["the miller", "a baker", "the old dog", "my sister", "every cat", "the north wind"]
    does = ["grinds", "carries", "counts", "watches", "forgets", "remembers"]
    what = ["the grain", "a sack of flour", "two stones", "the river", "warm bread", "the road"]
    how = ["slowly", "at dawn", "without a word", "twice a day", "in the rain"]
    return "\n\n".join(
        ". ".join(f"{choose(who)} {choose(does)} {choose(what)} {choose(how)}".capitalize()
                  for _ in range(4)) + "." for _ in range(count)) + "\n"


def png(rows):
    """Rows of grey values, or of (red, green, blue), as a PNG file."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    colour = isinstance(rows[0][0], tuple)
    raw = b"".join(b"\0" + bytes(value for pixel in row for value in (pixel if colour else [pixel])) for row in rows)
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2 if colour else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def weights_hash(run):
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


class TestCase(unittest.TestCase):
    """A test with a folder of its own, `self.folder`, and a text in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quern-e2e-", ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.text = self.folder / "sayings.txt"
        self.text.write_text(sayings(), encoding="utf-8")

    def run_ok(self, *arguments, **options):
        result = quern(*arguments, **options)
        self.assertEqual(result.code, 0, f"{arguments}: {result.err}")
        return result

    def train(self, run, *arguments, data=None, **options):
        return self.run_ok("train", data or self.text, "--out", run, "--quiet", "--json", *SMALL,
                           *arguments, **options)

    def assert_whole_page(self, path):
        """The text of a page that stands by itself: no script, nothing fetched, no NaN drawn."""
        page = path.read_text(encoding="utf-8")
        self.assertNotIn("<script", page)
        self.assertNotRegex(page, r"""(?:src|href)=["'](?!data:image/)""")
        self.assertNotRegex(page, r"(?i)\bnan\b")
        self.assertEqual(page.count("<svg"), page.count("</svg>"))
        return page

    def assert_fails(self, code, *arguments, says=(), options=None):
        """One line on standard error with every word of `says`; the same as JSON with --json."""
        options = options or {}
        plain = quern(*arguments, "--quiet", **options)
        self.assertEqual(plain.code, code, plain)
        self.assertEqual(plain.out, b"")
        self.assertEqual(plain.err.count("\n"), 1, plain.err)
        for word in says:
            self.assertIn(word, plain.err)
        result = quern(*arguments, "--quiet", "--json", **options)
        self.assertEqual(result.code, code, result)
        error = result.json["error"]
        self.assertEqual(sorted(error), ["code", "hint", "message"])
        self.assertRegex(error["code"], r"^[a-z_0-9]+$")
        self.assertTrue(error["message"])
        return error
