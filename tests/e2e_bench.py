"""The fields of quern bench that other programs rely on."""

import unittest

import house

MODEL = ["--set", "tokenizer.vocabulary=300", *house.SMALL[2:]]


class Bench(house.TestCase):
    def test_machine(self):
        result = self.run_ok("bench", "machine", "--json").json
        for field in ("fma_gflops", "read_gb_per_second"):
            self.assertLess(0, result[field]["one"])
            self.assertLess(0, result[field]["all"])

    def test_train(self):
        result = self.run_ok("bench", "train", *MODEL, "--steps", 3, "--json", "--quiet").json
        self.assertEqual(result["steps"], 3)
        self.assertEqual(result["planned_bytes"], result["allocated_bytes"])
        self.assertLessEqual(result["step_ms"]["min"], result["step_ms"]["median"])
        rate = result["flops_per_token"] * result["tokens_per_second"]
        self.assertAlmostEqual(rate / (result["share_of_peak"] * result["peak_gflops"] * 1e9), 1)

    def test_decode(self):
        # More tokens than the context of 32 holds.
        result = self.run_ok("bench", "decode", *MODEL, "--tokens", 50, "--json", "--quiet").json
        self.assertEqual(result["tokens"], 50)
        rate = result["tokens_per_second"] * result["bytes_per_token"]
        share = result["share_of_read_bandwidth"] * result["read_gb_per_second"] * 1e9
        self.assertAlmostEqual(rate / share, 1)
        # Every weight is read once, the keys and values of 17 to 32 positions on top.
        self.assertLess(4 * result["parameters"], result["bytes_per_token"])

    def test_bad_values(self):
        for arguments in (["bench"], ["bench", "decode", "--tokens", 0], ["bench", "machine", "x"]):
            with self.subTest(arguments):
                self.assert_fails(2, *arguments)


if __name__ == "__main__":
    unittest.main()
