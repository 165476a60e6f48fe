"""quern check: what a table says of itself before training; exit code 3 for what is severe."""

import json
import random
import unittest

import house


def make_table(rows, seed, leak=False):
    draw = random.Random(seed)
    lines = ["customer_id,income,city,note,answer" + (",decided" if leak else "")]
    for row in range(rows):
        income = draw.gauss(50, 10)
        answer = "yes" if income + draw.gauss(0, 8) > 52 else "no"
        cells = [f"c{seed}x{row:05d}", "" if row % 10 == 3 else f"{income:.3f}", draw.choice(["Bonn", "北京", "Paris"]), "", answer]
        if leak:
            cells.append("granted" if answer == "yes" else "denied")
        lines.append(",".join(cells))
    return lines


class Check(house.TestCase):
    def write(self, name, lines):
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def check(self, *words, code=0):
        done = house.quern("check", *words, "--json", "--quiet")
        self.assertEqual(done.code, code, done.err)
        return json.loads(done.out)

    def kinds(self, report, severity=None):
        return {(one["kind"], one["where"]) for one in report["findings"] if severity in (None, one["severity"])}

    def test_a_clean_table(self):
        report = self.check(self.write("a.csv", make_table(600, 1)), "--target", "answer")
        self.assertEqual(report["rows"], 600)
        columns = {one["name"]: one for one in report["columns"]}
        self.assertEqual([columns[name]["type"] for name in ("customer_id", "income", "city", "note")],
                         ["id", "number", "category", "constant"])
        self.assertEqual(columns["income"]["missing"], 60)
        self.assertGreater(columns["income"]["auc_alone"], 0.7)
        self.assertLess(columns["city"]["auc_alone"], 0.6)
        self.assertEqual(self.kinds(report, "severe"), set())
        self.assertLessEqual({("identifier", "customer_id"), ("constant", "note"), ("missing", "income")}, self.kinds(report))

    def test_leakage_is_severe(self):
        path = self.write("a.csv", make_table(600, 1, leak=True))
        report = self.check(path, "--target", "answer", code=3)
        self.assertEqual(self.kinds(report, "severe"), {("leakage", "decided")})
        # Said to be left out, it leaks no more.
        report = self.check(path, "--target", "answer", "--set", "data.types=decided = ignore")
        self.assertEqual(self.kinds(report, "severe"), set())
        page = self.folder / "check.html"
        done = house.quern("check", path, "--target", "answer", "--html", page)
        self.assertEqual(done.code, 3)
        text = page.read_text()
        self.assertIn("decided", text)
        self.assertEqual(text.count("<svg"), 4)
        self.assertNotIn("<script", text)

    def test_a_copy_of_a_value_leaks(self):
        draw = random.Random(5)
        lines = ["price,cents,noise"]
        for _ in range(400):
            price = draw.expovariate(0.01)
            lines.append(f"{price:.2f},{price * 100:.0f},{draw.random():.4f}")
        report = self.check(self.write("a.csv", lines), "--target", "price", code=3)
        self.assertEqual(self.kinds(report, "severe"), {("leakage", "cents")})

    def test_repeats_outliers_and_slips(self):
        lines = make_table(400, 1)
        lines += lines[1:31]
        lines.append("c9,99999,Bonn,,yes")
        lines.append("c10,lots,Bonn,,no")
        report = self.check(self.write("a.csv", lines), "--target", "answer")
        found = {one["kind"]: one for one in report["findings"]}
        self.assertIn("30 rows", found["duplicates"]["detail"])
        self.assertIn("line 432", found["outliers"]["detail"])
        self.assertIn("lots", found["unreadable"]["detail"])

    def test_near_repeats_of_texts(self):
        words = "the quick brown fox jumps over a lazy dog while nobody looks and the sun goes down behind old hills".split()
        draw = random.Random(3)
        texts = [" ".join(draw.choices([*words, "river", "stone", "paper", "lamp", "north"], k=25)) for _ in range(120)]
        texts.append("Nearly: " + texts[7].upper())
        lines = ["text,label"] + [f"{text},{'a' if i % 2 else 'b'}" for i, text in enumerate(texts)]
        report = self.check(self.write("a.csv", lines), "--target", "label")
        near = [one for one in report["findings"] if one["kind"] == "near_duplicates"]
        self.assertEqual(len(near), 1)
        self.assertIn("1 of 121", near[0]["detail"])
        self.assertIn("line 122", near[0]["detail"])
        self.assertIn("line 9", near[0]["detail"])

    def test_against(self):
        first, second = make_table(400, 1), make_table(300, 2)
        second[10] = second[10].replace(second[10].split(",")[1], "1.5")
        shared = [line.replace("c1x", "other") for line in first[1:21]]
        report = self.check(self.write("a.csv", first), "--target", "answer", "--against",
                            self.write("b.csv", second + shared), code=3)
        rows = [one for one in report["findings"] if one["kind"] == "shared_rows"]
        self.assertEqual(rows[0]["severity"], "severe")
        alone = self.check(self.write("a.csv", first), "--target", "answer", "--against",
                           self.write("c.csv", [line.rsplit(",", 2)[0] + ",1" for line in second[:1]] + ["x,1.25,Oslo,1"]))
        self.assertIn(("columns", "c.csv"), self.kinds(alone, "warning"))

    def test_dates_targets_and_bad_input(self):
        lines = ["when,x,y"] + [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d},{i * 7 % 13},{i % 2}" for i in range(200)]
        report = self.check(self.write("a.csv", lines), "--target", "y")
        self.assertIn(("date_order", "when"), self.kinds(report))
        lines = ["x,y"] + [f"{i},same" for i in range(50)]
        self.assertIn(("target_constant", "y"),
                      self.kinds(self.check(self.write("b.csv", lines), "--target", "y", code=3), "severe"))
        done = house.quern("check", self.folder / "a.csv", "--target", "z")
        self.assertEqual(done.code, 2)
        self.assertIn("'z'", done.err)
        self.assertEqual(house.quern("check", self.folder / "none.csv").code, 1)
        self.assertEqual(house.quern("check", self.write("c.csv", ["a,b", "1,2,3"])).code, 1)


if __name__ == "__main__":
    unittest.main()
