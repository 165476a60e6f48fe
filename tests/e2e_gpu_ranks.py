"""Training on several GPUs, one a rank: the same result as one GPU, a rank that is killed, going on with another number.
Over a libcuda.so.1 and a libnccl.so.2 that compute on the processor (built where nvcc is found), or on two GPUs."""

import json
import os
import shutil
import signal
import subprocess
import unittest

import e2e_ranks
import house

EMULATED = house.BUILD / "emulated_cuda"


def gpus():
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, check=False)
    return listed.stdout.count(b"GPU ") if listed.returncode == 0 else 0


ON_GPUS = gpus() >= 2
ENVIRONMENT = dict(e2e_ranks.ENVIRONMENT)
if not ON_GPUS:
    ENVIRONMENT["LD_LIBRARY_PATH"] = str(EMULATED)
    ENVIRONMENT["QUERN_CUDA_BLAS"] = "0"
    ENVIRONMENT["QUERN_EMULATED_GPUS"] = "2"
STEPS = 6
# As little as there can be: emulated kernels run thread by thread.
SMALL = [*house.SMALL, *(f"--set={key}" for key in (
    "model.layers=1", "model.width=8", "model.ffn_width=16", "model.context=8", "train.batch=4", "train.optimizer=adamw",
    "data.validation=0.02", "train.evaluate_every=6", "train.checkpoint_every=2"))]


@unittest.skipUnless(e2e_ranks.MPIRUN and e2e_ranks.LIBRARY.exists() and (ON_GPUS or EMULATED.exists()),
                     "needs mpirun and libquern_mpi, and two GPUs, or nvcc for emulated ones")
class GpuRanks(e2e_ranks.RankCase):
    environment = ENVIRONMENT

    def setUp(self):
        super().setUp()
        self.text.write_text(house.sayings(20), encoding="utf-8")

    def words(self, run, *more, steps=STEPS):
        return self.arguments(run, *SMALL, "--device", "cuda", "--steps", steps, *more)

    def train_there(self, ranks, *more):
        run = self.folder / f"run-{ranks}-{len(list(self.folder.iterdir()))}"
        result = self.run_ranks(ranks, *self.words(run, *more))
        self.assertEqual((result.json["device"], result.json["ranks"]), ("cuda", ranks))
        return run

    def fails(self, environment, ranks=2):
        """The error of a run that cannot begin; nothing is left of it."""
        run = self.folder / "refused"
        done = subprocess.run([*e2e_ranks.launcher(ranks), *map(str, self.words(run))], capture_output=True,
                              timeout=120, check=False, env=environment)
        self.assertEqual(done.returncode, 1, done.stderr.decode())
        self.assertFalse((run / "config.resolved.toml").exists())
        return json.loads(done.stdout)["error"]

    def test_two_agree_with_one_within_rounding(self):
        one, two = (e2e_ranks.logged(self.train_there(ranks)) for ranks in (1, 2))
        for a, b in zip(one, two, strict=True):
            self.assertAlmostEqual(a["loss"], b["loss"], delta=1e-6)

    def test_exact_runs_are_the_same_bits_and_go_on_with_another_number(self):
        runs = {ranks: self.train_there(ranks, "--bit-exact") for ranks in (1, 2)}
        whole = house.weights_hash(runs[1])
        self.assertEqual(whole, house.weights_hash(runs[2]))
        for kind, keys in (("step", ("step", "loss", "gradient_norm")), ("evaluation", ("step", "validation_loss"))):
            self.assertEqual(*([[line[key] for key in keys] for line in e2e_ranks.logged(run, kind)]
                               for run in runs.values()))
        for before, after in ((2, 1), (1, 2)):
            with self.subTest(f"{before} and then {after}"):
                run = self.folder / f"from-{before}"
                self.cut_at(run, 2, *self.words(run, "--bit-exact"), ranks=before)
                self.run_ranks(after, *self.words(run, "--bit-exact", "--resume"))
                self.assertEqual(house.weights_hash(run), whole)

    def test_each_may_be_shown_a_gpu_of_its_own(self):
        """As Slurm does; the same one for both is refused."""
        for second, code in ((1, 0), (0, 1)):
            run = self.folder / f"alone-{second}"
            rank = [house.QUERN, *self.words(run, steps=2)]
            command = [e2e_ranks.MPIRUN, "--oversubscribe", "-np", "1", "-x", "CUDA_VISIBLE_DEVICES=0", *rank, ":",
                       "-np", "1", "-x", f"CUDA_VISIBLE_DEVICES={second}", *rank]
            done = subprocess.run(list(map(str, command)), capture_output=True, timeout=120, check=False, env=ENVIRONMENT)
            self.assertEqual(done.returncode, code, done.stderr.decode())
            if code:
                self.assertEqual(json.loads(done.stdout)["error"]["code"], "too_few_gpus")

    def test_a_killed_rank_stops_the_other(self):
        run = self.folder / "cut"
        process = subprocess.Popen([*e2e_ranks.launcher(2), *map(str, self.words(run, steps=100000))],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.wait_until(lambda: len(list((run / "checkpoints").glob("*"))) > 0)
        os.kill(e2e_ranks.processes_of(run)[1], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("rank 1 ", err.decode())
        self.wait_until(lambda: not e2e_ranks.processes_of(run), 30)

    @unittest.skipIf(ON_GPUS, "this machine has as many GPUs as it has")
    def test_more_ranks_than_gpus_are_refused(self):
        for count, ranks, says in (("1", 2, "1 GPU is seen, and 2 ranks"), ("2", 3, "2 GPUs are seen, and 3 ranks")):
            error = self.fails({**ENVIRONMENT, "QUERN_EMULATED_GPUS": count}, ranks)
            self.assertEqual(error["code"], "too_few_gpus")
            self.assertIn(says, error["message"])
            self.assertIn(f"mpirun -np {count}", error["hint"])

    @unittest.skipIf(ON_GPUS, "this machine has NCCL")
    def test_without_nccl_it_says_what_to_install(self):
        folder = self.folder / "libraries"
        folder.mkdir()
        (folder / "libcuda.so.1").symlink_to(EMULATED / "libcuda.so.1")
        for name in ("libnccl.so.2", "libnccl.so"):
            (folder / name).write_bytes(b"not a library, and before any other of that name")
        error = self.fails({**ENVIRONMENT, "LD_LIBRARY_PATH": str(folder)})
        self.assertEqual(error["code"], "no_nccl")
        self.assertIn("libnccl2", error["hint"])


if __name__ == "__main__":
    unittest.main()
