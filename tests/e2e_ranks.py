"""Training over MPI ranks: the same result as one rank, a rank that is killed, going on after it."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

import house

MPIRUN = shutil.which("mpirun")
LIBRARY = pathlib.Path(house.QUERN).parent / "libquern_mpi.so"
ENVIRONMENT = {
    **house.ENVIRONMENT,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # Containers often forbid a process to read another's memory; Open MPI then only warns.
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
}
if house.SANITIZED:
    # Open MPI keeps memory of its own to the end and unloads the plugins that hold it: nothing to name in a suppression.
    ENVIRONMENT["ASAN_OPTIONS"] = "detect_leaks=0"
STEPS = 12
EVERY = ["--set", "train.checkpoint_every=4", "--set", "train.evaluate_every=4"]


def launcher(ranks):
    return [MPIRUN, "--oversubscribe", "-np", str(ranks), house.QUERN]


def logged(run, kind="step"):
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def processes_of(run):
    """Rank -> process, of the ranks that train this run."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(run).encode() not in (folder / "cmdline").read_bytes().split(b"\0"):
                continue
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                    found[int(entry.split(b"=")[1])] = int(folder.name)
    return found


class Alone(house.TestCase):
    def test_a_rank_without_the_library_says_so(self):
        environment = {**house.ENVIRONMENT, "OMPI_COMM_WORLD_SIZE": "2",
                       "QUERN_MPI_LIBRARY": str(self.folder / "none.so")}
        error = self.assert_fails(1, "train", self.text, "--out", self.folder / "run",
                                  says=["one of 2 ranks", "libquern_mpi"],
                                  options={"env": environment})
        self.assertEqual(error["code"], "no_mpi")
        self.assertFalse((self.folder / "run").exists())


    def test_one_process_does_not_look_for_the_library(self):
        broken = self.folder / "broken.so"
        broken.write_bytes(b"not a library")
        environment = {**house.ENVIRONMENT, "QUERN_MPI_LIBRARY": str(broken)}
        result = self.train(self.folder / "run", "--steps", 2, env=environment)
        self.assertEqual(result.json["ranks"], 1)


class RankCase(house.TestCase):
    """What tests of several ranks share."""

    environment = ENVIRONMENT

    def arguments(self, run, *more, data=None):
        return ["train", data or self.text, "--out", run, "--quiet", "--json", "--threads", 1,
                *more]

    def run_ranks(self, ranks, *arguments):
        if ranks == 1:
            return self.run_ok(*arguments, env=self.environment)
        done = subprocess.run([*launcher(ranks), *map(str, arguments)], capture_output=True,
                              timeout=300, check=False, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return house.Result(done.returncode, done.stdout, done.stderr.decode())

    def cut_at(self, run, step, *arguments, ranks=2):
        """A run of so many ranks, killed once its checkpoint of that step is there."""
        command = launcher(ranks) if ranks > 1 else [house.QUERN]
        process = subprocess.Popen([*command, *map(str, arguments)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=self.environment)
        self.addCleanup(process.kill)
        self.wait_until(lambda: (run / f"checkpoints/step-{step}.safetensors").exists())
        for victim in processes_of(run).values() if ranks > 1 else [process.pid]:
            os.kill(victim, signal.SIGKILL)
        process.wait(timeout=60)
        self.assertFalse((run / "metrics.json").exists(), "it finished too fast for this test")

    def wait_until(self, holds, seconds=120):
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, "waited for too long")
            time.sleep(0.002)


@unittest.skipUnless(MPIRUN and LIBRARY.exists(),
                     "needs mpirun and libquern_mpi (Debian: openmpi-bin, libopenmpi-dev)")
class Ranks(RankCase):
    def train_text(self, ranks, *more, steps=STEPS):
        run = self.folder / f"text-{ranks}-{len(list(self.folder.iterdir()))}"
        self.run_ranks(ranks, *self.arguments(run, *house.SMALL, *EVERY, "--steps", steps, *more))
        return run

    def test_exact_runs_are_the_same_bits(self):
        runs = {ranks: self.train_text(ranks, "--bit-exact") for ranks in (1, 2, 4)}
        for ranks in (2, 4):
            self.assertEqual(house.weights_hash(runs[1]), house.weights_hash(runs[ranks]))
            for kind, keys in (("step", ("step", "loss", "gradient_norm")),
                               ("evaluation", ("step", "validation_loss"))):
                self.assertEqual([[line[key] for key in keys] for line in logged(runs[1], kind)],
                                 [[line[key] for key in keys] for line in logged(runs[ranks], kind)])
            # The root alone writes, and it writes what one process does.
            self.assertEqual(sorted(path.name for path in runs[1].rglob("*")
                                    if "tfevents" not in path.name),
                             sorted(path.name for path in runs[ranks].rglob("*")
                                    if "tfevents" not in path.name))

    def test_runs_agree_within_rounding(self):
        one = self.train_text(1)
        for ranks in (2, 4):
            many = self.train_text(ranks)
            for a, b in zip(logged(one), logged(many), strict=True):
                self.assertAlmostEqual(a["loss"], b["loss"], delta=1e-6)
            for a, b in zip(logged(one, "evaluation"), logged(many, "evaluation"), strict=True):
                self.assertAlmostEqual(a["validation_loss"], b["validation_loss"], delta=1e-6)

    def test_tables_and_logs_of_users(self):
        rows = self.folder / "rows.csv"
        rows.write_text("a,b,colour,y\n" + "".join(
            f"{i % 7},{i * 3 % 11},{'red' if i % 3 else 'blue'},{'yes' if i % 7 > 3 else 'no'}\n"
            for i in range(120)), encoding="utf-8")
        users = self.folder / "users.csv"
        users.write_text("user,item,time\n" + "".join(
            f"u{u},i{(u + 3 * t) % 17},{t}\n" for u in range(24) for t in range(9)),
            encoding="utf-8")
        for name, more in (("rows", ["--target", "y"]), ("users", ["--task", "recommend"])):
            with self.subTest(name):
                hashes = set()
                for ranks in (1, 2):
                    run = self.folder / f"{name}-{ranks}"
                    result = self.run_ranks(ranks, *self.arguments(
                        run, "--size", "tiny", "--steps", 6, "--bit-exact", "--set",
                        "train.batch=16", *more, data=self.folder / f"{name}.csv"))
                    self.assertEqual(result.json["ranks"], ranks)
                    hashes.add(house.weights_hash(run))
                self.assertEqual(len(hashes), 1)

    def test_a_killed_rank_stops_all_and_others_go_on(self):
        whole = self.train_text(1, "--bit-exact", steps=40)
        for victim in (0, 1):
            with self.subTest(f"rank {victim} killed"):
                run = self.folder / f"cut-{victim}"
                arguments = self.arguments(run, *house.SMALL, *EVERY, "--bit-exact", "--resume")
                process = subprocess.Popen(
                    [*launcher(2), *map(str, arguments), "--steps", "1000000"],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
                self.addCleanup(process.communicate)
                self.addCleanup(process.kill)
                self.wait_until(lambda: len(list((run / "checkpoints").glob("*"))) > 0)
                ranks = processes_of(run)
                os.kill(ranks[victim], signal.SIGKILL)
                _, err = process.communicate(timeout=60)
                self.assertNotEqual(process.returncode, 0)
                self.assertIn(f"rank {victim} ", err.decode())
                self.wait_until(lambda: not processes_of(run), 30)
        # What was cut with two ranks goes on with one, four, and two, to where one rank ends.
        for ranks in (4, 1, 2):
            with self.subTest(f"resumed by {ranks}"):
                run = self.folder / f"resumed-{ranks}"
                self.cut_at(run, 20, *self.arguments(run, *house.SMALL, *EVERY, "--bit-exact",
                                                     "--steps", 40))
                self.run_ranks(ranks, *self.arguments(run, *house.SMALL, *EVERY, "--bit-exact",
                                                      "--steps", 40, "--resume"))
                self.assertEqual(house.weights_hash(run), house.weights_hash(whole))

    def test_a_batch_that_cannot_be_shared_is_refused(self):
        run = self.folder / "run"
        done = subprocess.run([*launcher(2), *map(str, self.arguments(
            run, *house.SMALL, "--set", "train.batch=5", "--steps", 2))], capture_output=True,
            timeout=120, check=False, env=ENVIRONMENT)
        self.assertEqual(done.returncode, 2, done.stderr.decode())
        self.assertIn("train.batch = 5", done.stderr.decode())
        self.assertEqual(json.loads(done.stdout)["error"]["code"], "bad_value")
        self.assertFalse((run / "config.resolved.toml").exists())


if __name__ == "__main__":
    unittest.main()
