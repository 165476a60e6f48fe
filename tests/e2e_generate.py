"""Text in, a generating model out."""

import json
import pathlib
import tempfile
import unittest

import house

POEM = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n\n"


class Generate(house.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = tempfile.TemporaryDirectory(prefix="quern-e2e-")
        cls.addClassCleanup(cls.shared.cleanup)
        root = pathlib.Path(cls.shared.name)
        text = root / "text.txt"
        text.write_text(house.sayings(), encoding="utf-8")
        cls.run_folder = root / "run"
        steps = 600 if house.OPTIMISED else 30
        cls.result = house.quern("train", text, "--out", cls.run_folder, "--json", *house.SMALL,
                                 "--steps", steps)
        assert cls.result.code == 0, cls.result.err

    def generate(self, *arguments, **options):
        return self.run_ok("generate", self.run_folder, *arguments, "--quiet", **options)

    def test_training_reports_what_programs_rely_on(self):
        fields = self.result.json
        for name in ("run", "task", "device", "parameters", "steps", "seconds", "tokens_per_second",
                     "best_step", "stopped_because"):
            self.assertIn(name, fields)
        self.assertEqual(fields["task"], "generate")
        validation = fields["validation"]["bits_per_byte"]
        self.assertLess(0, validation)
        self.assertLess(validation, 8)
        baseline = fields["baseline"]["bits_per_byte"]
        self.assertLess(0, baseline)
        self.assertLess(baseline, 8)
        for part in ("train", "validation"):
            self.assertLess(0, fields[part]["loss"])

    @unittest.skipUnless(house.OPTIMISED, "trained too little to have learnt it")
    def test_it_learns(self):
        self.assertLess(self.result.json["validation"]["bits_per_byte"], 3.0)

    def test_run_folder(self):
        names = {path.name for path in self.run_folder.iterdir()}
        for name in ("config.json", "model.safetensors", "tokenizer.json", "pipeline.json",
                     "config.resolved.toml", "metrics.json", "log.jsonl", "report.html",
                     "checkpoints"):
            self.assertIn(name, names)
        self.assertTrue([name for name in names if name.startswith("events.out.tfevents.")])
        for line in (self.run_folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
            json.loads(line)

    def test_evaluation_repeats_the_validation_of_training(self):
        root = pathlib.Path(self.shared.name)
        held_out = root / "held-out.txt"
        held_out.write_text(POEM * 40, encoding="utf-8")
        text = root / "text.txt"
        run = root / "judged"
        trained = self.run_ok("train", text, "--out", run, "--json", *house.SMALL, "--steps", 20,
                              "--set", f"data.validation={held_out}").json["validation"]
        scored = self.run_ok("evaluate", run, held_out, "--json").json
        self.assertEqual(scored["task"], "generate")
        for name in ("loss", "bits_per_byte", "perplexity"):
            metric = scored["metrics"][name]
            self.assertAlmostEqual(metric["value"] / trained[name], 1, places=5)
            self.assertLess(metric["low"], metric["value"])
            self.assertLess(metric["value"], metric["high"])
        empty = root / "empty.txt"
        empty.write_text("")
        refused = house.quern("evaluate", run, empty)
        self.assertEqual(refused.code, 1)
        self.assertIn("empty.txt", refused.err)

    def test_same_seed_same_text_at_any_thread_count(self):
        texts = {self.generate("The", "--seed", 7, "--max-tokens", 40, "--threads", threads).out
                 for threads in (1, 2)}
        self.assertEqual(len(texts), 1)
        self.assertNotEqual(
            self.generate("The", "--seed", 8, "--max-tokens", 40, "--temperature", 1.5).out,
            self.generate("The", "--seed", 9, "--max-tokens", 40, "--temperature", 1.5).out)

    def test_greedy_ignores_the_seed(self):
        texts = {self.generate("The", "--temperature", 0, "--seed", seed, "--max-tokens", 30).out
                 for seed in (1, 2)}
        self.assertEqual(len(texts), 1)

    def test_json(self):
        result = self.generate("The miller", "--temperature", 0, "--max-tokens", 5, "--show-probs", 5, "--json").json
        self.assertEqual(result["tokens"], 5)
        self.assertEqual(len(result["steps"]), 5)
        for step in result["steps"]:
            probabilities = [c["probability"] for c in step["candidates"]]
            self.assertEqual(len(probabilities), 5)
            self.assertEqual(probabilities, sorted(probabilities, reverse=True))
            self.assertLessEqual(sum(probabilities), 1 + 1e-5)
            self.assertTrue(all(p >= 0 for p in probabilities))

    def test_prompt_from_standard_input(self):
        given = self.generate("The miller", "--temperature", 0, "--max-tokens", 9).out
        read = self.generate("-", "--temperature", 0, "--max-tokens", 9, stdin=b"The miller").out
        self.assertEqual(given, read)

    def test_stop(self):
        result = self.generate("The miller", "--max-tokens", 200, "--stop", ".", "--json").json
        self.assertNotIn(".", result["text"].removeprefix("The miller"))

    def test_stream_is_whole_characters(self):
        text = self.folder / "poem.txt"
        text.write_text(POEM * 60, encoding="utf-8")
        run = self.folder / "poem"
        self.train(run, "--steps", 5, data=text)
        out = self.run_ok("generate", run, "明月", "--max-tokens", 61, "--temperature", 2,
                          "--quiet").out
        out.decode("utf-8")

    def test_bad_values(self):
        for arguments in (["--max-tokens", "-3"], ["--temperature", "-1"], ["--top-p", "2"],
                          ["--top-k", "x"]):
            with self.subTest(arguments):
                self.assert_fails(2, "generate", self.run_folder, "The", *arguments)


if __name__ == "__main__":
    unittest.main()
