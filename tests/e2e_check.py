"""quern check: what data says of itself before training; exit code 3 for what is severe."""

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
        text = self.assert_whole_page(page)
        self.assertIn("decided", text)
        self.assertEqual(text.count("<svg"), 4)

    def test_the_target_is_judged_as_training_takes_it(self):
        # Fifteen whole numbers are values to training, ten are classes.
        for values, measure, task in ((15, "r2_alone", "regress"), (10, "auc_alone", "classify")):
            lines = ["x,y"] + [f"{i * 7 % 31},{i % values}" for i in range(300)]
            path = self.write(f"{values}.csv", lines)
            self.assertIn(measure, self.check(path, "--target", "y")["columns"][0])
            done = self.run_ok("train", path, "--target", "y", "--out", self.folder / f"run{values}", "--steps", 2)
            self.assertIn(f"task: {task}", done.err)
        said = self.check(self.folder / "10.csv", "--target", "y", "--task", "regress")
        self.assertIn("r2_alone", said["columns"][0])

    def test_targets_that_training_refuses_are_severe(self):
        for name, answers, kind in (("single", ["a", "b"] * 30 + ["c"], "balance"),
                                    ("word", [f"{i}.5" for i in range(60)] + ["1e999"], "target_unreadable"),
                                    ("many", [f"k{i // 2}" for i in range(2004)], "balance")):
            lines = ["x,y"] + [f"{i % 7},{answer}" for i, answer in enumerate(answers)]
            path = self.write(f"{name}.csv", lines)
            self.assertIn((kind, "y"), self.kinds(self.check(path, "--target", "y", code=3), "severe"))
            self.assertEqual(house.quern("train", path, "--target", "y", "--out", self.folder / name).code, 1)

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
        self.assertIn("1 of 121 different texts", near[0]["detail"])
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
        seen = [[line.split(",")[1:4] for line in lines] for lines in (first[1:], [*second[1:], *shared])]
        self.assertIn(f"{sum(row in seen[0] for row in seen[1])} of 320 rows of b.csv", rows[0]["detail"])
        self.assertIn(f"{sum(row in seen[1] for row in seen[0])} of 400 the other way", rows[0]["detail"])
        alone = self.check(self.write("a.csv", first), "--target", "answer", "--against",
                           self.write("c.csv", [line.rsplit(",", 2)[0] + ",1" for line in second[:1]] + ["x,1.25,Oslo,1"]))
        self.assertIn(("columns", "c.csv"), self.kinds(alone, "warning"))

    def test_against_the_same_values_written_otherwise(self):
        draw = random.Random(8)
        values = [(draw.randrange(18, 90), draw.choice(["Bonn", "Oslo"]), draw.randrange(10**6)) for _ in range(200)]
        train = ["age,city,pay,y"] + [f"{age}.0,{city},{pay},{i % 2}" for i, (age, city, pay) in enumerate(values)] + [",Bonn,7,1"]
        test = ["age,city,pay,y"] + [f'{age},{city},"{pay:,}",0' for age, city, pay in values[:50]] + ["NA,Bonn,7,1", "3,Bonn,8,1"]
        report = self.check(self.write("train.csv", train), "--target", "y", "--against", self.write("test.csv", test), code=3)
        shared = next(one for one in report["findings"] if one["kind"] == "shared_rows")
        self.assertIn("51 of 52 rows of test.csv", shared["detail"])

    def test_repeats_under_other_identifiers(self):
        lines = ["id,x,colour,y"] + [f"c{copy}{i},{i * 7 % 41},{'rgb'[i % 3]},{'no' if i % 4 else 'yes'}"
                                     for copy in range(3) for i in range(40)]
        path = self.write("a.csv", lines)
        repeats = next(one for one in self.check(path, "--target", "y")["findings"] if one["kind"] == "duplicates")
        self.assertIn("80 rows (66.7 %)", repeats["detail"])
        self.assertIn("training keeps them on one side", repeats["detail"])
        done = self.run_ok("train", path, "--target", "y", "--out", self.folder / "run", "--steps", "2", "--folds", "1")
        self.assertIn("80 repeated rows stay with their first", done.err)

    def test_one_document_is_compared_whole(self):
        words = [f"line {i} of a story that goes on and on" for i in range(60)]
        train, test = self.write("train.txt", words), self.write("test.txt", words[20:40])
        self.assertIn(("one_document", "test.txt"), self.kinds(self.check(train, "--against", test)))
        lines = self.check(train, "--against", test, "--set", "data.documents=line", code=3)
        self.assertIn("20 of 20 rows of test.txt", str(lines["findings"]))

    def test_near_repeats_against_another_file(self):
        draw = random.Random(7)
        words = "river stone paper lamp north quick brown fox lazy dog over hill sun goes down by".split()
        def text():
            return " ".join(draw.choices(words, k=30))
        train = [text() for _ in range(200)]
        # Three that nearly repeat one of train and, nearer still, each other; one differs in dress; one is a copy.
        test = [text() for _ in range(60)] + [train[5] + tail for tail in (" a", " a b", " a b c")]
        test += [train[9].upper() + "!", train[11]]
        files = [self.write(name, ["text,label"] + [f"{one},{'ab'[i % 2]}" for i, one in enumerate(texts)])
                 for name, texts in (("test.csv", test), ("train.csv", train))]
        report = self.check(files[0], "--target", "label", "--against", files[1], code=3)
        found = {one["kind"]: one["detail"] for one in report["findings"]}
        self.assertIn("2 of 200 texts of train.csv nearly repeat one of test.csv", found["shared_nearly"])
        self.assertIn("and 4 of 65 the other way", found["shared_nearly"])
        self.assertIn("1 of 200 rows of train.csv", found["shared_rows"])

    def test_strong_columns_are_asked_about(self):
        draw = random.Random(2)
        lines = ["duration,colour,bought"]
        for _ in range(800):
            bought = draw.random() < 0.4
            lines.append(f"{draw.gauss(3 if bought else 1.2, 1):.3f},{draw.choice('rgb')},{'yes' if bought else 'no'}")
        report = self.check(self.write("a.csv", lines), "--target", "bought")
        found = [one for one in report["findings"] if one["kind"] == "leakage"]
        self.assertEqual([(one["where"], one["severity"]) for one in found], [("duration", "note")])
        self.assertIn("known at decision time?", found[0]["detail"])

    def test_texts(self):
        path = self.folder / "poems.txt"
        texts = ["春风又绿江南岸，明月何时照我还。", "A plain line of English words, neither short nor long.",
                 "cafÃ© encoded twice", "a lost \ufffd character"]
        path.write_text("\n%\n".join([*texts, texts[1]]) + "\n%\n", encoding="utf-8")
        report = self.check(path)
        self.assertEqual((report["kind"], report["rows"]), ("texts", 5))
        column = report["columns"][0]
        self.assertEqual((column["name"], column["type"]), ("text", "text"))
        self.assertIn("Latin", column["summary"])
        self.assertIn("Han", column["summary"])
        self.assertEqual(sum(one["rows"] for one in column["frequencies"]), 5)
        found = {one["kind"]: one for one in report["findings"]}
        self.assertIn("1 rows (20.0 %)", found["duplicates"]["detail"])
        self.assertIn("document 5", found["duplicates"]["where"])
        self.assertIn("document 3", found["encoded_twice"]["detail"])
        self.assertIn("document 4", found["lost_characters"]["detail"])
        other = self.folder / "other.txt"
        other.write_text(texts[0] + "\n%\nSomething else.\n%\n\nAnd more.\n%\n", encoding="utf-8")
        report = self.check(path, "--against", other, code=3)
        shared = [one for one in report["findings"] if one["kind"] == "shared_rows"]
        self.assertIn("1 of 3 rows of other.txt", shared[0]["detail"])

    def write_pictures(self, folder, seed, count=12, side=24):
        """Grey PNG files of noise by class."""
        draw = random.Random(seed)
        for label in ("cat", "dog"):
            (folder / label).mkdir(parents=True)
            for i in range(count):
                rows = [[draw.randrange(256) for _ in range(side)] for _ in range(side)]
                (folder / label / f"{i}.png").write_bytes(house.png(rows))

    def test_pictures(self):
        folder = self.folder / "photos"
        self.write_pictures(folder, 1)
        report = self.check(folder)
        self.assertEqual((report["kind"], report["rows"]), ("pictures", 24))
        image = report["columns"][0]
        self.assertEqual(image["frequencies"], [{"label": "24×24", "rows": 24}])
        self.assertEqual(self.kinds(report, "severe"), set())
        copy = (folder / "cat/3.png").read_bytes()
        (folder / "dog/copy.png").write_bytes(copy)
        draw = random.Random(9)
        smooth = [[8 * x + y for x in range(24)] for y in range(24)]
        (folder / "cat/smooth.png").write_bytes(house.png(smooth))
        (folder / "cat/smoother.png").write_bytes(house.png([[min(255, v + draw.randrange(2)) for v in row] for row in smooth]))
        (folder / "dog/broken.png").write_bytes(copy[:100])
        (folder / "dog/long.png").write_bytes(house.png([[7] * 64 for _ in range(8)]))
        report = self.check(folder, code=3)
        found = {one["kind"]: one for one in report["findings"]}
        self.assertEqual(found["broken_pictures"]["severity"], "severe")
        self.assertIn("broken.png", found["broken_pictures"]["detail"])
        self.assertIn("copy.png", found["duplicates"]["where"])
        self.assertEqual(found["contradictions"]["severity"], "warning")
        self.assertIn("smoother.png", found["near_duplicates"]["detail"])
        self.assertIn("long.png", found["picture_shapes"]["detail"])
        self.assertIn("picture_sizes", found)

    def test_one_picture_alone(self):
        picture = self.folder / "one.png"
        picture.write_bytes(house.png([[x * y % 256 for x in range(24)] for y in range(24)]))
        self.assertEqual(self.kinds(self.check(picture), "severe"), set())
        picture.write_bytes(picture.read_bytes()[:60])
        report = self.check(picture, code=3)
        self.assertEqual(self.kinds(report, "severe"), {("broken_pictures", "image")})
        self.assertIn("one.png", report["findings"][0]["detail"])

    def test_the_size_of_a_picture_may_tell_its_class(self):
        folder = self.folder / "photos"
        self.write_pictures(folder, 1)
        for i in range(12):
            (folder / f"dog/{i}.png").write_bytes(house.png([[(i * 37 + x * y) % 256 for x in range(30)] for y in range(24)]))
        self.assertIn(("leakage", "image"), self.kinds(self.check(folder, code=3), "severe"))

    def test_pictures_against_others(self):
        self.write_pictures(self.folder / "a", 1)
        self.write_pictures(self.folder / "b", 2)
        (self.folder / "b/dog/renamed.png").write_bytes((self.folder / "a/cat/5.png").read_bytes())
        report = self.check(self.folder / "a", "--against", self.folder / "b", code=3)
        shared = [one for one in report["findings"] if one["kind"] == "shared_rows"]
        self.assertIn("1 of 25 rows of b", shared[0]["detail"])
        self.assertIn("renamed.png", shared[0]["where"])

    def test_a_log(self):
        draw = random.Random(4)
        lines = ["user_id,item_id,timestamp"]
        for user in range(60):
            for i in range(1 if user < 6 else 8):
                lines.append(f"u{user},i{min(draw.randrange(40), draw.randrange(40))},{1_600_000_000 + 1000 * user + i // 2}")
        lines += ["robot,i1,1700000000"] * 200 + [",i3,1700000000"]
        report = self.check(self.write("log.csv", lines))
        self.assertEqual((report["kind"], report["rows"]), ("log", 639))
        columns = {one["name"]: one for one in report["columns"]}
        self.assertIn("61 users; one has 1 to 200", columns["user_id"]["summary"])
        found = {one["kind"]: one for one in report["findings"]}
        self.assertIn("1 of 639 rows lack", found["missing"]["detail"])
        self.assertIn("'robot' has 200 of 638", found["outliers"]["detail"])
        self.assertGreaterEqual(int(found["duplicates"]["detail"].split()[0]), 199)
        self.assertIn("6 of 61 users", found["short_histories"]["detail"])
        self.assertIn("same_moment", found)
        # A time that is none is found, not met.
        slip = self.check(self.write("slip.csv", lines[:20] + ["u1,i1,soon"] + lines[20:]), code=3)
        bad = next(one for one in slip["findings"] if one["kind"] == "unreadable_time")
        self.assertIn("line 21: 'soon'", bad["detail"])
        # With a target it is a table; one user alone is severe.
        self.assertEqual(self.check(self.folder / "log.csv", "--target", "item_id", code=3)["kind"], "table")
        alone = self.write("one.csv", ["user_id,item_id"] + [f"u1,i{i % 5}" for i in range(30)])
        self.assertIn(("one_user", "user_id"), self.kinds(self.check(alone, "--task", "recommend", code=3), "severe"))

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
        self.assertIn("columns: when, x, y", done.err)
        self.assertEqual(house.quern("check", self.folder / "none.csv").code, 1)
        self.assertEqual(house.quern("check", self.write("c.csv", ["a,b", "1,2,3"])).code, 1)


if __name__ == "__main__":
    unittest.main()
