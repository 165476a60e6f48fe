"""What a run says of itself: report.html, MODEL_CARD.md, events for TensorBoard; runs side by side."""

import json
import random
import re
import unittest

import house

TABLE = ["--steps", "60", "--set", "train.evaluate_every=20", "--set", "regularise.ensemble=2"]


def make_table(rows, seed):
    draw = random.Random(seed)
    lines = ["x,colour,price,class"]
    for _ in range(rows):
        x, colour = draw.uniform(-3, 3), draw.choice(["red", "<b>green</b>", "blue"])
        score = x + {"red": 2, "blue": -2}.get(colour, 0) + draw.gauss(0, 1)
        lines.append(f"{x:.4f},{colour},{100 + 20 * score:.2f},{'yes' if score > 1 else 'no'}")
    return "\n".join(lines) + "\n"


class Report(house.TestCase):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "shop.csv"
        self.data.write_text(make_table(600, 1))

    def train_table(self, name, target, *more):
        other = "price" if target == "class" else "class"
        run = self.folder / name
        done = self.run_ok("train", self.data, "--target", target, "--out", run, "--json", *TABLE,
                           "--set", f"data.types={other} = ignore", *more)
        return run, json.loads(done.out)

    def page(self, run):
        return self.assert_whole_page(run / "report.html")

    def card(self, run, *sections):
        card = (run / "MODEL_CARD.md").read_text(encoding="utf-8")
        for section in ["Intended use", "Limits", "Training", "Not known to Quern", *sections]:
            self.assertIn(f"## {section}\n", card)
        return card

    def events(self, run):
        return b"".join(path.read_bytes() for path in sorted(run.glob("events.out.tfevents.*")))

    def assert_projector(self, run, rows, *columns):
        """As many vectors of one width as labels; gives the labels."""
        self.assertIn('tensor_path: "embeddings.tsv"', (run / "projector_config.pbtxt").read_text())
        vectors = [line.split("\t") for line in (run / "embeddings.tsv").read_text().splitlines()]
        self.assertEqual(len({len(vector) for vector in vectors}), 1)
        self.assertGreater(len({tuple(vector) for vector in vectors}), rows / 2)
        header, *labels = [line.split("\t") for line in (run / "metadata.tsv").read_text(encoding="utf-8").split("\n")[:-1]]
        self.assertEqual(header, list(columns))
        self.assertEqual((len(vectors), len(labels)), (rows, rows))
        return labels

    def test_classes(self):
        run, result = self.train_table("run", "class")
        page = self.page(run)
        for heading in ["Learning curves", "Confusion", "ROC", "Precision and recall", "Reliability", "Errors worth looking at",
                        "done against overfitting", "logistic regression"]:
            self.assertIn(heading, page)
        self.assertIn("&lt;b&gt;green&lt;/b&gt;", page)
        # The matrix counts every validation row once.
        counts = [int(count) for count in re.findall(r"<title>[^<]* → [^<]*: (\d+) ", page)]
        self.assertEqual(len(counts), 4)
        self.assertEqual(sum(counts), result["validation"]["rows"])
        right = (counts[0] + counts[3]) / sum(counts)
        self.assertAlmostEqual(right, result["validation"]["accuracy"], places=6)
        card = self.card(run, "Data and split", "Metrics and baselines")
        self.assertIn("pipeline_tag: tabular-classification", card)
        self.assertIn(f"| auc | {result['validation']['auc']:.4f} (", card)
        self.assertIn("members that share weights", result["against_overfitting"])
        events = self.events(run)
        for tag in [b"precision_recall/yes", b"pr_curves", b"validation/auc", b"final/auc", b"predictions", b"_hparams_/experiment"]:
            self.assertIn(tag, events)
        folds = json.loads((run / "config.json").read_text())["encoder"]["copies"]
        labels = self.assert_projector(run, result["validation"]["rows"] // folds, "label", "prediction")
        self.assertEqual({label for label, _ in labels}, {"yes", "no"})
        said_right = sum(label == said for label, said in labels) / len(labels)
        self.assertAlmostEqual(said_right, right, delta=0.15)

    def test_values(self):
        run, result = self.train_table("run", "price")
        folds = json.loads((run / "config.json").read_text())["encoder"]["copies"]
        labels = self.assert_projector(run, result["validation"]["rows"] // folds, "label", "prediction")
        self.assertGreater(len({float(label) for label, _ in labels}), 50)
        page = self.page(run)
        self.assertIn("Residual against prediction", page)
        self.assertGreaterEqual(page.count("<circle"), 60)
        self.assertIn("tabular-regression", self.card(run))
        self.assertIn(b"validation/rmse", self.events(run))

    def test_one_evaluation_is_a_point(self):
        run = self.folder / "run"
        self.run_ok("train", self.data, "--target", "class", "--out", run, "--steps", "1")
        loss = self.page(run).split("</svg>")[0]
        self.assertEqual(loss.count("<circle"), 2)  # training and validation

    def test_pictures(self):
        draw = random.Random(3)
        for label, low in (("dark", 0), ("light", 90)):
            (self.folder / "photos" / label).mkdir(parents=True)
            for i in range(40):
                rows = [[low + draw.randrange(160) for _ in range(12)] for _ in range(12)]
                (self.folder / "photos" / label / f"{i}.png").write_bytes(house.png(rows))
        run = self.folder / "run"
        self.run_ok("train", self.folder / "photos", "--out", run, "--steps", "3", "--json", "--set", "data.validation=0.4",
                    "--set", "model.layers=1", "--set", "train.batch=16", "--set", "train.evaluate_every=3")
        page = self.page(run)
        wrong = int(re.search(r"(\d+) of \d+ validation rows are answered wrongly", page).group(1)) if "answered wrongly;" in page else 0
        self.assertEqual(page.count("<img src=\"data:image/png;base64,"), min(wrong, 24))
        self.assertIn("image-classification", self.card(run))
        self.assert_projector(run, 32, "label", "prediction")
        self.assertEqual(self.events(run).count(b"\x89PNG\r\n\x1a\n"), min(wrong, 12) + min(32 - min(wrong, 12), 12))

    def test_recommendations(self):
        draw = random.Random(1)
        lines = ["user_id,item_id,timestamp"]
        for user in range(150):
            at = draw.randrange(20)
            for step in range(6):
                lines.append(f"u{user},i{(at + step) % 20},{1000 * step + user}")
        log = self.folder / "log.csv"
        log.write_text("\n".join(lines) + "\n")
        run = self.folder / "run"
        self.run_ok("train", log, "--task", "recommend", "--out", run, "--steps", "20", "--json", "--set", "model.width=32",
                    "--set", "train.evaluate_every=10")
        page = self.page(run)
        self.assertIn("Hit rate by k", page)
        self.assertIn("NDCG by k", page)
        self.assertIn("item-item", self.card(run, "Data and split", "Metrics and baselines"))
        self.assertIn(b"final/ndcg@10", self.events(run))

    def test_texts(self):
        run = self.folder / "run"
        result = json.loads(self.train(run, "--steps", "20").out)
        self.assertIn("weight decay", result["against_overfitting"])
        self.assertIn("Learning curves", self.page(run))
        self.assertIn("bits per byte", self.card(run, "Data and split", "Metrics and baseline"))
        self.assertIn(b"generation/different_pairs", self.events(run))
        vocabulary = json.loads((run / "config.json").read_text())["vocab_size"]
        labels = self.assert_projector(run, min(vocabulary, 2000), "token", "id")
        self.assertEqual([int(id) for _, id in labels], list(range(len(labels))))
        self.assertIn('"a"', [token for token, _ in labels])

    def test_side_by_side(self):
        first, one = self.train_table("first", "class")
        second, two = self.train_table("second", "class", "--set", "regularise.dropout=0.3")
        page = self.folder / "compare.html"
        out = json.loads(self.run_ok("compare", first, second, "--json", "--html", page).out)
        self.assertEqual([run["run"] for run in out["runs"]], [str(first), str(second)])
        figures = {figure["name"]: figure for figure in out["figures"]}
        aucs = [one["validation"]["auc"], two["validation"]["auc"]]
        self.assertEqual(figures["validation.auc"]["values"], aucs)
        if aucs[0] != aucs[1]:
            self.assertEqual(figures["validation.auc"]["best"], str([first, second][aucs.index(max(aucs))]))
        self.assertEqual(out["options"]["regularise.dropout"][1], "0.3")
        self.assertEqual(out["warnings"], [])
        self.assertIn("<svg", self.assert_whole_page(page))
        self.assertIn("* the best of a row", self.run_ok("compare", first, second).out.decode())
        # The same data in another place.
        self.data = self.data.rename(self.folder / "shop-again.csv")
        moved, _ = self.train_table("moved", "class")
        self.assertEqual(json.loads(self.run_ok("compare", first, moved, "--json").out)["warnings"], [])
        third, _ = self.train_table("third", "price")
        warned = json.loads(self.run_ok("compare", first, third, "--json").out)
        self.assertIn("do not compare", warned["warnings"][0])
        self.assert_fails(2, "compare", first, says=["two"])
        self.assert_fails(1, "compare", first, self.folder / "none", says=["none"])


if __name__ == "__main__":
    unittest.main()
