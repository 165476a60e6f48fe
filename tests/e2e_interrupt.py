"""Training that is cut short, by a signal, by kill -9, by a full disk, and goes on where it was."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
import unittest

import house

STEPS = 60
EVERY = ["--set", "train.checkpoint_every=10", "--set", "train.evaluate_every=20"]


def checkpoints(run):
    return sorted(path.name for path in (run / "checkpoints").glob("*")) if run.exists() else []


class Interrupted(house.TestCase):
    def arguments(self, run, *more):
        return ["train", self.text, "--out", run, "--quiet", *house.SMALL, *EVERY, *more]

    def start(self, run, *more):
        process = subprocess.Popen([house.QUERN, *map(str, self.arguments(run, *more))],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=house.ENVIRONMENT)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_for_checkpoint(self, run, process):
        deadline = time.monotonic() + 300
        while not checkpoints(run):
            self.assertIsNone(process.poll(), "it ended before its first checkpoint")
            self.assertLess(time.monotonic(), deadline, "no checkpoint")
            time.sleep(0.002)

    def test_kill_and_resume_gives_the_same_weights(self):
        hashes = set()
        for threads in (1, 2):
            whole, cut = self.folder / f"whole-{threads}", self.folder / f"cut-{threads}"
            self.run_ok(*self.arguments(whole, "--threads", threads, "--steps", STEPS))
            kills = 0
            for _ in range(3):
                process = self.start(cut, "--threads", threads, "--steps", STEPS, "--resume")
                before = checkpoints(cut)
                while process.poll() is None and (not checkpoints(cut) or
                                                  checkpoints(cut) == before):
                    time.sleep(0.001)
                kills += process.poll() is None
                process.kill()
                process.wait()
            self.assertGreater(kills, 0, "it was never killed: too fast for this test")
            self.run_ok(*self.arguments(cut, "--threads", threads, "--steps", STEPS, "--resume"))
            self.assertEqual(house.weights_hash(cut), house.weights_hash(whole))
            hashes.add(house.weights_hash(whole))
        self.assertEqual(len(hashes), 1, "other weights at 1 and 2 threads")

    def test_signals_save(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number.name):
                run = self.folder / number.name
                process = self.start(run, "--steps", 1000000, "--set",
                                     "train.checkpoint_every=1000000", "--set",
                                     "train.evaluate_every=1000000")
                time.sleep(2 if house.OPTIMISED else 15)
                process.send_signal(number)
                code = process.wait(timeout=60)
                self.assertIn(code, (0, 1, 130, 143))
                self.assertTrue(checkpoints(run), "nothing was saved")
                self.run_ok("generate", run, "The", "--max-tokens", 2)

    def test_json_of_what_was_interrupted(self):
        """One object, whatever is learnt: how far it came, and no verdict yet."""
        table, log = self.folder / "table.csv", self.folder / "log.csv"
        table.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{'no' if i % 3 else 'yes'}\n" for i in range(300)))
        log.write_text("user,item,time\n" + "".join(f"u{i % 40},i{i * i % 23},{i}\n" for i in range(600)))
        for name, data, more in (("text", self.text, house.SMALL), ("rows", table, ["--target", "y"]),
                                 ("items", log, ["--task", "recommend"])):
            with self.subTest(name):
                run = self.folder / name
                process = subprocess.Popen(
                    [house.QUERN, "train", str(data), "--out", str(run), "--quiet", "--json", *more, "--steps", "1000000",
                     "--set", "train.checkpoint_every=5", "--set", "train.patience=0"],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=house.ENVIRONMENT)
                self.addCleanup(process.kill)
                self.wait_for_checkpoint(run, process)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 130, err)
                answer = json.loads(out)
                self.assertEqual(answer["stopped_because"], "interrupted")
                self.assertGreater(answer["steps"], 0)
                self.assertNotIn("verdict", answer)

    def test_resume_of_a_finished_run_changes_nothing(self):
        run = self.folder / "run"
        self.run_ok(*self.arguments(run, "--steps", 20))
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        self.run_ok(*self.arguments(run, "--steps", 20, "--resume"))
        self.assertEqual({path: path.read_bytes() for path in run.rglob("*") if path.is_file()},
                         before)

    def test_resume_without_a_checkpoint_starts_afresh_and_says_so(self):
        run, other = self.folder / "run", self.folder / "other"
        arguments = [a for a in self.arguments(run, "--steps", 20, "--resume") if a != "--quiet"]
        result = self.run_ok(*arguments)
        self.assertRegex(result.err.lower(), "no checkpoint|afresh")
        self.run_ok(*self.arguments(other, "--steps", 20))
        self.assertEqual(house.weights_hash(run), house.weights_hash(other))


class FullDisk(house.TestCase):
    def arguments(self, run, steps, *more):
        return ["train", self.text, "--out", run, "--quiet", *house.SMALL, *EVERY,
                "--steps", steps, *more]

    def assert_survives(self, run, options):
        """A run that could not write its next checkpoint goes on from its last one."""
        before = checkpoints(run)
        result = house.quern(*self.arguments(run, STEPS, "--resume"), **options)
        self.assertEqual(result.code, 1, result)
        self.assertEqual(result.err.count("\n"), 1, result.err)
        self.assertTrue(set(before) & set(checkpoints(run)), "the last good checkpoint is gone")
        self.assertFalse([name for name in os.listdir(run) if "part" in name or "tmp" in name])

    def interrupted_run(self, run):
        """A run that has a checkpoint and is not finished."""
        process = subprocess.Popen([house.QUERN, *map(str, self.arguments(run, STEPS))],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=house.ENVIRONMENT)
        while not checkpoints(run) and process.poll() is None:
            time.sleep(0.001)
        self.assertIsNone(process.poll(), "it finished too fast for this test")
        process.kill()
        process.wait()

    def test_file_size_limit(self):
        run, whole = self.folder / "run", self.folder / "whole"
        self.interrupted_run(run)

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))

        self.assert_survives(run, {"preexec_fn": limit})
        self.run_ok(*self.arguments(run, STEPS, "--resume"))
        self.run_ok(*self.arguments(whole, STEPS))
        self.assertEqual(house.weights_hash(run), house.weights_hash(whole))

    @contextlib.contextmanager
    def mounted(self, size):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "quern-test", str(disk)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            self.skipTest("mounting a tmpfs needs root with CAP_SYS_ADMIN; "
                          "test_file_size_limit covers the same path")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_full_tmpfs(self):
        whole = self.folder / "whole"
        self.run_ok(*self.arguments(whole, STEPS))
        with self.mounted("64m") as disk:
            run = disk / "run"
            self.interrupted_run(run)
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            self.assert_survives(run, {})
            filler.unlink()
            self.run_ok(*self.arguments(run, STEPS, "--resume"))
            self.assertEqual(house.weights_hash(run), house.weights_hash(whole))


if __name__ == "__main__":
    unittest.main()
