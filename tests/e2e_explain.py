"""Why a model answers as it does: tables, texts, prompts, pictures, recommendations; and bad input."""

import itertools
import json
import math
import random
import struct
import unittest

import house

TABLE = ["--steps", "150", "--set", "train.evaluate_every=50", "--set", "regularise.ensemble=2",
         "--set", "model.width=32", "--set", "model.layers=1"]


def make_loans(rows, seed):
    """Risk grows with months and sinks with savings; the house decides nothing."""
    draw = random.Random(seed)
    lines = ["months,savings,purpose,house,risk"]
    for _ in range(rows):
        months, savings = draw.randint(6, 60), draw.uniform(0, 100)
        purpose = draw.choice(["car", "radio", "school"])
        score = months / 10 - savings / 15 + {"car": 1, "radio": 0, "school": -1}[purpose] + draw.gauss(0, 0.4)
        lines.append(f"{months},{savings:.2f},{purpose},{draw.choice(['own', 'rent'])},{'bad' if score > 0 else 'good'}")
    return "\n".join(lines) + "\n"


def subsets_of(players):
    return list(itertools.chain.from_iterable(itertools.combinations(players, k) for k in range(len(players) + 1)))


def shapley(value, players, player):
    """Shapley's formula over the values of all coalitions."""
    others = [one for one in players if one != player]
    return sum((value[frozenset([*s, player])] - value[frozenset(s)]) / (len(players) * math.comb(len(others), len(s)))
               for s in subsets_of(others))


class Explain(house.TestCase):
    def explain(self, run, *words):
        return json.loads(self.run_ok("explain", run, *words, "--json").out)

    def assert_complete(self, answer):
        """Contributions lead from the base to the value, and say so."""
        total = answer["base"] + sum(one["phi"] for one in answer["attributions"])
        self.assertAlmostEqual(total, answer["value"], delta=1e-9)
        self.assertLess(answer["completeness_error"], 1e-9)
        for one in answer["attributions"]:
            self.assertLessEqual(one["low"], one["phi"])
            self.assertLessEqual(one["phi"], one["high"])

    def assert_novelty(self, run, data, answer):
        """Texts and pictures: masked ones are held against the training rows that the run kept, not against nothing."""
        further = answer["masked_inputs"]["further_than_training"]
        self.assertTrue(0 <= further["low"] <= further["value"] <= further["high"] <= 1)
        self.assertIn("Masked inputs:", self.run_ok("explain", run, data, "--max-evals", "64").out.decode())
        kept = run / "background.safetensors"
        aside = run / "aside"
        kept.rename(aside)
        self.assertNotIn("masked_inputs", self.explain(run, data, "--max-evals", "64"))
        aside.rename(kept)

    def assert_page(self, path, *says):
        text = self.assert_whole_page(path)
        for word in says:
            self.assertIn(word, text)


class Rows(Explain):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "loans.csv"
        self.data.write_text(make_loans(900, 1))
        self.run_folder = self.folder / "run"
        self.run_ok("train", self.data, "--target", "risk", "--out", self.run_folder, "--quiet", *TABLE)

    def test_against_the_definition(self):
        """Shapley's formula over answers of `predict`, with the kept background put in column by column."""
        columns = ["months", "savings", "purpose", "house"]
        encoder = json.loads((self.run_folder / "config.json").read_text())["encoder"]
        self.assertTrue(encoder["linear"], "what the answer starts from changes with the columns, too")
        self.assertEqual(encoder["copies"], 5)
        row = dict(zip([*columns, "risk"], self.data.read_text().splitlines()[3].split(",")))
        kept = [line.split(",") for line in (self.run_folder / "background.csv").read_text().splitlines()]
        background = [dict(zip(kept[0], line)) for line in kept[1:]]
        self.assertEqual(len(background), 100)
        subsets = subsets_of(columns)
        lines = [",".join(row[c] if c in shown else other[c] for c in columns)
                 for shown in subsets for other in background]
        asked = self.folder / "asked.csv"
        asked.write_text("\n".join([",".join(columns), *lines]) + "\n")
        answers = json.loads(self.run_ok("predict", self.run_folder, asked, "--json").out)["predictions"]
        bad = [one["probability"]["bad"] for one in answers]
        value = {frozenset(shown): sum(bad[100 * i:100 * i + 100]) / 100 for i, shown in enumerate(subsets)}
        answer = self.explain(self.run_folder, self.data, "--row", "3", "--target", "bad")
        self.assertEqual(answer["method"], "exact")
        self.assertLess(answer["masked_inputs"]["further_than_training"]["low"], 0.75)
        self.assert_complete(answer)
        for one in answer["attributions"]:
            self.assertAlmostEqual(one["phi"], shapley(value, columns, one["name"]), delta=2e-5, msg=one["name"])
        self.assertAlmostEqual(answer["value"], value[frozenset(columns)], delta=2e-5)
        ranked = [one["name"] for one in answer["attributions"]]
        self.assertEqual(ranked[-1], "house")

    def test_same_bits_at_any_thread_count(self):
        sampled = ["--row", "5", "--method", "permutation", "--max-evals", "60"]
        one = self.explain(self.run_folder, self.data, *sampled, "--threads", "1")
        two = self.explain(self.run_folder, self.data, *sampled, "--threads", "2")
        other = self.explain(self.run_folder, self.data, *sampled, "--seed", "9")
        for answer in (one, two, other):
            self.assert_complete(answer)
            answer.pop("seconds")
        self.assertEqual(one, two)
        self.assertNotEqual(one["attributions"], other["attributions"])
        self.assertTrue(all(abs(a["phi"]) == 0 or a["high"] > a["low"] for a in one["attributions"]))

    def test_pages(self):
        page = self.folder / "why.html"
        done = self.run_ok("explain", self.run_folder, self.data, "--row", "2", "-o", page, "--scale", "log")
        self.assertIn("months =", done.out.decode())
        self.assert_page(page, "log-odds of risk", "Completeness error", "<svg", "savings =")
        summary = self.folder / "all.html"
        answer = self.explain(self.run_folder, self.data, "--global", "--rows", "12", "-o", summary)
        self.assertEqual(answer["rows"], 12)
        self.assertIn(answer["importance"][0]["name"], ("months", "savings"))
        self.assertEqual(answer["importance"][-1]["name"], "house")
        self.assert_page(summary, "How contributions depend on values", "<circle", "Importance")

    def test_events(self):
        """Every explanation adds itself to the run's events; --no-events, or a run that may only be read, does not."""
        def texts(tag=b"explain/attributions/text"):
            return sum(path.read_bytes().count(tag)
                       for path in (self.run_folder / "inference").glob("events.out.tfevents.*"))
        ask = ["explain", self.run_folder, self.data, "--row", "2"]
        self.run_ok(*ask, "--no-events")
        self.assertFalse((self.run_folder / "inference").exists())
        self.run_ok(*ask)
        self.run_ok(*ask, "--json")
        self.run_ok("explain", self.run_folder, self.data, "--global", "--rows", "2", "--json")
        self.assertEqual(texts(), 2)
        self.assertEqual(texts(b"explain/importance/text"), 1)
        for path in (self.run_folder / "inference").iterdir():
            path.unlink()
        (self.run_folder / "inference").rmdir()
        (self.run_folder / "inference").write_text("in the way")
        done = self.run_ok(*ask)
        self.assertIn("nothing written for TensorBoard", done.err)

    def test_reasons_and_counterfactual(self):
        words = self.folder / "words.csv"
        words.write_text("column,code,text,direction\nmonths,R1,The loan runs long,high\n"
                         "savings,R2,Savings are low,low\npurpose,R3,Purpose of the loan,any\n")
        good = self.folder / "good.csv"
        lines = self.data.read_text().splitlines()
        good.write_text("\n".join([lines[0], *[line for line in lines if line.endswith("good")][:60]]) + "\n")
        risky = self.folder / "risky.csv"
        risky.write_text("months,savings,purpose,house\n58,3,car,own\n7,3,car,own\n")
        ask = ["--target", "bad", "--reasons", "2", "--dictionary", words, "--reference", good]
        answer = self.explain(self.run_folder, risky, *ask, "--counterfactual", "--change", "months,savings")
        self.assertGreater(answer["value"], 0.5)
        self.assertEqual({one["code"] for one in answer["reasons"]["principal"]}, {"R1", "R2"})
        for one in answer["reasons"]["principal"]:
            self.assertGreater(one["effect_alone"], 0)
        change = answer["counterfactual"]
        self.assertTrue(change["found"])
        self.assertLessEqual({one["column"] for one in change["changes"]}, {"months", "savings"})
        moved = dict(zip(["months", "savings", "purpose", "house"], ["58", "3", "car", "own"]))
        moved.update({one["column"]: one["to"] for one in change["changes"]})
        risky.write_text(",".join(moved) + "\n" + ",".join(moved.values()) + "\n")
        self.assertEqual(json.loads(self.run_ok("predict", self.run_folder, risky, "--json").out)["predictions"][0]
                         ["prediction"], "good")
        # A short loan is no reason for "runs long": the direction check passes it over or ranks it out.
        risky.write_text("months,savings,purpose,house\n6,0,car,own\n")
        short = self.explain(self.run_folder, risky, *ask)
        self.assertNotIn("R1", {one["code"] for one in short["reasons"]["principal"]})

    def test_bad_input(self):
        ask = ["explain", self.run_folder, self.data]
        self.assert_fails(2, *ask, "--row", "901", says=["901", "900 rows"])
        self.assert_fails(2, *ask, "--row", "0", says=["--row 0"])
        self.assert_fails(2, *ask, "--target", "badd", says=["badd", "'bad'"])
        self.assert_fails(2, *ask, "--method", "magic", says=["magic", "exact"])
        self.assert_fails(2, *ask, "--user", "u1", says=["--user"])
        self.assert_fails(2, *ask, "--reasons", "2", says=["--dictionary"])
        self.assert_fails(2, *ask, "--counterfactual", "--change", "month", says=["'months'"])
        words = self.folder / "words.csv"
        words.write_text("column,code,text\nmonth,R1,x\n")
        self.assert_fails(2, *ask, "--reasons", "1", "--dictionary", words, says=["line 2", "'months'"])
        one = self.folder / "one.csv"
        one.write_text("\n".join(self.data.read_text().splitlines()[:2]) + "\n")
        done = self.run_ok(*ask, "--row", "2", "--background", one)
        self.assertIn("one row", done.err)
        (self.run_folder / "background.csv").unlink()
        self.assert_fails(1, *ask, says=["background.csv", "--background"])

    def test_lime(self):
        page = self.folder / "lime.html"
        answer = self.explain(self.run_folder, self.data, "--row", "3", "--target", "bad", "--method", "lime", "-o", page)
        self.assertEqual(answer["method"], "lime")
        self.assertEqual(len(answer["attributions"]), 4)
        local = answer["local_model"]
        self.assertAlmostEqual(local["value"], answer["base"] + sum(one["phi"] for one in answer["attributions"]), 9)
        self.assertAlmostEqual(answer["completeness_error"], abs(answer["value"] - local["value"]), 9)
        self.assertEqual(local["samples"], answer["evaluations"])
        self.assertIn("quartile", answer["mask_policy"])
        phi = {one["name"]: abs(one["phi"]) for one in answer["attributions"]}
        self.assertGreater(phi["months"], phi["house"])
        self.assert_page(page, "linear model", "From the base")
        again = self.explain(self.run_folder, self.data, "--row", "3", "--target", "bad", "--method", "lime",
                             "--threads", "1")
        self.assertEqual(again["attributions"], answer["attributions"])
        audit = self.explain(self.run_folder, self.data, "--row", "3", "--method", "lime", "--audit")["audit"]
        self.assertGreater(audit["advantage"]["value"], 0)
        self.assert_fails(2, "explain", self.run_folder, self.data, "--method", "lime", "--max-evals", "5",
                          says=["lime", "6"])
        summary = self.explain(self.run_folder, self.data, "--global", "--rows", "5", "--method", "lime")
        self.assertEqual(summary["method"], "lime")

    def test_gradients(self):
        page = self.folder / "ig.html"
        ask = [self.run_folder, self.data, "--row", "3", "--target", "bad"]
        exact = self.explain(*ask)
        ig = self.explain(*ask, "--method", "ig", "-o", page)
        self.assertAlmostEqual(ig["value"], exact["value"], delta=1e-5)
        self.assertLess(ig["completeness_error"], 0.01 * abs(ig["value"] - ig["base"]))
        self.assertEqual(self.explain(*ask, "--method", "ig", "--max-evals", "40")["evaluations"], 40)
        self.assertIn("mean embedding", ig["mask_policy"])
        self.assert_page(page, "Nothing is sampled")
        eg = self.explain(*ask, "--method", "eg", "--max-evals", "1500")
        self.assertAlmostEqual(eg["base"], exact["base"], delta=1e-4)
        found = {one["name"]: one for one in eg["attributions"]}
        for one in exact["attributions"]:  # near the Shapley values, and on the same side of zero
            if abs(one["phi"]) > 0.1:
                self.assertGreater(one["phi"] * found[one["name"]]["phi"], 0)
            self.assertGreater(found[one["name"]]["standard_error"], 0)
        self.assertLess(eg["completeness_error"], 0.2)
        odds = self.explain(*ask, "--method", "ig", "--scale", "log", "--audit")
        self.assertEqual(odds["unit"], "log-odds")
        self.assertLess(odds["completeness_error"], 0.01 * abs(odds["value"] - odds["base"]))
        gradient = self.explain(*ask, "--method", "gradient")
        self.assertEqual(gradient["evaluations"], 2)
        self.assert_fails(2, "explain", *ask, "--method", "eg", "--max-evals", "50", says=["eg", "103"])

    def test_attention(self):
        answer = self.explain(self.run_folder, self.data, "--row", "3", "--attention")
        self.assertAlmostEqual(sum(one["attention"] for one in answer["attributions"]), 1, places=5)
        self.assertIn("no attribution", self.run_ok("explain", self.run_folder, self.data, "--attention").out.decode())

    def test_influence(self):
        """A training row's own twin, and rows like it, speak for its answer; their opposites speak against it."""
        page = self.folder / "rows.html"
        ask = [self.run_folder, self.data, "--row", "3", "--target", "bad", "--influence", "4"]
        rows = self.explain(*ask, "-o", page)["training_rows"]
        self.assertGreaterEqual(rows["weights"], 1)
        self.assertGreater(rows["rows"], 500)
        self.assertEqual({one["answer"] for one in rows["raising"]}, {"bad"})
        self.assertEqual({one["answer"] for one in rows["lowering"]}, {"good"})
        raised = [one["influence"] for one in rows["raising"]]
        self.assertEqual(raised, sorted(raised, reverse=True))
        self.assertIn("loans.csv", rows["raising"][0]["where"])
        self.assert_page(page, "The training rows that shaped it", "loans.csv")
        # Asking changes no answer, and the other class turns the signs.
        self.assertEqual(self.explain(*ask[:-2])["attributions"], self.explain(*ask)["attributions"])
        other = self.explain(*[*ask[:5], "good", *ask[6:]])["training_rows"]
        self.assertEqual({one["answer"] for one in other["raising"]}, {"good"})
        self.assert_fails(2, "explain", *ask[:-2], "--training", self.data, says=["--influence"])
        moved = self.folder / "moved.csv"
        self.data.rename(moved)
        self.assert_fails(1, "explain", self.run_folder, moved, "--influence", "1", says=["gone", "--training"])
        self.explain(self.run_folder, moved, "--influence", "1", "--training", moved)

    def test_interactions(self):
        page = self.folder / "pairs.html"
        ask = [self.run_folder, self.data, "--row", "3", "--interactions", "2"]
        answer = self.explain(*ask, "-o", page)
        pairs = answer["interactions"]
        self.assertTrue(pairs["exact"])
        self.assertEqual(len(pairs["pairs"]), 2)
        self.assertGreaterEqual(abs(pairs["pairs"][0]["value"]), abs(pairs["pairs"][1]["value"]))
        self.assertRegex(pairs["pairs"][0]["a"], "^(months|savings|purpose|house) = ")
        self.assert_page(page, "What parts give together")
        self.assertIn("×", self.run_ok("explain", *ask).out.decode())
        self.assert_fails(2, "explain", *ask, "--method", "owen", "--max-evals", "9", says=["interactions", "16"])

    def test_a_limit_that_cannot_be_kept(self):
        ask = ["explain", self.run_folder, self.data, "--max-evals", "5"]
        error = self.assert_fails(2, *ask, "--method", "exact", says=["--max-evals 5", "16"])
        self.assertEqual(error["code"], "too_few_evaluations")
        self.assert_fails(2, *ask, says=["--max-evals 5", "leverage"])
        self.assertLessEqual(self.explain(self.run_folder, self.data, "--max-evals", "5", "--method", "owen")
                             ["evaluations"], 5)

    def test_a_change_of_categories_alone(self):
        risky = self.folder / "risky.csv"
        risky.write_text("months,savings,purpose,house\n33,50,car,own\n")
        change = self.explain(self.run_folder, risky, "--counterfactual", "--change", "purpose,house")["counterfactual"]
        self.assertLessEqual({one["column"] for one in change["changes"]}, {"purpose", "house"})

    def test_the_audit_needs_the_folder_no_more(self):
        audit = self.explain(self.run_folder, self.data, "--row", "3", "--audit")["audit"]
        self.assertLess(audit["randomised_weights_rank_correlation"], 1)

    def test_too_many_columns_for_every_coalition(self):
        draw = random.Random(4)
        names = [f"c{i}" for i in range(40)]
        wide = self.folder / "wide.csv"
        rows = [[draw.uniform(0, 1) for _ in names] for _ in range(200)]
        wide.write_text("\n".join([",".join(names) + ",y", *[",".join(f"{x:.3f}" for x in row) + f",{row[0]:.3f}"
                                                             for row in rows]]) + "\n")
        run = self.folder / "wide"
        self.run_ok("train", wide, "--target", "y", "--out", run, "--quiet", "--steps", "5", "--set",
                    "model.width=16", "--set", "model.layers=1", "--set", "regularise.ensemble=1")
        self.assert_fails(2, "explain", run, wide, "--method", "exact", says=["2^40"])
        answer = self.explain(run, wide, "--max-evals", "200", "--background-rows", "3")
        self.assertEqual(answer["unit"], "y")
        self.assert_complete(answer)


class Words(Explain):
    def test_labelled_texts(self):
        draw = random.Random(1)
        data = self.folder / "mail.csv"
        plain = ["the", "meeting", "is", "at", "noon", "tomorrow", "please", "bring", "notes"]
        lines = ["label,text"]
        for _ in range(400):
            words = [draw.choice(plain) for _ in range(6)]
            spam = draw.random() < 0.5
            if spam:
                words.insert(draw.randrange(6), draw.choice(["prize", "奖品"]))
            lines.append(f"{'spam' if spam else 'ham'},{' '.join(words)}")
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run = self.folder / "mail"
        self.run_ok("train", data, "--target", "label", "--out", run, "--quiet", "--steps", "120", "--set",
                    "model.width=32", "--set", "model.layers=1", "--set", "train.evaluate_every=60")
        fresh = self.folder / "fresh.csv"
        fresh.write_text("text\nplease bring the prize at noon\n明天 奖品 meeting\nprize\n\"\"\n", encoding="utf-8")
        page = self.folder / "text.html"
        answer = self.explain(run, fresh, "--row", "1", "--target", "spam", "-o", page)
        self.assert_complete(answer)
        self.assert_novelty(run, fresh, answer)
        self.assertEqual(answer["attributions"][0]["name"].strip(), "prize")
        self.assert_page(page, "prize</span>", "The text")
        chinese = self.explain(run, fresh, "--row", "2", "--target", "spam", "-o", page)
        self.assertEqual("".join(one["name"] for one in sorted(chinese["attributions"], key=lambda a: a["position"])),
                         "明天 奖品 meeting")
        self.assert_page(page, "奖")
        ig = self.explain(run, fresh, "--row", "1", "--target", "spam", "--method", "ig", "--max-evals", "202")
        self.assertEqual(ig["attributions"][0]["name"].strip(), "prize")
        self.assertLess(ig["completeness_error"], 0.02)
        self.assert_fails(2, "explain", run, fresh, "--method", "eg", says=["eg", "--method ig"])
        # LIME's players are distinct words: both places of one show its coefficient.
        fresh.write_text("text\nprize at noon prize\n")
        lime = self.explain(run, fresh, "--row", "1", "--target", "spam", "--method", "lime", "-o", page)
        self.assertEqual(sorted(one["name"].strip() for one in lime["attributions"]), ["at", "noon", "prize"])
        self.assertEqual(lime["attributions"][0]["name"].strip(), "prize")
        self.assertEqual(page.read_text(encoding="utf-8").count("prize</span>"), 2)
        fresh.write_text("text\nplease bring the prize at noon\n明天 奖品 meeting\nprize\n\"\"\n", encoding="utf-8")
        single = self.explain(run, fresh, "--row", "3")
        self.assertEqual(len(single["attributions"]), 1)
        self.assertAlmostEqual(single["attributions"][0]["phi"], single["value"] - single["base"], delta=1e-12)
        self.assert_fails(1, "explain", run, fresh, "--row", "4", says=["empty"])

    def test_words_against_the_definition(self):
        """Shapley's formula over answers of `predict` to the texts without the hidden words."""
        draw = random.Random(5)
        # Characters, as bytes: a text without one is the others' tokens one after another.
        plain, strong = ["天", "地", "人", "山", "水"], {"奖": 2, "急": 1, "谢": -2}
        lines = ["label,text"]
        for _ in range(500):
            words = draw.sample([*plain, *strong], 5)
            score = sum(strong.get(word, 0) for word in words) + draw.gauss(0, 0.7)
            lines.append(f"{'spam' if score > 0 else 'ham'},{''.join(words)}")
        data = self.folder / "notes.csv"
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run = self.folder / "run"
        # Without the bag: it leaves n-grams out where the text without a word has others.
        self.run_ok("train", data, "--target", "label", "--out", run, "--quiet", "--steps", "60", "--set",
                    "model.width=32", "--set", "model.layers=1", "--set", "train.evaluate_every=30", "--set",
                    "model.ngram_buckets=0", "--set", "tokenizer.kind=byte", "--set", "data.types=text = text",
                    "--folds", "1")
        self.assertTrue((run / "linear.safetensors").is_file())
        words = ["天", "奖", "山", "急"]
        subsets = subsets_of(words)
        asked = self.folder / "asked.csv"
        asked.write_text("\n".join(["text", *[f'"{"".join(shown)}"' for shown in subsets]]) + "\n", encoding="utf-8")
        answers = json.loads(self.run_ok("predict", run, asked, "--json").out)["predictions"]
        value = {frozenset(shown): one["probability"]["spam"] for shown, one in zip(subsets, answers)}
        answer = self.explain(run, asked, "--row", str(len(subsets)), "--target", "spam", "--method", "exact")
        self.assert_complete(answer)
        self.assertEqual(sorted(one["name"] for one in answer["attributions"]), sorted(words))
        for one in answer["attributions"]:
            self.assertAlmostEqual(one["phi"], shapley(value, words, one["name"]), delta=2e-5, msg=one["name"])
        self.assertEqual(answer["attributions"][0]["name"], "奖")

    def test_prompt(self):
        run = self.folder / "run"
        self.train(run, "--steps", "60")
        page = self.folder / "prompt.html"
        answer = self.explain(run, "The miller grinds", "--target", " the grain", "-o", page)
        self.assert_complete(answer)
        self.assertEqual([one["name"] for one in sorted(answer["attributions"], key=lambda a: a["position"])],
                         ["The", " miller", " grinds"])
        self.assert_page(page, "grinds</span>", "the grain")
        again = self.explain(run, "The miller grinds", "--target", " the grain", "--scale", "probability")
        self.assertAlmostEqual(2.718281828459045 ** answer["value"], again["value"], delta=1e-9)
        flow = self.explain(run, "The miller grinds", "--target", " the grain", "--attention")
        self.assertLessEqual(sum(one["attention"] for one in flow["attributions"]), 1 + 1e-5)
        self.assertGreater(min(one["attention"] for one in flow["attributions"]), 0)
        ig = self.explain(run, "The miller grinds", "--target", " the grain", "--method", "ig")
        self.assertAlmostEqual(ig["value"], answer["value"], delta=1e-4)
        self.assertLess(ig["completeness_error"], 0.01 * abs(ig["value"] - ig["base"]))
        self.assert_fails(2, "explain", run, "The miller", "--method", "eg", says=["background"])
        lime = self.explain(run, "The miller grinds", "--target", " the grain", "--method", "lime", "--max-evals", "300",
                            "--interactions", "1")
        self.assertEqual({one["name"] for one in lime["attributions"]}, {"The", " miller", " grinds"})
        self.assertEqual(len(lime["interactions"]["pairs"]), 1)
        # Of a long prompt, what the context cannot hold is not looked at: exactly 0.
        long = self.explain(run, " ".join(["grain"] * 30), "--max-evals", "64")
        self.assert_complete(long)
        self.assertEqual(sorted(long["attributions"], key=lambda a: a["position"])[0]["phi"], 0.0)
        self.assert_fails(2, "explain", run, "", says=["prompt"])
        self.assert_fails(2, "explain", run, "The", "--row", "2", says=["--row"])


class Pictures(Explain):
    def test_the_square_that_decides(self):
        """The class is whether the upper left corner is lit; nothing else matters."""
        draw = random.Random(3)
        side, count = 8, 240
        pixels, labels = bytearray(), bytearray()
        for _ in range(count):
            lit = draw.random() < 0.5
            labels.append(int(lit))
            for y in range(side):
                for x in range(side):
                    pixels.append(230 if lit and y < 2 and x < 2 else draw.randrange(0, 60))
        images = self.folder / "train-images-idx3-ubyte"
        images.write_bytes(struct.pack(">IIII", 0x803, count, side, side) + pixels)
        (self.folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)
        run = self.folder / "run"
        # Few steps: answers grow so steep with more that 800 points leave a tenth of the path's integral out. How rows
        # are divided goes by where they stand, so every run of this test trains another model.
        self.run_ok("train", images, "--out", run, "--quiet", "--steps", "40", "--set", "model.width=32", "--set",
                    "model.layers=1", "--set", "regularise.augment=off", "--set", "train.evaluate_every=20")
        lit = 1 + labels.index(1)
        page = self.folder / "picture.html"
        answer = self.explain(run, images, "--row", str(lit), "--target", "1", "--patches", "4", "--max-evals",
                              "400", "-o", page)
        self.assert_complete(answer)
        self.assert_novelty(run, images, answer)
        self.assertEqual(len(answer["attributions"]), 16)
        self.assertEqual(answer["attributions"][0]["name"], "row 1, column 1")
        self.assertGreater(answer["attributions"][0]["phi"], 0)
        self.assert_page(page, "data:image/png;base64,")
        flow = self.explain(run, images, "--row", str(lit), "--attention", "--max-evals", "64")
        self.assertAlmostEqual(sum(one["attention"] for one in flow["attributions"]), 1, places=5)
        ig = self.explain(run, images, "--row", str(lit), "--target", "1", "--patches", "4", "--method", "ig")
        self.assertEqual(ig["attributions"][0]["name"], "row 1, column 1")
        self.assertLess(ig["completeness_error"], 0.05)
        lime = self.explain(run, images, "--row", str(lit), "--target", "1", "--method", "lime", "-o", page)
        self.assertEqual(lime["attributions"][0]["name"], "segment 1")
        self.assert_page(page, "data:image/png;base64,")
        patches = self.explain(run, images, "--row", str(lit), "--target", "1", "--method", "lime", "--patches", "4")
        self.assertEqual(patches["attributions"][0]["name"], "row 1, column 1")
        self.assert_fails(2, "explain", run, images, "--patches", "4", "--segments", "9", says=["--patches"])


class Items(Explain):
    def test_history(self):
        draw = random.Random(2)
        lines = ["user,item,time"]
        for user in range(300):
            at = draw.randrange(30)
            for step in range(draw.randint(6, 12)):
                lines.append(f"u{user},i{at},2024-01-{1 + step:02d}")
                at = (at + 1) % 30
        data = self.folder / "log.csv"
        data.write_text("\n".join(lines) + "\n")
        run = self.folder / "run"
        self.run_ok("train", data, "--task", "recommend", "--out", run, "--quiet", "--steps", "100", "--set",
                    "train.evaluate_every=50", "--set", "model.width=32")
        ask = ["--history", "i20,i3,i4,i5"]
        answer = self.explain(run, *ask)
        self.assert_complete(answer)
        self.assertEqual(answer["answer"], "i6")
        self.assertEqual(answer["attributions"][0]["name"], "i5")
        page = self.folder / "list.html"
        listed = self.explain(run, *ask, "--top", "3", "-o", page)
        self.assertEqual(len(listed["items"]), 3)
        self.assertEqual(listed["items"][0]["attributions"], answer["attributions"])
        self.assert_page(page, "because of", "i6")
        above = self.explain(run, *ask, "--target", "i6", "--against", "i20")
        self.assert_complete(above)
        self.assertGreater(above["value"], 0)
        lime = self.explain(run, *ask, "--method", "lime", "--max-evals", "600", "--interactions", "3")
        self.assertEqual(lime["attributions"][0]["name"], "i5")
        rank = self.explain(run, *ask, "--target", "i6", "--scale", "rank")
        self.assertEqual(rank["value"], 1)
        self.assert_fails(2, "explain", run, *ask, "--method", "ig", says=["ig"])
        self.assert_fails(2, "explain", run, *ask, "--attention", says=["--attention"])
        self.assert_fails(2, "explain", run, "--history", "i5,j6", says=["j6"])
        self.assert_fails(2, "explain", run, says=["--user"])


if __name__ == "__main__":
    unittest.main()
