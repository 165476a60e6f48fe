"""Tables from databases and Parquet: the same answers as from the same rows in CSV."""

import csv
import json
import pathlib
import random
import sqlite3
import unittest

import house

GOLDEN = pathlib.Path(__file__).with_name("golden") / "table.parquet"


class Readers(house.TestCase):
    def setUp(self):
        super().setUp()
        draw = random.Random(3)
        self.rows = [(f"u{draw.randrange(30)}", f"item {draw.randrange(12)}", 1700000000 + 60 * i, round(draw.random(), 3))
                     for i in range(400)]
        self.csv = self.folder / "orders.csv"
        with open(self.csv, "w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([("user_id", "item_id", "timestamp", "price"), *self.rows])
        self.database = self.folder / "shop.db"
        with sqlite3.connect(self.database) as base:
            base.execute("CREATE TABLE orders (user_id TEXT, item_id TEXT, timestamp INTEGER, price REAL)")
            base.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", self.rows)

    def test_database_is_the_same_table(self):
        flat = json.loads(self.run_ok("check", self.csv, "--json").out)
        base = self.run_ok("check", self.database, "--json")
        self.assertIn("table orders", base.err)
        self.assertEqual(flat["columns"], json.loads(base.out)["columns"])
        hashes = []
        for data in [self.csv, self.database]:
            run = self.folder / f"run-{data.suffix[1:]}"
            self.run_ok("train", data, "--task", "recommend", "--out", run, "--steps", "3", "--set", "model.width=16")
            hashes.append(house.weights_hash(run))
        self.assertEqual(hashes[0], hashes[1])

    def test_which_table(self):
        with sqlite3.connect(self.database) as base:
            base.execute("CREATE TABLE users (name TEXT, age INTEGER)")
            base.executemany("INSERT INTO users VALUES (?, ?)", [(f"n{i}", 20 + i % 40) for i in range(50)])
        for words, code, text in [
                ([], 2, "orders, users"),
                (["--table", "user"], 2, "did you mean 'users'"),
                (["--table", "users"], 0, "")]:
            with self.subTest(words):
                done = house.quern("check", self.database, *words, "--json")
                self.assertEqual(done.code, code, done.err)
                self.assertIn(text, done.err)
        self.assertEqual(done.json["rows"], 50)
        again = house.quern("check", self.database, "--set", "data.table=users", "--json")
        self.assertEqual(again.out, done.out)

    def test_bad_databases(self):
        (self.folder / "text.db").write_text("a,b\n1,2\n")
        (self.folder / "cut.db").write_bytes(self.database.read_bytes()[:5000])
        for name, words, code, text in [
                ("text.db", [], 1, "no SQLite database"),
                ("cut.db", [], 1, "it was cut short"),
                ("none.db", [], 1, "none.db"),
                ("shop.db", [], 2, "--target")]:
            with self.subTest(name):
                out = self.folder / "bad-run"
                done = house.quern("train", self.folder / name, "--out", out, *(["--target", "b"] if code == 1 else []))
                self.assertEqual(done.code, code, done.err)
                self.assertIn(text, done.err)
                self.assertNotIn("internal", done.err)
                self.assertFalse(out.exists())

    def test_parquet_or_what_to_install(self):
        done = house.quern("check", GOLDEN, "--json")
        if done.code == 1:
            self.assertEqual(done.json["error"]["code"], "no_parquet")
            self.assertIn("libparquet-dev", done.json["error"]["hint"])
        else:
            self.assertEqual(done.json["rows"], 3)


if __name__ == "__main__":
    unittest.main()
