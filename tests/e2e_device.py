"""--device cuda where it cannot be used: one line, exit code 1, nothing half-written. And all of it, over a libcuda.so.1
that runs the kernels on the processor (built where nvcc is found), or on a GPU."""

import shutil
import subprocess
import unittest

import house

EMULATED = house.BUILD / "emulated_cuda"


def has_gpu():
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool], capture_output=True, check=False).returncode == 0


class Device(house.TestCase):
    def arguments(self, *more):
        return ["train", self.text, "--out", self.folder / "run", *house.SMALL, "--steps", 2, *more]

    @unittest.skipIf(has_gpu(), "this machine has a GPU")
    def test_refused(self):
        for arguments in (self.arguments("--device", "cuda"), self.arguments("--set", "device=cuda"),
                          ["bench", "machine", "--device", "cuda"]):
            with self.subTest(arguments):
                error = self.assert_fails(1, *arguments, says=("CUDA cannot be used", "--device cpu"))
                self.assertEqual(error["code"], "no_cuda")
                self.assertFalse((self.folder / "run").exists())

    def test_processor(self):
        for device in ("cpu", "auto"):
            with self.subTest(device):
                result = self.train(self.folder / device, "--steps", 2, "--device", device)
                self.assertEqual(result.json["device"], "cpu")

    @staticmethod
    def cuda():
        """The flag and the environment that make a command compute there."""
        environment = dict(house.ENVIRONMENT)
        if not has_gpu():
            environment["LD_LIBRARY_PATH"] = str(EMULATED)
            environment["QUERN_CUDA_BLAS"] = "0"  # the emulated driver has no stream for them
            environment["QUERN_CUDA_CUDNN"] = "0"
        return {"env": environment}

    @unittest.skipUnless(has_gpu() or EMULATED.exists(), "no GPU, and no nvcc for the emulated one")
    def test_cuda(self):
        small = ["--set", "model.width=16", "--set", "model.ffn_width=32", "--set", "model.context=8",
                 "--set", "train.evaluate_every=100", "--set", "data.validation=0.02"]
        run = self.folder / "run"
        text = self.folder / "short.txt"
        text.write_text(house.sayings(20), encoding="utf-8")
        got = self.train(run, *small, "--steps", 3, "--device", "cuda", data=text, **self.cuda()).json
        want = self.train(self.folder / "cpu", *small, "--steps", 3, data=text).json
        self.assertEqual(got["device"], "cuda")
        self.assertAlmostEqual(got["train"]["loss"], want["train"]["loss"], places=4)
        self.assertAlmostEqual(got["validation"]["loss"], want["validation"]["loss"], places=4)
        # What was trained there answers alike on both.
        generate = ["generate", run, "the", "--max-tokens", 6, "--temperature", 0, "--json", "--quiet"]
        there = self.run_ok(*generate, "--device", "cuda", **self.cuda()).json
        self.assertEqual(there["text"], self.run_ok(*generate).json["text"])

    @unittest.skipUnless(has_gpu() or EMULATED.exists(), "no GPU, and no nvcc for the emulated one")
    def test_bfloat16(self):
        """Activations in bfloat16: every task learns, and answers nearly what the processor does with the same weights."""
        bf16 = ["--device", "cuda", "--set", "precision=bf16"]
        small = ["--quiet", "--json", "--steps", 3, "--set", "model.width=16", "--set", "model.layers=1",
                 "--set", "model.ffn_width=32", "--set", "train.evaluate_every=100"]

        def trained(name, *arguments):
            folder = self.folder / name
            both = [self.run_ok("train", *arguments, "--out", folder / device, *small, *flags, **where).json
                    for device, flags, where in (("cpu", [], {}), ("cuda", bf16, self.cuda()))]
            self.assertEqual([one["device"] for one in both], ["cpu", "cuda"])
            self.assertAlmostEqual(both[1]["train"]["loss"], both[0]["train"]["loss"], delta=.05, msg=name)
            return folder / "cuda"

        text = self.folder / "short.txt"
        text.write_text(house.sayings(20), encoding="utf-8")
        run = trained("text", text, "--set", "model.context=8", "--set", "data.validation=0.02",
                      "--set", "tokenizer.vocabulary=280", "--set", "stochastic_rounding=true")
        words = ["generate", run, "the", "--max-tokens", 4, "--temperature", 0, "--json", "--quiet"]
        self.run_ok(*words, *bf16, **self.cuda())
        rows = self.folder / "rows.csv"
        rows.write_text("a,b,t,y\n" + "".join(
            f"{i % 7},{i % 5},word{i % 3},{'no' if i % 7 < 3 else 'yes'}\n" for i in range(80)))
        run = trained("rows", rows, "--target", "y", "--set", "regularise.ensemble=1", "--set", "data.folds=1")
        words = ["evaluate", run, rows, "--json", "--quiet"]
        here = self.run_ok(*words).json["metrics"]["log_loss"]["value"]
        there = self.run_ok(*words, *bf16, **self.cuda()).json["metrics"]["log_loss"]["value"]
        self.assertAlmostEqual(here, there, delta=.02)
        log = self.folder / "log.csv"
        log.write_text("user,item,time\n" + "".join(
            f"u{u},i{(7 * u + t) % 150},2024-01-{1 + t:02d}\n" for u in range(60) for t in range(6)))
        trained("items", log, "--task", "recommend", "--set", "train.candidates=64", "--set", "train.batch=4",
                "--set", "model.context=6")

    @unittest.skipUnless(has_gpu() or EMULATED.exists(), "no GPU, and no nvcc for the emulated one")
    def test_quantised(self):
        """Weights of 8 and 4 bits are read as they stand, beside activations of either type."""
        small = ["--quiet", "--steps", 3, "--set", "model.width=32", "--set", "model.ffn_width=64",
                 "--set", "model.layers=1", "--set", "train.evaluate_every=100"]
        text = self.folder / "short.txt"
        text.write_text(house.sayings(20), encoding="utf-8")
        rows = self.folder / "rows.csv"
        rows.write_text("a,b,t,y\n" + "".join(
            f"{i % 7},{i % 5},word{i % 3},{'no' if i % 7 < 3 else 'yes'}\n" for i in range(40)))
        self.train(self.folder / "text", *small[1:], "--set", "model.context=8", "--set", "data.validation=0.02", data=text)
        self.run_ok("train", rows, "--target", "y", "--out", self.folder / "rows", *small, "--set", "data.folds=1",
                    "--set", "regularise.ensemble=1")
        for name, asked, value in (
                ("text", ["generate", "the", "--max-tokens", 2, "--temperature", 0, "--show-probs", 1],
                 lambda said: said["steps"][0]["candidates"][0]["probability"]),
                ("rows", ["evaluate", rows], lambda said: said["metrics"]["log_loss"]["value"]),
                ("rows", ["explain", rows, "--method", "ig"], lambda said: said["value"])):
            for kind in ("q8_0", "q4_0"):
                run = self.folder / f"{name}-{kind}"
                if not run.exists():
                    self.run_ok("quantize", self.folder / name, "--to", kind, "-o", run, "--quiet")
                words = [asked[0], run, *asked[1:], "--json", "--quiet"]
                here = value(self.run_ok(*words).json)
                for precision, delta in (("float32", 1e-4), ("bf16", 2e-2)):
                    there = self.run_ok(*words, "--device", "cuda", "--set", f"precision={precision}", **self.cuda()).json
                    self.assertAlmostEqual(value(there), here, delta=delta, msg=f"{asked[0]} {kind} {precision}")

    @unittest.skipUnless(has_gpu() or EMULATED.exists(), "no GPU, and no nvcc for the emulated one")
    def test_explanations(self):
        """The model answers there, and says the same."""
        def both(command, *arguments, at):
            words = [command, *arguments, "--json", "--quiet"]
            there = self.run_ok(*words, "--device", "cuda", **self.cuda()).json
            here = self.run_ok(*words).json
            self.assertEqual((there["device"], here["device"]), ("cuda", "cpu"), command)
            for key in at:
                there, here = there[key], here[key]
            self.assertAlmostEqual(there, here, places=3, msg=command)

        small = ["--quiet", "--steps", 3, "--set", "model.width=16", "--set", "model.layers=1",
                 "--set", "regularise.ensemble=1"]
        rows = self.folder / "rows.csv"
        rows.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{'no' if i % 7 < 3 else 'yes'}\n" for i in range(80)))
        run = self.folder / "rows"
        self.run_ok("train", rows, "--target", "y", "--out", run, *small)
        both("explain", run, rows, at=["value"])
        both("diagnose", run, at=["overfitting", "held_out_loss"])
        log = self.folder / "log.csv"
        log.write_text("user,item,time\n" + "".join(
            f"u{u},i{(u + t) % 9},2024-01-{1 + t:02d}\n" for u in range(30) for t in range(6)))
        run = self.folder / "items"
        self.run_ok("train", log, "--task", "recommend", "--out", run, *small[:-2])
        both("explain", run, "--history", "i1,i2,i3", at=["value"])
        both("evaluate", run, log, "-k", 5, at=["metrics", "ndcg@5", "value"])
        text = self.folder / "short.txt"
        text.write_text(house.sayings(20), encoding="utf-8")
        run = self.folder / "text"
        self.train(run, "--steps", 3, "--set", "model.context=16", "--set", "train.evaluate_every=100",
                   "--set", "data.validation=0.02", data=text)
        both("explain", run, "the miller", "--max-evals", 64, at=["value"])

    def test_bad_values(self):
        self.assert_fails(2, *self.arguments("--device", "gpu"), says=("device",))
        self.assert_fails(2, *self.arguments("--set", "precision=half"), says=("precision",))
        self.assert_fails(2, *self.arguments("--device", "cuda", "--set", "stochastic_rounding=true"),
                          says=("stochastic_rounding", "precision=bf16"))


if __name__ == "__main__":
    unittest.main()
