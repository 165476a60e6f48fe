"""Pictures: folders by class, IDX files and a column of a table; trained on, predicted, refused where broken."""

import csv
import gzip
import io
import json
import random
import struct
import zlib
import unittest

import house

TRAIN = ["--set", "train.evaluate_every=30", "--set", "model.layers=1", "--set", "train.batch=32"]


def stripes(draw, upright, side=16):
    """Noisy stripes, upright or lying: no single pixel tells which."""
    period, phase = draw.choice([4, 6]), draw.randrange(6)
    return [[max(0, min(255, int(draw.gauss(190 if ((x if upright else y) + phase) // (period // 2) % 2 else 60, 20))))
             for x in range(side)] for y in range(side)]


class Pictures(house.TestCase):
    def make_folder(self, name, count, seed):
        draw = random.Random(seed)
        for label in ["lying", "upright"]:
            folder = self.folder / name / label
            folder.mkdir(parents=True)
            for i in range(count):
                grey = stripes(draw, label == "upright")
                (folder / f"{i:03d}.png").write_bytes(house.png([[(v, v // 2, 30) for v in row] for row in grey]))
        return self.folder / name

    def test_folders_by_class(self):
        data = self.make_folder("train", 150, 1)
        run = self.folder / "run"
        done = self.run_ok("train", data, "--out", run, "--json", *TRAIN, "--steps", "60",
                           "--set", "regularise.augment=light")
        result = json.loads(done.out)
        self.assertIn("pictures: 16 × 16 pixels, colour", done.err)
        self.assertEqual(result["task"], "classify")
        self.assertIn("logistic regression on pixels", [one["name"] for one in result["baselines"]])
        fresh = self.make_folder("fresh", 60, 2)
        scored = json.loads(self.run_ok("evaluate", run, fresh, "--json").out)
        self.assertEqual(scored["rows"], 120)
        self.assertGreater(scored["metrics"]["accuracy"]["value"], 0.9)
        rows = list(csv.DictReader(io.StringIO(self.run_ok("predict", run, fresh / "upright").out.decode())))
        self.assertEqual(len(rows), 60)
        one = list(csv.DictReader(io.StringIO(self.run_ok("predict", run, fresh / "upright" / "000.png").out.decode())))
        self.assertAlmostEqual(float(one[0]["probability upright"]), float(rows[0]["probability upright"]), places=4)
        broken = fresh / "lying" / "000.png"
        broken.write_bytes(broken.read_bytes()[:40])
        refused = house.quern("predict", run, fresh / "lying")
        self.assertEqual(refused.code, 1)
        self.assertIn("000.png", refused.err)
        self.assertEqual(refused.out, b"")

    def test_idx_and_cutmix(self):
        draw = random.Random(3)
        labels = [draw.randrange(2) for _ in range(300)]
        pixels = b"".join(bytes(v for row in stripes(draw, label == 1) for v in row) for label in labels)
        images = self.folder / "train-images-idx3-ubyte.gz"
        whole = struct.pack(">IIII", 0x803, 300, 16, 16) + pixels
        images.write_bytes(gzip.compress(whole))
        (self.folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">II", 0x801, 300) + bytes(labels)))
        run = self.folder / "run"
        folder = house.quern("train", self.folder, "--target", "label", "--out", run)
        self.assertEqual(folder.code, 1)
        self.assertIn(f"give its file of pictures: {images}\n", folder.err)
        result = json.loads(self.run_ok("train", images, "--out", run, "--json", *TRAIN,
                                        "--set", "regularise.augment=strong", "--steps", "200").out)
        self.assertGreater(result["validation"]["accuracy"], 0.7)
        again = json.loads(self.run_ok("evaluate", run, images, "--json").out)
        self.assertEqual(again["rows"], 300)
        images.write_bytes(gzip.compress(whole[:-1]))
        refused = house.quern("evaluate", run, images)
        self.assertEqual(refused.code, 1)
        self.assertIn("ask for", refused.err)

    def test_a_column_beside_others(self):
        """One table of pictures, numbers, categories and texts: each carries a part of the answer."""
        self.make_folder("p", 100, 5)
        draw = random.Random(6)
        rows = []
        for label in ["lying", "upright"]:
            for i in range(100):
                weight, brand = draw.uniform(0, 10), draw.choice(["plain", "fine"])
                words = draw.choice(["a sturdy thing for the house", "scratched and sold as it is"])
                price = 10 * weight + (50 if label == "upright" else 0) + (30 if brand == "fine" else 0)
                price -= 40 if "scratched" in words else 0
                rows.append([f"p/{label}/{i:03d}.png", f"{weight:.2f}", brand, words, f"{price:.2f}"])
        draw.shuffle(rows)
        for name, part in {"goods.csv": rows[:160], "fresh.csv": rows[160:]}.items():
            with open(self.folder / name, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["photo", "weight", "brand", "words", "price"], *part])
        run = self.folder / "run"
        done = self.run_ok("train", self.folder / "goods.csv", "--target", "price", "--out", run, "--json", *TRAIN,
                           "--steps", "300", "--set", "regularise.ensemble=2", "--set", "data.types=words = text, brand = category")
        self.assertEqual(json.loads(done.out)["task"], "regress")
        pipeline = json.loads((run / "pipeline.json").read_text(encoding="utf-8"))
        self.assertIn("photo", json.dumps(pipeline))
        scored = json.loads(self.run_ok("evaluate", run, self.folder / "fresh.csv", "--json").out)
        whole = scored["metrics"]["r2"]["value"]
        self.assertGreater(whole, 0.6)
        # A table that lies elsewhere names its pictures from there.
        moved = self.folder / "elsewhere"
        moved.mkdir()
        (moved / "fresh.csv").write_bytes((self.folder / "fresh.csv").read_bytes())
        refused = house.quern("predict", run, moved / "fresh.csv")
        self.assertEqual(refused.code, 1)
        self.assertIn("elsewhere", refused.err)
        both = house.quern("train", self.folder / "goods.csv", moved / "fresh.csv", "--target", "price", "--out", self.folder / "no")
        self.assertEqual((both.code, "put the tables into one folder" in both.err), (1, True), both.err)
        # Without its picture a row is still answered; the pictures together say something.
        for row in rows[160:]:
            row[0] = ""
        with open(self.folder / "blind.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["photo", "weight", "brand", "words", "price"], *rows[160:]])
        blind = json.loads(self.run_ok("evaluate", run, self.folder / "blind.csv", "--json").out)
        self.assertLess(blind["metrics"]["r2"]["value"], whole)

    def test_what_is_no_picture_is_refused_in_one_line(self):
        data = self.make_folder("train", 4, 9)
        victim = data / "lying" / "001.png"
        whole = victim.read_bytes()
        head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
        for bytes_, said in [
                (whole[:60], "damaged PNG"), (b"", "neither JPEG nor PNG nor WebP"),
                (b"\xff\xd8\xff\xe0 no picture", "a picture without pixels"),
                (b"RIFF\x10\0\0\0WEBPVP8 \0\0\0\0", "damaged WebP"),
                (whole[:8] + chunk + whole[33:], "40000 × 40000 pixels; 32768 a side and 100000000 in all")]:
            victim.write_bytes(bytes_)
            refused = house.quern("train", data, "--out", self.folder / "run", "--steps", "2")
            self.assertEqual(refused.code, 1, said)
            errors = [line for line in refused.err.splitlines() if line.startswith("quern: ")]
            self.assertEqual(len(errors), 1, refused.err)
            self.assertIn("001.png", errors[0])
            self.assertIn(said, errors[0])
            self.assertFalse((self.folder / "run" / "model.safetensors").exists())

    def test_pictures_without_classes(self):
        data = self.make_folder("train", 2, 9)
        images = self.folder / "digits" / "t10k-images-idx3-ubyte"
        images.parent.mkdir()
        images.write_bytes(struct.pack(">IIII", 0x803, 2, 2, 2) + bytes(8))
        for path in (data / "lying", data / "lying" / "001.png", images):
            self.assert_fails(1, "train", path, "--out", self.folder / "run", says=["no classes", "folders named by class"])
        for command in ("check", "train"):
            self.assert_fails(1, command, images.parent, "--target", "label", says=["is no table", "t10k-images-idx3-ubyte"])

    def test_augmentation_is_said_and_same_at_any_number_of_threads(self):
        data = self.make_folder("train", 20, 11)
        files = []
        for threads in ["1", "2"]:
            run = self.folder / f"run{threads}"
            done = self.run_ok("train", data, "--out", run, *TRAIN, "--steps", "12", "--threads", threads,
                               "--set", "regularise.mixup=0.4")
            files.append((run / "model.safetensors").read_bytes())
        self.assertIn("augmentation: strong (fewer than 3000 rows), RandAugment 5 of 10, mixup 0.4, cutmix 0.3", done.err)
        self.assertEqual(*files)


if __name__ == "__main__":
    unittest.main()
