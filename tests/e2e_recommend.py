"""What a user may take next: trained from a log, asked, scored, and given bad input."""

import csv
import io
import json
import random
import unittest

import house

TRAIN = ["--task", "recommend", "--steps", "120", "--set", "train.evaluate_every=40", "--set", "model.width=32"]
ITEMS = 60


def make_log(users, seed):
    """Each user walks a circle of items, with a tenth of noise: the next item follows from the last."""
    draw = random.Random(seed)
    lines = ["customer_id,product,when"]
    for user in range(users):
        at = draw.randrange(ITEMS)
        for step in range(draw.randint(6, 15)):
            lines.append(f"u{user},item {at},2024-{1 + step // 28:02d}-{1 + step % 28:02d}")
            at = draw.randrange(ITEMS) if draw.random() < 0.1 else (at + 1) % ITEMS
    head, body = lines[0], lines[1:]
    draw.shuffle(body)  # the order comes from the times
    return "\n".join([head, *body]) + "\n"


class Recommend(house.TestCase):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "log.csv"
        self.data.write_text(make_log(400, 1))

    def train(self, *more, run="run"):
        folder = self.folder / run
        done = self.run_ok("train", self.data, "--out", folder, "--json", *TRAIN, "--set", "data.item=product", *more)
        return folder, json.loads(done.out), done.err

    def ask(self, run, *words):
        return [one["item"] for one in json.loads(self.run_ok("recommend", run, *words, "--json").out)["items"]]

    def test_learns_the_walk(self):
        run, result, notes = self.train()
        self.assertEqual(result["task"], "recommend")
        self.assertIn("data.user: customer_id", notes)
        self.assertIn("data.time: when", notes)
        self.assertGreater(result["validation"]["ndcg@10"], 0.8)
        self.assertGreater(result["validation"]["ndcg@10"], result["baseline"]["ndcg@10"])
        self.assertEqual({one["name"] for one in result["baselines"]}, {"popularity", "item-item"})
        for name in ["config.json", "model.safetensors", "pipeline.json", "histories.jsonl", "report.html",
                     "MODEL_CARD.md", "metrics.json", "log.jsonl", "config.resolved.toml"]:
            self.assertTrue((run / name).is_file(), name)
        self.assertEqual(self.ask(run, "--history", "item 3,item 4,item 5")[0], "item 6")
        self.assertEqual(self.ask(run, "--history", "item 3,item 4", "-k", "1"), ["item 5"])

    def test_seen_items_are_left_out(self):
        run, _, _ = self.train("--set", "train.evaluate_every=120")
        history = ["item 3", "item 4", "item 5", "item 6"]
        listed = self.ask(run, "--history", ",".join(history), "-k", str(ITEMS))
        self.assertEqual(len(listed), ITEMS - 4)
        self.assertFalse(set(history) & set(listed))
        every = self.ask(run, "--history", ",".join(history), "-k", str(ITEMS), "--include-seen")
        self.assertEqual(len(every), ITEMS)
        self.assertNotIn("item 3", self.ask(run, "--similar", "item 3", "-k", str(ITEMS)))
        # A known user is answered from what the log says of that user.
        rows = [row for row in csv.DictReader(io.StringIO(self.data.read_text())) if row["customer_id"] == "u7"]
        rows.sort(key=lambda row: row["when"])
        taken = [row["product"] for row in rows]
        self.assertEqual(self.ask(run, "--user", "u7"), self.ask(run, "--history", ",".join(taken)))

    def test_file_of_histories(self):
        run, _, _ = self.train("--set", "train.evaluate_every=120")
        fresh = self.folder / "fresh.csv"
        fresh.write_text('customer_id,product\nnew,item 8\nnew,item 9\n"a, b",nothing known\n')
        out = self.folder / "out.csv"
        done = self.run_ok("recommend", run, fresh, "-k", "2", "-o", out)
        self.assertIn("left out", done.err)
        rows = list(csv.DictReader(io.StringIO(out.read_text())))
        self.assertEqual([(row["user"], row["rank"]) for row in rows],
                         [("new", "1"), ("new", "2"), ("a, b", "1"), ("a, b", "2")])
        self.assertEqual(rows[0]["item"], "item 10")

    def test_same_bits_at_one_and_two_threads(self):
        whole, _, _ = self.train("--threads", "1", run="whole")
        again, _, _ = self.train("--threads", "2", run="again")
        model = (whole / "model.safetensors").read_bytes()
        self.assertEqual(model, (again / "model.safetensors").read_bytes())

    def test_bad_input(self):
        run, _, _ = self.train("--set", "train.evaluate_every=120")
        for words, code, text in [
                (["recommend", run], 2, "for whom"),
                (["recommend", run, "--user", "u7", "--similar", "item 1"], 2, "more than one"),
                (["recommend", run, "--user", "nobody"], 2, "nobody"),
                (["recommend", run, "--history", "item 3,itm 4"], 2, "item 4"),
                (["recommend", run, "--user", "u7", "-k", "0"], 2, "-k 0"),
                (["generate", run], 1, "recommend")]:
            with self.subTest(words[1:]):
                done = house.quern(*words)
                self.assertEqual(done.code, code, done.err)
                self.assertIn(text, done.err)

    def test_bad_logs(self):
        for name, text, message in [
                ("one_user", "user,item\n" + "".join(f"a,i{k}\n" for k in range(9)), "one user"),
                ("no_item", "user,thing\na,1\nb,2\n", "item"),
                ("bad_time", "user,item,time\na,1,2024-01-01\na,2,soon\nb,1,2024-01-02\n", "soon"),
                ("short", "user,item\na,1\nb,2\nc,3\n", "once only")]:
            with self.subTest(name):
                log = self.folder / f"{name}.csv"
                log.write_text(text)
                out = self.folder / name
                done = house.quern("train", log, "--task", "recommend", "--out", out, "--steps", "2")
                self.assertEqual(done.code, 2 if name == "no_item" else 1, done.err)
                self.assertIn(message, done.err)
                self.assertNotIn("internal", done.err)
                self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
