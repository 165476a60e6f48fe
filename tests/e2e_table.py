"""A column learnt from others: trained, scored, predicted, cut short, and given bad input."""

import csv
import io
import json
import math
import random
import shutil
import subprocess
import time
import unittest

import house

TRAIN = ["--steps", "150", "--set", "train.evaluate_every=50", "--set", "regularise.ensemble=4"]
ONE_MODEL = ["--folds", "1"]


def make_table(rows, seed):
    """x and colour say the class but for some noise; id says nothing; price follows both."""
    draw = random.Random(seed)
    lines = ["id,x,colour,note,price,class"]
    for row in range(rows):
        x = draw.uniform(-3, 3)
        colour = draw.choice(["red", "green", "blue"])
        score = x + {"red": 2, "green": 0, "blue": -2}[colour] + draw.gauss(0, 0.5)
        price = 100 + 20 * score
        shown = "" if draw.random() < 0.05 else f"{x:.4f}"
        lines.append(f"c{seed}{row:06d},{shown},{colour},,{price:.2f},{'yes' if score > 1 else 'no'}")
    return "\n".join(lines) + "\n"


def read_csv(text):
    text = text.decode() if isinstance(text, bytes) else text
    return list(csv.DictReader(io.StringIO(text)))


class Table(house.TestCase):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "shop.csv"
        self.data.write_text(make_table(1200, 1))
        self.fresh = self.folder / "fresh.csv"
        self.fresh.write_text(make_table(500, 2))

    def train(self, *more, target="class", run="run"):
        folder = self.folder / run
        done = self.run_ok("train", self.data, "--target", target, "--out", folder, "--json", *TRAIN,
                           *(ONE_MODEL if "--folds" not in more else []), "--set", "data.types=price = ignore" if target == "class" else "seed=1", *more)
        return folder, json.loads(done.out), done.err

    def test_classes(self):
        run, result, notes = self.train()
        self.assertEqual(result["task"], "classify")
        self.assertIn("id (id", notes)
        self.assertIn("note (constant", notes)
        self.assertGreater(result["validation"]["auc"], 0.93)  # what lacks x and agrees in colour stays together
        self.assertIn("logistic regression", [one["name"] for one in result["baselines"]])
        for name in ["config.json", "model.safetensors", "pipeline.json", "config.resolved.toml",
                     "metrics.json", "log.jsonl", "report.html", "MODEL_CARD.md"]:
            self.assertTrue((run / name).is_file(), name)
        scored = json.loads(self.run_ok("evaluate", run, self.fresh, "--json").out)
        self.assertEqual(scored["rows"], 500)
        auc = scored["metrics"]["auc"]
        self.assertLessEqual(auc["low"], auc["value"])
        self.assertLessEqual(auc["value"], auc["high"])
        self.assertGreater(auc["low"], 0.95)
        out = self.folder / "out.csv"
        self.run_ok("predict", run, self.fresh, "-o", out)
        rows, truth = read_csv(out.read_text()), read_csv(self.fresh.read_text())
        self.assertEqual(len(rows), 500)
        for row in rows:
            both = float(row["probability yes"]) + float(row["probability no"])
            self.assertAlmostEqual(both, 1, places=4)
        right = sum(a["prediction"] == b["class"] for a, b in zip(rows, truth)) / len(rows)
        self.assertAlmostEqual(right, scored["metrics"]["accuracy"]["value"], places=9)

    def test_one_row_is_answered_as_among_many(self):
        run, _, _ = self.train()
        many = read_csv(self.run_ok("predict", run, self.fresh).out)
        head = "\n".join(self.fresh.read_text().splitlines()[:2]) + "\n"
        one = read_csv(self.run_ok("predict", run, "-", stdin=head.encode()).out)
        self.assertEqual(len(one), 1)
        self.assertAlmostEqual(float(one[0]["probability yes"]), float(many[0]["probability yes"]), places=4)

    def test_values(self):
        run, result, _ = self.train("--set", "data.types=class = ignore", target="price")
        self.assertEqual(result["task"], "regress")
        self.assertLess(result["validation"]["rmse"], 20)
        rows = [json.loads(line) for line in self.predict_lines(run)]
        truth = [float(row["price"]) for row in read_csv(self.fresh.read_text())]
        inside = sum(low <= y <= high for (low, high), y in zip((r["interval"] for r in rows), truth))
        self.assertGreater(inside / len(truth), 0.8)
        error = math.sqrt(sum((r["prediction"] - y) ** 2 for r, y in zip(rows, truth)) / len(truth))
        scored = json.loads(self.run_ok("evaluate", run, self.fresh, "--json").out)
        self.assertAlmostEqual(scored["metrics"]["rmse"]["value"], error, delta=1e-3 * error)

    def predict_lines(self, run):
        out = self.folder / "out.jsonl"
        self.run_ok("predict", run, self.fresh, "-o", out)
        return out.read_text().splitlines()

    def test_rows_whose_value_is_missing_are_left_out(self):
        lines = self.data.read_text().splitlines()
        for row, word in zip((5, 9, 13, 17), ("", "none", "-", "unknown")):
            cells = lines[row].split(",")
            cells[4] = word
            lines[row] = ",".join(cells)
        self.data.write_text("\n".join(lines) + "\n")
        run, result, notes = self.train("--set", "data.types=class = ignore", target="price")
        self.assertEqual(result["task"], "regress")
        self.assertIn("4 rows without a 'price' are left out", notes)
        self.assertEqual(json.loads(self.run_ok("evaluate", run, self.data, "--json").out)["rows"], 1196)

    def test_same_bits_at_one_and_two_threads(self):
        one, _, _ = self.train("--threads", "1", run="one")
        two, _, _ = self.train("--threads", "2", run="two")
        self.assertEqual(house.weights_hash(one), house.weights_hash(two))

    def test_texts_and_columns_together(self):
        draw = random.Random(5)
        lines = ["stars,words,class"]
        for _ in range(600):
            good = draw.random() < 0.5
            words = [draw.choice(["fine", "great", "lovely"] if good else ["poor", "bad", "awful"])]
            words += [draw.choice(["table", "chair", "lamp", "cup", "plate", "one"]) for _ in range(6)]
            draw.shuffle(words)
            lines.append(f"{draw.randint(1, 5)},{' '.join(words)},{'good' if good else 'bad'}")
        self.data.write_text("\n".join(lines) + "\n")
        run = self.folder / "texts"
        result = json.loads(self.run_ok(
            "train", self.data, "--target", "class", "--out", run, "--json", *TRAIN, *ONE_MODEL,
            "--set", "data.types=words = text", "--set", "tokenizer.vocabulary=300",
            "--set", "model.ngram_buckets=4096").out)
        self.assertGreater(result["validation"]["auc"], 0.95)
        self.assertTrue((run / "tokenizer.json").is_file())
        self.run_ok("evaluate", run, self.data)

    def test_folds(self):
        run, result, notes = self.train("--folds", "3", "--set", "data.class_weights=balanced")
        self.assertIn("3 folds", notes)
        self.assertEqual(result["validation"]["rows"], 1200, "every row is validated by one model")
        self.assertGreater(result["validation"]["auc"], 0.97)
        self.assertIn("fitted on the rows of all folds at once", (run / "MODEL_CARD.md").read_text())
        self.assertGreater(json.loads(self.run_ok("evaluate", run, self.fresh, "--json").out)["metrics"]["auc"]["low"], 0.95)
        again = self.folder / "again"
        shutil.copytree(run, again)
        for name in ["metrics.json", "model.safetensors", "config.json"]:
            (again / name).unlink()
        self.run_ok("train", self.data, "--target", "class", "--out", again, "--resume")
        self.assertEqual(house.weights_hash(run), house.weights_hash(again))
        done = house.quern("train", self.data, "--target", "class", "--out", self.folder / "no", "--folds", "3",
                           "--set", "data.split=time:x")
        self.assertEqual(done.code, 2)
        self.assertIn("data.folds = 3 divides rows at random", done.err)

    def test_cut_short_and_gone_on_with(self):
        whole, _, _ = self.train("--set", "train.checkpoint_every=20", run="whole")
        cut = self.folder / "cut"
        shutil.copytree(whole, cut)
        for name in ["metrics.json", "report.html", "MODEL_CARD.md", "model.safetensors"]:
            (cut / name).unlink()
        for newer in sorted((cut / "checkpoints").glob("*"))[1:]:
            newer.unlink()
        self.run_ok("train", self.data, "--target", "class", "--out", cut, "--resume")
        self.assertEqual(house.weights_hash(cut), house.weights_hash(whole))

    def test_goes_on_after_a_fold(self):
        arguments = ["train", self.data, "--target", "class", "--folds", "2", "--json", *TRAIN,
                     "--set", "data.types=price = ignore", "--set", "train.evaluate_every=10"]
        whole = json.loads(self.run_ok(*arguments, "--out", self.folder / "whole").out)
        cut = self.folder / "cut"
        process = subprocess.Popen([house.QUERN, *map(str, arguments), "--out", cut], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=house.ENVIRONMENT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        done = cut / "folds" / "0-done" / "model.safetensors"
        while not done.exists() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.wait()
        self.assertTrue(done.exists(), "it was done before it could be cut short")
        again = json.loads(self.run_ok(*arguments, "--out", cut, "--resume").out)
        self.assertEqual(house.weights_hash(cut), house.weights_hash(self.folder / "whole"))
        for key in ["validation", "train", "steps", "stopped_because", "verdict", "threshold"]:
            self.assertEqual(again.get(key), whole.get(key), key)

    def test_what_scores_speak_of(self):
        answers = {}
        for said, of in [([], "yes"), (["--set", "data.positive=no"], "no")]:
            run = self.folder / f"run-{of}"
            costly = ["--steps", "20", "--set", "data.costs=1:9", "--set", "data.types=price = ignore", *said]  # a miss of it costs nine times as much
            done = self.run_ok("train", self.data, "--target", "class", "--out", run, *ONE_MODEL, *costly)
            self.assertIn(f"scores, threshold and costs speak of class = {of}", done.err)
            answers[of] = [row["prediction"] for row in read_csv(self.run_ok("predict", run, self.fresh).out)]
        self.assertGreater(answers["yes"].count("yes"), answers["no"].count("yes"))

    def test_few_values_have_an_interval(self):
        self.data.write_text(make_table(60, 1))
        run, result, _ = self.train(target="price")
        rows = read_csv(self.run_ok("predict", run, self.fresh).out)
        self.assertTrue(all(float(row["interval_low"]) < float(row["interval_high"]) for row in rows))
        self.assertIn("too few to say", " ".join((run / "MODEL_CARD.md").read_text().split()))

    def test_missing_where_training_had_none(self):
        draw = random.Random(4)
        lines = ["x,z,y"] + [f"{x:.3f},{draw.random():.3f},{100 * (x > 0.2) + draw.gauss(0, 3):.2f}"
                             for x in (draw.random() for _ in range(300))]
        self.data.write_text("\n".join(lines) + "\n")
        run = self.folder / "run"
        self.run_ok("train", self.data, "--target", "y", "--out", run, *TRAIN, *ONE_MODEL)
        self.fresh.write_text("x,z\n,0.5\n0.5,0.5\n0.01,0.5\n")
        missing, middle, low = (float(row["prediction"]) for row in read_csv(self.run_ok("predict", run, self.fresh).out))
        self.assertLess(abs(missing - middle), abs(missing - low))


class BadTable(house.TestCase):
    def refuse(self, text, *arguments, code=1, says, target="class"):
        data = self.folder / "bad.csv"
        data.write_bytes(text if isinstance(text, bytes) else text.encode())
        run = self.folder / "refused"
        done = house.quern("train", data, "--target", target, "--out", run, *TRAIN, *arguments)
        self.assertEqual(done.code, code, done.err)
        self.assertIn(says, done.err)
        self.assertFalse((run / "config.resolved.toml").exists())

    def test_targets(self):
        table = make_table(60, 1)
        self.refuse(table, code=2, target="klass", says="did you mean 'class'")
        self.refuse("a,class\n1,x\n2,x\n", says="every row has the same 'class': x")
        self.refuse("a,class\n" + "1,x\n2,y\n" * 30 + "3,z\n", says="class 'z' has one row only")
        self.refuse(table, "--task", "regress", code=2, says="line 2: 'no' in the target 'class' is no number")
        prices = "a,class\n" + "".join(f"{i % 7},{i}.5\n" for i in range(60))
        self.refuse(prices + "1,1e308\n2,-1e308\n", says="too far to scale")
        self.refuse(prices + "1,1e999\n", says="line 62: '1e999' in the target 'class' is no number")
        self.refuse(table, "--task", "generate", code=2, says="learns no column")
        self.refuse("id,class\n" + "".join(f"r{i}x,{'ab'[i % 2]}\n" for i in range(50)), says="no column is left")

    def test_rows(self):
        self.refuse("a,class\n1,x\n2\n", says="line 3: 1 fields where the header has 2")
        self.refuse("", says="empty")
        self.refuse(b"a,class\n1,\xff\xfe\x00\x01\n", says="bad.csv")
        self.refuse("a,class\n", says="no rows")
        self.refuse(make_table(60, 1), "--set", "data.types=x = wide", code=2, says="no column type")
        self.refuse(make_table(60, 1), "--set", "data.split=time:note", says="neither a date nor a number")
        self.refuse(make_table(60, 1), "--set", "data.costs=cheap", code=2, says="two costs")
        for share in ["0", "", "1.5"]:
            self.refuse(make_table(60, 1), "--set", f"data.validation={share}", code=2, says="no share between 0 and 1")
        held = self.folder / "held.csv"
        held.write_text(make_table(60, 2))
        for key in ["data.split=time:x", "data.test=0.2"]:
            self.refuse(make_table(60, 1), "--set", f"data.validation={held}", "--set", key, code=2, says="leave one of them out")
        self.refuse(make_table(60, 1), "--set", "data.positive=maybe", code=2, says="give no or yes")
        self.refuse(make_table(60, 1), "--metric", "f1", code=2, target="price", says="no meaning for the task regress")
        self.refuse(make_table(60, 1), "--set", "data.costs=1:5", code=2, target="colour", says="one of two classes")
        done = house.quern("train", held, "--target", "class", "--out", self.folder / "refused", "--bit-exact")
        self.assertEqual((done.code, "without --steps or --epochs" in done.err), (2, True), done.err)

    def test_numbers_and_dates_out_of_range(self):
        lines = ["when,x,class"]
        for i in range(120):
            day = "2021-13-45" if i == 7 else f"2021-{i % 12 + 1:02}-{i % 28 + 1:02}"
            lines.append(f"{day},{'1e999' if i == 9 else i},{'ab'[i % 2]}")
        data = self.folder / "dates.csv"
        data.write_text("\n".join(lines) + "\n")
        done = self.run_ok("train", data, "--target", "class", "--out", self.folder / "dates", "--steps", "2", *ONE_MODEL)
        self.assertIn("line 9: '2021-13-45' is no date", done.err)
        self.assertIn("line 11: '1e999' is no number", done.err)

    def test_numbers_as_far_apart_as_they_go(self):
        draw = random.Random(3)
        rows = [(draw.uniform(-1.7, 1.7), draw.choice("ab")) for _ in range(300)]
        data = self.folder / "far.csv"
        data.write_text("x,letter,class\n" + "".join(f"{x}e308,{letter},{'yes' if x > 0 else 'no'}\n" for x, letter in rows))
        run = self.folder / "run"
        result = json.loads(self.run_ok("train", data, "--target", "class", "--out", run, "--json", *TRAIN).out)
        self.assertGreater(result["validation"]["auc"], 0.95)
        self.run_ok("predict", run, data)
        self.assertEqual(house.quern("check", data, "--target", "class").code, 3)  # x gives it away

    def test_prediction_on_other_columns(self):
        data = self.folder / "shop.csv"
        data.write_text(make_table(300, 1))
        run = self.folder / "run"
        self.run_ok("train", data, "--target", "class", "--out", run, *TRAIN, *ONE_MODEL)
        other = self.folder / "other.csv"
        other.write_text("x,weight\n1,2\n")
        done = house.quern("predict", run, other)
        self.assertEqual(done.code, 1)
        self.assertIn("colour, price", done.err.replace("price, colour", "colour, price"))
        other.write_text("x,colour,price,weight\n1,mauve,1e999,2\n")
        done = self.run_ok("predict", run, other)
        self.assertIn("does not read: weight", done.err)
        done = house.quern("generate", run, "Once")
        self.assertEqual(done.code, 1)
        self.assertIn("quern predict", done.err)
        done = house.quern("evaluate", run, other)
        self.assertIn("lacks the target 'class'", done.err)
        (run / "pipeline.json").write_text((run / "pipeline.json").read_text()[:300])
        self.assertEqual(house.quern("predict", run, other).code, 1)


if __name__ == "__main__":
    unittest.main()
