"""A run again with weights of 8 or 4 bits: every command that reads it, and what it refuses."""

import json
import math
import pathlib
import shutil
import tempfile
import unittest

import house
from e2e_explain import make_loans
from e2e_recommend import make_log

BITS = {"q8_0": 8, "q4_0": 4}


class Quantize(house.TestCase):
    def quantize(self, run, kind):
        made = run.with_name(f"{run.name}-{kind}")
        result = self.run_ok("quantize", run, "--to", kind, "-o", made, "--json", "--quiet").json
        self.assertEqual(result["run"], str(made))
        self.assertEqual(result["kind"], kind)
        self.assertEqual(result["bytes"], (made / "model.safetensors").stat().st_size)
        self.assertEqual(result["bytes_before"], (run / "model.safetensors").stat().st_size)
        self.assertLess(result["quantized_parameters"], result["parameters"])
        # A scale of two bytes for each 32 weights; the rest stands as it did.
        saved = result["quantized_parameters"] * (4 - BITS[kind] / 8 - 2 / 32)
        self.assertAlmostEqual(result["bytes_before"] - result["bytes"], saved, delta=0.02 * saved + 6000)
        errors = [one["relative_error"] for one in result["tensors"]]
        self.assertAlmostEqual(result["relative_error"]["mean"], sum(errors) / len(errors))
        self.assertEqual(result["relative_error"]["largest"], max(errors))
        self.assertLess(max(errors), 0.02 if kind == "q8_0" else 0.2)
        return made, result


class Text(Quantize):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shared = tempfile.TemporaryDirectory(prefix="quern-e2e-")
        cls.addClassCleanup(shared.cleanup)
        root = pathlib.Path(shared.name)
        cls.text = root / "text.txt"
        cls.text.write_text(house.sayings(), encoding="utf-8")
        cls.trained = root / "run"
        done = house.quern("train", cls.text, "--out", cls.trained, "--quiet", *house.SMALL, "--steps", 200)
        assert done.code == 0, done.err

    def setUp(self):
        text = type(self).text
        super().setUp()
        self.text = text
        self.run_folder = self.folder / "run"
        shutil.copytree(self.trained, self.run_folder)

    def test_every_use_of_a_run(self):
        score = lambda run: self.run_ok("evaluate", run, self.text, "--json", "--quiet").json["metrics"]["loss"]["value"]
        whole = score(self.run_folder)
        for kind, most in (("q8_0", 0.01), ("q4_0", 0.3)):
            with self.subTest(kind):
                made, result = self.quantize(self.run_folder, kind)
                names = {path.name for path in made.iterdir()}
                self.assertEqual({path.name for path in self.run_folder.iterdir()} - names,
                                 {"checkpoints"} & {path.name for path in self.run_folder.iterdir()})
                self.assertLess(abs(score(made) - whole), most)
                info = self.run_ok("info", made, "--json").json
                self.assertEqual(info["quantized"], kind)
                self.assertEqual(info["quantized_parameters"], result["quantized_parameters"])
                self.assertEqual(info["parameters"], result["parameters"])
                self.assertIn(f"quantized     {kind}", self.run_ok("info", made).out.decode())
                text = self.run_ok("generate", made, "The miller", "--max-tokens", 20, "--json", "--quiet").json
                self.assertEqual(text["tokens"], 20)
                ask = ["explain", made, "The miller", "--target", " grinds", "--json", "--quiet"]
                exact = self.run_ok(*ask).json
                ig = self.run_ok(*ask, "--method", "ig").json
                self.assertAlmostEqual(ig["value"], exact["value"], delta=1e-3)
                self.assertLess(ig["completeness_error"], 0.02 * abs(ig["value"] - ig["base"]))
        self.assertNotIn("quantized", self.run_ok("info", self.run_folder, "--json").json)

    def test_same_bits_at_any_number_of_threads(self):
        made, _ = self.quantize(self.run_folder, "q4_0")
        texts = {self.run_ok("generate", made, "The", "--max-tokens", 40, "--seed", 4, "--threads", threads,
                             "--quiet").out for threads in (1, 2)}
        self.assertEqual(len(texts), 1)

    def test_what_it_says(self):
        done = self.run_ok("quantize", self.run_folder, "-o", self.folder / "made")
        text = done.out.decode()
        self.assertIn("q8_0", text)
        self.assertIn("at most", text)

    def test_refusals(self):
        made, _ = self.quantize(self.run_folder, "q8_0")
        asked = ["quantize", self.run_folder, "-o"]
        self.assert_fails(2, *asked, made, says=["something is there", "--out"])
        self.assert_fails(1, "quantize", made, "-o", self.folder / "again", says=["quantised already"])
        self.assert_fails(2, *asked, self.folder / "other", "--to", "q5", says=["q5"])
        self.assert_fails(2, "quantize", self.run_folder, says=["--out"])
        self.assert_fails(1, "quantize", self.folder / "none", "-o", self.folder / "other", says=["no such run"])
        self.assert_fails(2, "train", self.text, "--out", made, "--resume", *house.SMALL, says=["quantised"])
        (self.run_folder / "model.safetensors").unlink()
        self.assert_fails(1, *asked, self.folder / "other", says=["model.safetensors", "--resume"])
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"sayings.txt", "run", "run-q8_0"})

    def test_damage(self):
        made, _ = self.quantize(self.run_folder, "q8_0")
        weights = made / "model.safetensors"
        whole = weights.read_bytes()
        for damaged in (whole[:-7], whole[:200], whole.replace(b'"Q8_0"', b'"Q4_0"', 1),
                        whole.replace(b'"Q8_0"', b'"Q9_0"', 1), whole.replace(b".scales", b".sacles", 1)):
            weights.write_bytes(damaged)
            self.assertNotEqual(damaged, whole)
            self.assert_fails(1, "generate", made, "The", says=["model.safetensors"])


class Others(Quantize):
    def test_columns_in_folds(self):
        data = self.folder / "loans.csv"
        data.write_text(make_loans(500, 3))
        run = self.folder / "run"
        self.run_ok("train", data, "--target", "risk", "--out", run, "--quiet", "--steps", 60, "--folds", 3,
                    "--set", "model.width=32")
        predict = lambda folder: [one["probability"]["bad"] for one in self.run_ok(
            "predict", folder, data, "--json", "--quiet").json["predictions"]]
        whole = predict(run)
        for kind, most in (("q8_0", 0.01), ("q4_0", 0.15)):
            with self.subTest(kind):
                made, result = self.quantize(run, kind)
                self.assertEqual({one["name"].split(".")[1] for one in result["tensors"]}, {"0", "1", "2"})
                apart = [abs(a - b) for a, b in zip(predict(made), whole)]
                self.assertLess(math.sqrt(sum(x * x for x in apart) / len(apart)), most)
                self.run_ok("evaluate", made, data, "--quiet")
                ask = ["explain", made, data, "--row", 3, "--target", "bad", "--quiet"]
                ig = self.run_ok(*ask, "--json", "--method", "ig").json
                exact = self.run_ok(*ask, "--json").json
                self.assertAlmostEqual(ig["value"], exact["value"], delta=1e-5)
                self.assertLess(ig["completeness_error"], 0.02 * abs(ig["value"] - ig["base"]) + 1e-4)
                self.assert_fails(1, *ask[:-1], "--influence", 2, says=["cannot be trained"])
                self.run_ok("diagnose", made, data, "--quiet")

    def test_labelled_texts(self):
        data = self.folder / "texts.csv"
        rows = [f"\"{text}\",{'bread' if 'bread' in text else 'other'}"
                for text in house.sayings(150).replace("\n\n", "\n").splitlines()]
        data.write_text("\n".join(["text,about", *rows]) + "\n")
        run = self.folder / "run"
        self.run_ok("train", data, "--target", "about", "--out", run, "--quiet", "--steps", 40, "--folds", 1,
                    "--set", "model.width=32", "--set", "model.layers=1")
        made, result = self.quantize(run, "q8_0")
        self.assertIn("embed.weight", [one["name"] for one in result["tensors"]])
        # Nothing is left to learn for n-grams beside the linear model: weights of 1e-9 keep their bits.
        self.assertIn("embed.ngram", result["float32"])
        said = self.run_ok("quantize", run, "-o", self.folder / "said").out.decode()
        self.assertRegex(said, r"float32 as before: .*embed\.ngram \(65536, 32\)")
        one = lambda folder: self.run_ok("predict", folder, data, "--json", "--quiet").json["predictions"][0]
        self.assertAlmostEqual(one(made)["probability"]["bread"], one(run)["probability"]["bread"], delta=0.02)
        ask = ["explain", made, data, "--row", 1, "--target", "bread", "--method", "ig", "--json", "--quiet"]
        self.assertIn("attributions", self.run_ok(*ask).json)

    def test_items(self):
        data = self.folder / "log.csv"
        data.write_text(make_log(200, 1))
        run = self.folder / "run"
        self.run_ok("train", data, "--task", "recommend", "--out", run, "--quiet", "--set", "train.steps=80",
                    "--set", "model.width=32", "--set", "data.item=product")
        made, _ = self.quantize(run, "q8_0")
        ask = lambda folder, *words: [one["item"] for one in json.loads(
            self.run_ok("recommend", folder, *words, "--json").out)["items"]]
        history = ["--history", "item 3,item 4", "-k", 3]
        self.assertEqual(ask(made, *history)[0], ask(run, *history)[0])
        similar = ["--similar", "item 3", "-k", 5]
        self.assertGreaterEqual(len(set(ask(made, *similar)) & set(ask(run, *similar))), 4)
        self.run_ok("evaluate", made, data, "--quiet")
        self.run_ok("explain", made, "--history", "item 3,item 4", "--target", "item 5", "--quiet")


if __name__ == "__main__":
    unittest.main()
