"""`cmake --install`, and a program of someone else's built against what it laid down."""

import os
import pathlib
import shutil
import subprocess
import unittest

import house


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True,
                          text=True, **options).stdout


class Install(house.TestCase):
    def setUp(self):
        super().setUp()
        self.prefix = self.folder / "prefix"
        run("cmake", "--install", house.BUILD, "--prefix", self.prefix)

    def test_what_is_laid_down(self):
        files = {path.relative_to(self.prefix).as_posix() for path in self.prefix.rglob("*")}
        for name in ("bin/quern", "include/quern/base/error.h", "include/quern/graph/graph.h",
                     "share/man/man1/quern.1", "share/bash-completion/completions/quern",
                     "share/zsh/site-functions/_quern",
                     "share/fish/vendor_completions.d/quern.fish"):
            self.assertIn(name, files)
        self.assertFalse([name for name in files if "_test" in name or "gtest" in name])

    @unittest.skipIf(house.SANITIZED, "a consumer would need the same sanitizer")
    def test_consumer_builds_and_runs(self):
        build = self.folder / "build"
        run("cmake", "-S", pathlib.Path(__file__).parent / "consumer", "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}", "-DCMAKE_BUILD_TYPE=Release")
        run("cmake", "--build", build)
        # CRC-32C of "123456789" is the check value of its catalogue entry.
        self.assertRegex(run(build / "consumer"), r"^16000000000 e3069283 \w+\n$")

    def test_manual_page_and_completion(self):
        script = self.prefix / "share/bash-completion/completions/quern"
        complete = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _quern; ' \
                   'echo "${COMPREPLY[@]}"'
        env = {**os.environ, "PATH": f"{self.prefix}/bin:{os.environ['PATH']}"}

        def completed(*words):
            return run("bash", "-c", complete, "bash", "quern", *words, env=env).split()

        self.assertEqual(completed("opt"), ["options"])
        self.assertEqual(completed("options", "--mark"), ["--markdown"])

    @unittest.skipUnless(house.OPTIMISED, "the limit is for the release build")
    def test_stripped_size(self):
        binary = self.folder / "quern"
        shutil.copy(self.prefix / "bin/quern", binary)
        run("strip", binary)
        size = os.path.getsize(binary)
        print(f"stripped binary: {size / 1e6:.2f} MB")
        self.assertLessEqual(size, 20e6)


if __name__ == "__main__":
    unittest.main()
