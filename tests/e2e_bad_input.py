"""What a person can get wrong: each gives one clear line, the documented exit code, and leaves
nothing half-written."""

import gzip
import json
import os
import pathlib
import shutil
import struct
import unittest

import house


class BadData(house.TestCase):
    def assert_refused(self, data, *says, code=1, arguments=()):
        run = self.folder / "run"
        before = sorted(self.folder.rglob("*"))
        error = self.assert_fails(code, "train", data, "--out", run, "--steps", 1, *arguments,
                                  says=says)
        self.assertEqual(sorted(self.folder.rglob("*")), before, "something was left behind")
        return error

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def test_missing(self):
        self.assert_refused(self.folder / "nowhere.txt", "nowhere.txt")

    def test_empty(self):
        self.assert_refused(self.write("empty.txt", b""), "empty.txt", "empty")

    def test_blank(self):
        self.assert_refused(self.write("blank.txt", b" \n\n \n"), "blank.txt")

    def test_binary(self):
        path = self.write("program.txt", bytes(range(256)) * 40)
        self.assert_refused(path, "program.txt")

    def test_broken_utf8(self):
        path = self.write("broken.txt", self.text.read_bytes() + b"\xff\xfe\xfd broken \xc3\x28")
        self.assert_refused(path, "broken.txt")

    def test_truncated_gzip(self):
        path = self.write("cut.txt.gz", gzip.compress(self.text.read_bytes())[:-200])
        self.assert_refused(path, "cut.txt.gz")

    def test_bad_jsonl_line(self):
        path = self.write("bad.jsonl", b'{"text": "a good line"}\n{"text": "a bad\n')
        self.assert_refused(path, "bad.jsonl", "line 2")

    def test_jsonl_without_text(self):
        path = self.write("other.jsonl", b'{"body": "words"}\n' * 50)
        self.assert_refused(path, "text", "body")

    def test_empty_folder(self):
        folder = self.folder / "nothing"
        folder.mkdir()
        self.assert_refused(folder, "nothing")

    def test_too_short_to_validate(self):
        self.assert_refused(self.write("short.txt", b"Hello.\n"), "too short")


class BadUsage(house.TestCase):
    def test_unknown_command(self):
        self.assert_fails(2, "tran", self.text, says=["'tran'", "'train'"])

    def test_unknown_option(self):
        self.assert_fails(2, "train", self.text, "--stpes", 3, says=["--stpes", "--steps"])

    def test_unknown_key(self):
        self.assert_fails(2, "train", self.text, "--set", "train.learning_rat=1",
                          says=["train.learning_rat", "train.learning_rate"])

    def test_unknown_key_in_a_file(self):
        file = self.folder / "my.toml"
        file.write_text("seed = 1\n[model]\nlayer = 3\n", encoding="utf-8")
        self.assert_fails(2, "train", self.text, "--config", file,
                          says=["my.toml", "model.layers"])

    def test_value_out_of_range(self):
        self.assert_fails(2, "train", self.text, "--set", "regularise.dropout=1.5",
                          says=["regularise.dropout", "1.5"])

    def test_heads_that_do_not_divide(self):
        run = self.folder / "run"
        self.assert_fails(2, "train", self.text, "--out", run, "--set", "model.width=30", "--set",
                          "model.heads=4", "--set", "model.kv_heads=4", says=["30", "4"])
        self.assertFalse(run.exists())

    def test_more_memory_than_there_is(self):
        run = self.folder / "run"
        error = self.assert_fails(1, "train", self.text, "--out", run, "--steps", 1, "--size",
                                  "large", "--memory", "300MB", says=["needs", "there", "--size"])
        self.assertRegex(error["message"], r"needs [\d.]+ [KMG]B")
        self.assertFalse(run.exists())


class BadRun(house.TestCase):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.train(self.run_folder, "--steps", 2)

    def assert_refused(self, *says, command=("generate",), arguments=("The",)):
        return self.assert_fails(1, *command, self.run_folder, *arguments, says=says)

    def test_the_run_itself_is_good(self):
        self.run_ok("generate", self.run_folder, "The", "--max-tokens", 3)

    def test_no_such_run(self):
        self.assert_fails(1, "generate", self.folder / "nowhere", "The", says=["nowhere"])

    def test_not_a_run(self):
        self.assert_fails(1, "generate", self.text, "The", says=["sayings.txt"])

    def test_missing_files(self):
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            with self.subTest(name):
                file, kept = self.run_folder / name, self.folder / name
                shutil.move(file, kept)
                self.assert_refused(name)
                shutil.move(kept, file)

    def test_truncated_weights(self):
        weights = self.run_folder / "model.safetensors"
        content = weights.read_bytes()
        for size in (0, 4, 40, len(content) // 2, len(content) - 1):
            with self.subTest(size):
                weights.write_bytes(content[:size])
                self.assert_refused("model.safetensors")

    def test_truncated_configuration_and_tokenizer(self):
        for name in ("config.json", "tokenizer.json"):
            with self.subTest(name):
                file = self.run_folder / name
                content = file.read_bytes()
                file.write_bytes(content[: len(content) // 2])
                self.assert_refused(name)
                file.write_bytes(content)

    def test_newer_version(self):
        pipeline = self.run_folder / "pipeline.json"
        content = json.loads(pipeline.read_text(encoding="utf-8"))
        content["format"] += 1000
        pipeline.write_text(json.dumps(content), encoding="utf-8")
        self.assert_refused("newer", str(content["format"]))

    def test_weights_that_do_not_fit(self):
        file = self.run_folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["quern"]["layers"] += 1
        for key in ("n_layer", "num_hidden_layers"):
            if key in config:
                config[key] += 1
        file.write_text(json.dumps(config), encoding="utf-8")
        self.assert_refused("model.safetensors")

    def test_a_configuration_that_contradicts_itself(self):
        file = self.run_folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["vocab_size"] += 1
        file.write_text(json.dumps(config), encoding="utf-8")
        self.assert_refused("config.json", "vocab_size", str(config["vocab_size"]))

    def test_weights_of_another_shape(self):
        weights = self.run_folder / "model.safetensors"
        content = weights.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8:8 + size])
        name = next(key for key, value in header.items()
                    if key != "__metadata__" and len(value["shape"]) == 2
                    and value["shape"][0] != value["shape"][1])
        header[name]["shape"].reverse()
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        weights.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size:])
        self.assert_refused("model.safetensors", name)


class NoPermission(house.TestCase):
    def test_out_folder(self):
        locked = self.folder / "locked"
        locked.mkdir()
        locked.chmod(0o555)
        self.folder.chmod(0o755)
        cache = self.folder / "cache"
        cache.mkdir()
        cache.chmod(0o777)
        program, options = house.QUERN, {"env": {**os.environ, "XDG_CACHE_HOME": str(cache)}}
        if os.geteuid() == 0:
            # Root may write anywhere: become nobody, with a copy of the program that nobody reaches.
            program = self.folder / "quern"
            shutil.copy(house.QUERN, program)
            program.chmod(0o755)
            options |= {"user": 65534, "group": 65534, "extra_groups": []}
        self.assert_fails(1, "train", self.text, "--out", locked / "run", "--steps", 1,
                          *house.SMALL, says=["locked"], options={"program": program, **options})
        self.assertEqual(list(locked.iterdir()), [])


class NoCache(house.TestCase):
    def test_training_goes_on_without_the_users_cache(self):
        run = self.folder / "run"
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.text)}  # a file: no folder fits there
        result = self.run_ok("train", self.text, "--out", run, *house.SMALL, "--steps", 1,
                             env=environment)
        self.assertIn(str(run / "cache"), result.err)
        self.assertTrue(list((run / "cache").iterdir()))
        self.run_ok("generate", run, "The", "--max-tokens", 1)


if __name__ == "__main__":
    unittest.main()
