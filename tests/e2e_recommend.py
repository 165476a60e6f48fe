"""What a user may take next: trained from a log, asked, scored, and given bad input."""

import csv
import io
import json
import math
import random
import re
import unittest

import house

TRAIN = ["--task", "recommend", "--set", "train.steps=120", "--set", "train.evaluate_every=40", "--set", "model.width=32"]
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
        self.assertEqual({one["name"] for one in result["baselines"]}, {"popularity", "own items", "item-item", "ease"})
        for name in ["config.json", "model.safetensors", "pipeline.json", "histories.jsonl", "report.html",
                     "MODEL_CARD.md", "metrics.json", "log.jsonl", "config.resolved.toml"]:
            self.assertTrue((run / name).is_file(), name)
        self.assertEqual(self.ask(run, "--history", "item 3,item 4,item 5")[0], "item 6")
        self.assertEqual(self.ask(run, "--history", "item 3,item 4", "-k", "1"), ["item 5"])
        self.assert_projector(run)

    def assert_projector(self, run):
        """The items' vectors, by how often they were taken; their cosines are those of recommend --similar."""
        vectors = [[float(x) for x in line.split("\t")] for line in (run / "embeddings.tsv").read_text().splitlines()]
        header, *labels = [line.split("\t") for line in (run / "metadata.tsv").read_text().splitlines()]
        self.assertEqual((header, len(labels), len(vectors)), (["item", "taken"], 60, 60))
        taken = [int(count) for _, count in labels]
        self.assertEqual(taken, sorted(taken, reverse=True))
        unit = {name: [x / math.hypot(*vector) for x in vector] for (name, _), vector in zip(labels, vectors)}
        near = max((other for other in unit if other != "item 3"),
                   key=lambda other: sum(x * y for x, y in zip(unit["item 3"], unit[other])))
        self.assertEqual(self.ask(run, "--similar", "item 3")[0], near)

    def test_evaluates_a_log(self):
        run, result, _ = self.train("--set", "train.evaluate_every=120")
        done = self.run_ok("evaluate", run, self.data, "--json")
        scores = json.loads(done.out)
        self.assertEqual((scores["task"], scores["rows"]), ("recommend", 400))
        self.assertIn("all 60 items of the run are ranked", scores["protocol"])
        # The last item of each user was held out of training: the same users, ranks and scores.
        for name in ["ndcg@10", "hr@10", "mrr", "coverage@10"]:
            score = scores["metrics"][name]
            self.assertAlmostEqual(score["value"], result["validation"][name], places=6)
            self.assertTrue(score["low"] <= score["value"] <= score["high"], score)
            self.assertAlmostEqual(scores["metrics"][name + ".with_repeats"]["value"],
                                   result["validation"]["with_repeats"][name], places=6)
        self.assertIn("what it held out is the test", scores["protocol"])
        short = json.loads(self.run_ok("evaluate", run, self.data, "-k", "1", "--json").out)["metrics"]
        self.assertLess(short["hr@1"]["value"], scores["metrics"]["hr@10"]["value"])
        # Another log has nothing that training held out.
        other = self.folder / "other.csv"
        other.write_text(make_log(50, 2))
        self.assertIn("protocol: each user's last", self.run_ok("evaluate", run, other).out.decode())
        for words, code, text in [(["-k", "61"], 2, "-k 61"), (["--table", "x"], 2, "--table")]:
            done = house.quern("evaluate", run, self.data, *words)
            self.assertEqual(done.code, code, done.err)
            self.assertIn(text, done.err)

    def test_evaluates_what_a_split_by_time_and_rare_items_left(self):
        lines = self.data.read_text().splitlines()
        lines += [f"u{user},rare {user},2024-01-02" for user in range(20)]
        self.data.write_text("\n".join(lines) + "\n")
        run, result, notes = self.train("--set", "data.split=time", "--set", "data.min_count=2", "--set", "train.steps=20")
        self.assertIn("20 rare items", notes)
        pipeline = json.loads((run / "pipeline.json").read_text())
        scores = json.loads(self.run_ok("evaluate", run, self.data, "--json").out)
        self.assertEqual(scores["rows"], pipeline["counts"]["tested_users"])
        self.assertLess(scores["rows"], 400)
        self.assertAlmostEqual(scores["metrics"]["ndcg@10"]["value"], result["validation"]["ndcg@10"], places=6)

    def test_columns_of_the_log_describe_its_items(self):
        head, *rows = self.data.read_text().splitlines()
        colours, things = ["red", "green", "blue", "old", "new"], ["cup", "shoe", "lamp", "book"]
        title = [f"{colours[i % 5]} {things[i % 4]} of a kind, number {i}" for i in range(ITEMS)]
        lines = [f'{row},"{title[int(row.split(",")[1].split()[1])]}"' for row in rows]
        lines += ['u1,rare 1,2024-01-01,"red cup of a kind, number 99"']
        self.data.write_text("\n".join([head + ",title", *lines]) + "\n")
        few = ["--set", "train.steps=20", "--set", "data.item_columns=title"]
        _, _, notes = self.train(*few)
        self.assertIn("item column title: text (", notes)
        # A rare item does not come back by its columns.
        run, _, notes = self.train(*few, "--set", "data.min_count=2", run="fewer")
        self.assertIn("1 rare items", notes)
        self.assertIn("0 of 60 items are not in the training part", notes)
        self.assertNotIn("rare 1", json.loads((run / "pipeline.json").read_text())["items"])

    def test_a_small_catalogue(self):
        draw = random.Random(3)
        self.data.write_text("user,item\n" + "".join(f"Ann {u},i{draw.randrange(6)}\n" for u in range(20) for _ in range(5)))
        run = self.folder / "run of six"
        done = self.run_ok("train", self.data, "--task", "recommend", "--out", run, "--steps", "5")
        self.assertIn(f"quern recommend '{run}' --user 'Ann 0'", done.out.decode())
        self.assertEqual(len(self.ask(run, "--user", "Ann 0", "--include-seen")), 6)
        self.assertIn("hr@6", json.loads(self.run_ok("evaluate", run, self.data, "--json").out)["metrics"])
        self.assertEqual(house.quern("recommend", run, "--user", "Ann 0", "-k", "7").code, 2)

    def test_items_never_taken_are_known_by_their_columns(self):
        # What comes next is any item of the next kind.
        draw = random.Random(5)
        kinds = 6
        catalogue = ["product,kind,weight"] + [f"item {i},kind {i % kinds},{1 + i % 7}.5" for i in range(ITEMS)]
        catalogue += [f"new {kind},kind {kind},{1 + kind}.5" for kind in range(kinds)]
        table = self.folder / "items.csv"
        table.write_text("\n".join(catalogue) + "\n")
        lines = ["customer_id,product"]
        for user in range(300):
            at = draw.randrange(kinds)
            for _ in range(12):
                lines.append(f"u{user},item {at + kinds * draw.randrange(ITEMS // kinds)}")
                at = (at + 1) % kinds
        self.data.write_text("\n".join(lines) + "\n")
        run, _, notes = self.train("--items", table, "--set", "train.steps=200", "--set", "regularise.item_dropout=0.3")
        self.assertIn("item column kind: category", notes)
        self.assertIn("6 of 66 items are not in the training part", notes)
        for kind in range(kinds):
            history = ",".join(f"item {(kind + step) % kinds + kinds * step}" for step in range(4))
            listed = [one for one in self.ask(run, "--history", history, "-k", "62") if one.startswith("new")]
            self.assertEqual(listed[0], f"new {(kind + 4) % kinds}", history)
        self.assertIn("kind", json.loads((run / "pipeline.json").read_text())["item_sides"]["columns"])
        self.assertEqual(len(self.ask(run, "--similar", "new 2", "-k", "3")), 3)

    def test_sampled_softmax(self):
        small = ["--set", "model.context=8", "--set", "train.batch=4", "--set", "train.candidates=40", "--set", "train.steps=1500"]
        one, result, _ = self.train(*small, "--threads", "1", run="one")
        two, _, _ = self.train(*small, "--threads", "2", run="two")
        self.assertGreater(result["validation"]["ndcg@10"], 0.6)
        self.assertGreater(result["validation"]["ndcg@10"], result["baseline"]["ndcg@10"])
        self.assertEqual(house.weights_hash(one), house.weights_hash(two))
        done = house.quern("train", self.data, "--out", self.folder / "few", *TRAIN, "--set", "data.item=product",
                           "--set", "train.candidates=9")
        self.assertEqual(done.code, 2, done.err)
        self.assertIn("train.candidates = 9", done.err)
        self.assertIn("give 0 for all items, or make train.batch smaller", done.err)  # a step has more targets than items
        for count in ["31", "60"]:  # fewer than a step's targets, and as many as there are items: no sample
            done = house.quern("train", self.data, "--out", self.folder / "few", *TRAIN, *small[:4], "--set", "data.item=product",
                               "--set", f"train.candidates={count}")
            self.assertEqual(done.code, 2, done.err)
            self.assertIn("give a number from 32 to 59, or 0 for all items", done.err)

    def test_more_items_than_memory_holds(self):
        log = self.folder / "many.csv"
        log.write_text("user,item\n" + "".join(f"u{i % 50},i{i}\n" for i in range(50000)) + "u1,i0\nu2,i0\nu3,i0\n")
        out = self.folder / "many"
        done = house.quern("train", log, "--task", "recommend", "--out", out, "--steps", "2", "--memory", "50MB", "--json")
        self.assertEqual(done.code, 1, done.err)
        self.assertEqual(done.json["error"]["code"], "not_enough_memory")
        self.assertIn("data.min_count", done.json["error"]["hint"])
        self.assertFalse(out.exists())
        fewer = house.quern("train", log, "--task", "recommend", "--out", out, "--steps", "2", "--memory", "50MB",
                            "--set", "data.min_count=2")
        self.assertIn("49999 rare items", fewer.err)
        self.assertEqual(fewer.code, 1)  # one item each is too short a history to test on

    def test_what_scoring_takes_is_counted(self):
        ask = ["train", self.data, "--out", self.folder / "run", *TRAIN, "--set", "data.item=product", "--steps", "1", "--json"]
        message = house.quern(*ask, "--memory", "1MB").json["error"]["message"]
        whole, scoring, there = (float(size) for size in re.findall(r"([0-9.]+) MB", message))
        self.assertEqual(there, 1)
        self.assertGreater(scoring, 0)
        # Without the ranker and the baselines it would fit.
        done = house.quern(*ask, "--memory", f"{whole - scoring / 2:.2f}MB")
        self.assertEqual(done.json["error"]["code"], "not_enough_memory")
        self.run_ok(*ask, "--memory", f"{whole + 0.1:.2f}MB")

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
        self.assertIn("does not know", done.err)
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
                ("late", "user,item,time\na,1,2024-01-01\na,2,2024-13-45\nb,1,2024-01-02\n", "2024-13-45"),
                ("beyond", "user,item,time\na,1,100\na,2,1e999\nb,1,300\n", "is no time"),
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
