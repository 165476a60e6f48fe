"""The least that the program does: say its version, at once."""

import re
import time
import unittest

import house


class Version(house.TestCase):
    def test_version(self):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            result = self.run_ok("--version")
            times.append((time.perf_counter() - start) * 1e3)
        self.assertRegex(result.out.decode(), r"^quern \d+\.\d+\.\d+\n$")
        print(f"quern --version: {min(times):.1f} ms at best, {max(times):.1f} ms at worst")

    def test_help_names_every_command(self):
        text = self.run_ok("--help").out.decode()
        listed = re.search(r"^commands:\n((?:  .*\n)+)", text, re.MULTILINE).group(1)
        names = re.findall(r"^  (\w+)", listed, re.MULTILINE)
        self.assertEqual(names, ["train", "check", "generate", "recommend", "evaluate", "diagnose", "predict", "compare",
                                 "explain", "quantize", "info", "tokenizer", "plan", "bench", "options"])
        for name in names:
            self.assertIn("Usage: quern", self.run_ok(name, "--help").out.decode())

    def test_json_holds_for_usage_errors(self):
        for arguments in (["--json"], ["--json", "trian"], ["train", "--json", "--nope"],
                          ["train", "--json"]):
            with self.subTest(arguments):
                result = house.quern(*arguments)
                self.assertEqual(result.code, 2)
                self.assertEqual(sorted(result.json["error"]), ["code", "hint", "message"])


if __name__ == "__main__":
    unittest.main()
