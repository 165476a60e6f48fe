"""What the end-to-end tests share: where the program is, and how it is run."""

import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

QUERN = os.environ.get("QUERN", str(pathlib.Path(__file__).parents[1] / "build/release/quern"))
BUILD = pathlib.Path(os.environ.get("QUERN_BUILD", pathlib.Path(QUERN).parent))
SOURCE = pathlib.Path(os.environ.get("QUERN_SOURCE", pathlib.Path(__file__).parents[1]))
SANITIZED = bool(os.environ.get("QUERN_SANITIZE"))
OPTIMISED = os.environ.get("QUERN_BUILD_TYPE", "Release") == "Release" and not SANITIZED


@dataclasses.dataclass
class Result:
    code: int
    out: bytes
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def quern(*arguments, stdin=b"", timeout=600, cwd=None, env=None, preexec_fn=None):
    """Runs the program to its end."""
    done = subprocess.run(
        [QUERN, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout, cwd=cwd,
        env={**os.environ, **(env or {})}, preexec_fn=preexec_fn, check=False)
    return Result(done.returncode, done.stdout, done.stderr.decode("utf-8"))


class TestCase(unittest.TestCase):
    """A test with a folder of its own, `self.folder`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quern-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_ok(self, *arguments, **options):
        result = quern(*arguments, **options)
        self.assertEqual(result.code, 0, f"{arguments}: {result.err}")
        return result
