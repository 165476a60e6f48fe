"""quern diagnose: overfitting, calibration, leakage and drift of a run, with exit code 3 for drift."""

import contextlib
import json
import random
import sqlite3
import unittest

import house

MODEL = ["--set", "model.layers=1", "--set", "model.width=16", "--set", "regularise.ensemble=1",
         "--set", "train.batch=32", "--threads", "2"]


def people(rows, seed, shift=0.0, answers=True):
    """Income tells the answer, but a third of the answers are wrong."""
    draw = random.Random(seed)
    lines = ["income,city,age,hours,job" + (",answer" if answers else "")]
    for _ in range(rows):
        income = draw.gauss(50, 10)
        answer = "yes" if (income > 50) != (draw.random() < 0.3) else "no"
        cells = [f"{income + shift:.3f}", draw.choice(["Bonn", "北京", "Paris"]), str(draw.randint(20, 70)),
                 f"{draw.random():.4f}", draw.choice(["miller", "baker"])]
        lines.append(",".join(cells + ([answer] if answers else [])))
    return "\n".join(lines) + "\n"


class Diagnose(house.TestCase):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "people.csv"
        self.data.write_text(people(400, 1))
        self.run = self.folder / "run"

    def learn(self, run, *arguments):
        self.run_ok("train", self.data, "--target", "answer", "--out", run, "--quiet", *MODEL, *arguments)

    def diagnose(self, *words, code=0):
        done = house.quern("diagnose", *words, "--json", "--quiet")
        self.assertEqual(done.code, code, done.err)
        return done.json

    def test_a_run_and_new_rows(self):
        self.learn(self.run, "--steps", "60", "--set", "data.validation=0.4")
        page = self.folder / "diagnosis.html"
        report = self.diagnose(self.run, "--html", page)
        over = report["overfitting"]
        self.assertIn(over["verdict"], ("none", "slight"))
        self.assertAlmostEqual(over["gap"], over["held_out_loss"] - over["train_loss"], places=9)
        self.assertLessEqual(over["membership_auc"]["low"], 0.55)
        self.assertEqual(report["calibration"]["of"], "validation rows")
        self.assertGreater(report["calibration"]["brier"], 0.1)
        self.assertGreater(report["calibration"]["temperature"], 0)
        self.assertEqual(report["leakage"]["exact"], 0)
        self.assertFalse(report["drift"]["found"])
        self.assertEqual({one["name"] for one in report["drift"]["columns"]}, {"income", "city", "age", "hours", "job"})
        self.assertIn("Calibration", self.assert_whole_page(page))
        # The training data itself is not new.
        self.assertEqual(self.diagnose(self.run, self.data)["overfitting"], over)

        fresh = self.folder / "fresh.csv"
        fresh.write_text(people(300, 2))
        report = self.diagnose(self.run, fresh)
        self.assertEqual(report["calibration"]["of"], "new rows")
        self.assertEqual(report["calibration"]["rows"], 300)
        self.assertFalse(report["drift"]["found"])

        moved = self.folder / "moved.csv"
        moved.write_text(people(300, 3, shift=15, answers=False))
        report = self.diagnose(self.run, moved, code=3)
        self.assertIsNone(report["calibration"])
        first = report["drift"]["columns"][0]
        self.assertEqual((first["name"], first["drifted"]), ("income", True))
        self.assertGreater(first["ks"], 0.4)
        self.assertEqual([one["drifted"] for one in report["drift"]["columns"][1:]], [False] * 4)
        self.diagnose(self.run, moved, "--drift-limit", "50")

        copied = self.folder / "copied.csv"
        lines = self.data.read_text().splitlines()
        copied.write_text("\n".join(lines[:101]) + "\n")
        leak = self.diagnose(self.run, copied)["leakage"]
        self.assertEqual(leak["rows"], 100)
        self.assertGreater(leak["exact"], 30)

    def test_a_model_that_learned_by_heart_is_found_out(self):
        self.learn(self.run, "--steps", "600", "--set", "data.validation=0.4", "--set", "model.width=64",
                   "--set", "regularise.dropout=0", "--set", "regularise.column_dropout=0",
                   "--set", "regularise.weight_decay=0", "--set", "train.patience=1000",
                   "--set", "train.learning_rate=0.003", "--set", "train.evaluate_every=600")
        over = self.diagnose(self.run)["overfitting"]
        self.assertEqual(over["verdict"], "overfits")
        self.assertGreater(over["membership_auc"]["low"], 0.6)
        self.assertGreater(over["gap_low"], 0)

    def test_several_folds(self):
        """Every row is held out once, answered by the copy that did not learn from it."""
        self.learn(self.run, "--steps", "300", "--folds", "3", "--set", "model.width=64", "--set", "regularise.dropout=0",
                   "--set", "regularise.column_dropout=0", "--set", "regularise.weight_decay=0", "--set",
                   "train.patience=1000", "--set", "train.learning_rate=0.003", "--set", "train.evaluate_every=300")
        report = self.diagnose(self.run)
        self.assertEqual(report["calibration"]["rows"], 400)
        over = report["overfitting"]
        self.assertEqual(over["verdict"], "overfits")
        self.assertGreater(over["membership_auc"]["low"], 0.6)
        # What training said of the rows that a copy did not see is what these copies say again.
        said = json.loads((self.run / "metrics.json").read_text())["validation"]
        self.assertAlmostEqual(report["calibration"]["brier"], said["brier"], places=5)
        self.assertFalse(report["drift"]["found"])

    def test_learning_afresh(self):
        self.learn(self.run, "--steps", "40", "--set", "data.validation=0.4")
        over = self.diagnose(self.run, "--retrain", "8s")["overfitting"]
        self.assertEqual([one["fraction"] for one in over["learning_curve"]], [0.25, 0.5, 1])
        self.assertEqual(over["metric"], "auc")
        self.assertGreater(over["learning_curve"][-1]["score"], over["shuffled_answers"]["score"])

    def test_values(self):
        lines = ["x,y"]
        draw = random.Random(1)
        for _ in range(300):
            x = draw.random()
            lines.append(f"{x:.4f},{3 * x + draw.gauss(0, 0.3):.4f}")
        table = self.folder / "values.csv"
        table.write_text("\n".join(lines) + "\n")
        self.run_ok("train", table, "--target", "y", "--out", self.run, "--quiet", "--steps", "60", *MODEL)
        report = self.diagnose(self.run)
        self.assertEqual(report["task"], "regress")
        self.assertGreaterEqual(report["calibration"]["coverage_of_90"]["value"], 0.85)

    def test_damaged_scores_are_named(self):
        self.learn(self.run, "--steps", "5")
        for damaged in ('{"verdict": "go', "[1]"):
            (self.run / "metrics.json").write_text(damaged)
            self.assert_fails(1, "diagnose", self.run, says=["metrics.json"])
        (self.run / "metrics.json").write_text('{"verdict": 3}')
        self.diagnose(self.run)

    def test_rows_in_a_database(self):
        def store(path, tables):
            with contextlib.closing(sqlite3.connect(path)) as database:
                for name, text in tables.items():
                    head, *rows = (line.split(",") for line in text.splitlines())
                    database.execute(f"CREATE TABLE {name} ({','.join(head)})")
                    database.executemany(f"INSERT INTO {name} VALUES ({','.join('?' * len(head))})", rows)
                database.commit()

        self.data = self.folder / "people.db"
        store(self.data, {"people": people(400, 1), "other": "a\n1\n"})
        self.learn(self.run, "--table", "people", "--steps", "40", "--set", "data.validation=0.4")
        self.assertEqual(self.diagnose(self.run)["leakage"]["of"], "validation rows")
        self.assertEqual(self.diagnose(self.run, self.data)["leakage"]["of"], "validation rows")
        fresh = self.folder / "fresh.db"
        store(fresh, {"people": people(300, 2), "moved": people(300, 3, shift=15)})
        self.assertFalse(self.diagnose(self.run, fresh)["drift"]["found"])
        self.diagnose(self.run, fresh, "--table", "moved", code=3)
        plain = self.folder / "fresh.csv"
        plain.write_text(people(300, 2))
        self.assertEqual(self.diagnose(self.run, plain)["calibration"]["rows"], 300)
        over = self.diagnose(self.run, "--retrain", "4s")["overfitting"]
        self.assertEqual(len(over["learning_curve"]), 3)

    def test_what_it_cannot_do(self):
        self.learn(self.run, "--steps", "5")
        moved = self.folder / "elsewhere.csv"
        self.data.rename(moved)
        self.assert_fails(1, "diagnose", self.run, says=["people.csv", "gone", "--training"])
        self.diagnose(self.run, "--training", moved)
        moved.write_text(people(400, 9))
        self.assert_fails(1, "diagnose", self.run, "--training", moved, says=["changed"])
        self.assert_fails(2, "diagnose", says=["RUN"])
        text_run = self.folder / "text-run"
        self.train(text_run, "--steps", "2")
        self.assert_fails(1, "diagnose", text_run, says=["generate"])


if __name__ == "__main__":
    unittest.main()
