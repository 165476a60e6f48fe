"""Training on masked inputs: what it costs on rows as they are, and what it gives on rows that hiding makes.

    python bench/masked_inputs.py DATA [--only NAME] [--rate 0.1 --rate 0.25] [--draws 4] [--threads 2] [--seeds 1] [--folds 0]
        [--option WORD]...

DATA, its splits and what is needed are those of tables.py; for the texts of texts.py DATA is its folder, for fashion the
one of Fashion-MNIST's four IDX files. For each share of masked rows (regularise.masked_inputs) a model is trained and held
against the one trained with none: on the test rows, and on copies of them in which each part is hidden by a chance of one half,
as `quern explain` hides it: the hidden columns of a copy have the values of one training row, hidden words are left out, hidden
patches (eight a side) have the mean colour. Prints the log loss (of numbers: the mean squared error by the variance) and AUC,
of several classes accuracy, pooled over folds and seeds, with the paired bootstrap interval, over rows, of each difference to
training on no masked rows.
"""

import csv
import gzip
import pathlib
import subprocess
import tempfile

import numpy as np
import pandas as pd
import tables
import texts
from common import answers, paired, parser_of
from sklearn.metrics import roc_auc_score

SIDE, PATCHES = 28, 8


def masked_columns(test, train, features, random):
    lenders = train[features].iloc[random.integers(0, len(train), len(test))].set_index(test.index)
    return test[features].where(random.random((len(test), len(features))) < .5, lenders)


def masked_words(test, chinese, random):
    join = "" if chinese else " "
    words = [list(text) if chinese else text.split() for text in test["text"]]
    return pd.DataFrame({"text": [join.join(word for word in each if random.random() < .5) for each in words]})


class Tables:
    """Rows of columns, or of one text: train and test as tables."""

    def __init__(self, options, features, target, positive, parts, hide):
        self.options, self.features, self.target, self.positive, self.parts, self.hide = \
            options, features, target, positive, parts, hide

    def answer(self, train, test, words, seed, part, folder):
        random = np.random.default_rng(1000 * seed + part)
        copies = [self.hide(test, train, random) for _ in range(self.options.draws)]
        self.options.option = words
        return answers(self.options, folder, train, pd.concat([test[self.features], *copies]), self.target, seed)[0]

    def truth(self, test):
        return test[self.target].to_numpy()


class Pictures:
    """Fashion-MNIST: train and test as names of files."""

    positive = None

    def __init__(self, options):
        self.options, self.data = options, options.data

    def parts(self, _):
        return [("train-images-idx3-ubyte.gz", "t10k")]

    def read(self, name, header):
        return np.frombuffer(gzip.decompress((self.data / name).read_bytes()), np.uint8)[header:]

    def truth(self, test):
        return self.read(f"{test}-labels-idx1-ubyte.gz", 8).astype(str)

    def answer(self, train, test, words, seed, part, folder):
        pictures = self.read(f"{test}-images-idx3-ubyte.gz", 16).reshape(-1, SIDE, SIDE)
        colour = np.uint8(round(self.read(train, 16).mean()))
        cell = -(-SIDE // PATCHES)
        random = np.random.default_rng(seed + part)
        copies = [pictures]
        for _ in range(self.options.draws):
            cells = random.random((len(pictures), -(-SIDE // cell), -(-SIDE // cell))) < .5
            hidden = cells.repeat(cell, 1).repeat(cell, 2)[:, :SIDE, :SIDE]
            copies.append(np.where(hidden, colour, pictures))
        copies = np.concatenate(copies)
        asked, out, run = (pathlib.Path(folder) / name for name in ("asked-images-idx3-ubyte", "out.csv", "run"))
        asked.write_bytes(np.array([0x803, len(copies), SIDE, SIDE], ">i4").tobytes() + copies.tobytes())
        common = ["--threads", str(self.options.threads), "--quiet"]
        subprocess.run([self.options.quern, "train", self.data / train, "--out", run, "--seed", str(seed), *common, *words],
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run([self.options.quern, "predict", run, asked, "-o", out, *common], check=True)
        with open(out, encoding="utf-8", newline="") as rows:
            return list(csv.DictReader(rows))


def asked_for(options):
    """The data sets asked for: a name, the data, and the variance of its numbers (of classes: 1)."""
    for name, table, features, target, positive, parts in tables.chosen(options):
        def hide(test, train, random, features=features):
            return masked_columns(test, train, features, random)
        yield name, Tables(options, features, target, positive, parts, hide), 1 if positive else table[target].var()
    for name, cut, chinese, parts in texts.chosen(options) if options.only else []:  # all: the tables
        def hide(test, _, random, chinese=chinese):
            return masked_words(test, chinese, random)
        yield name, Tables(options, ["text"], "label", "spam" if cut else None, parts, hide), 1
    if "fashion" in (options.only or []):
        yield "fashion", Pictures(options), 1


def scores_of(rows, truth, positive, variance):
    """Of answers, copy after copy: the loss (copies, rows), and what AUC or accuracy is taken of (of numbers: no copies)."""
    truth_of_all = np.tile(truth, len(rows) // len(truth))
    if not any(name.startswith("probability ") for name in rows[0]):
        said = np.array([float(row["prediction"]) for row in rows])
        loss = ((said - truth_of_all) ** 2 / variance).reshape(-1, len(truth))
        return loss, np.empty((0, len(truth)))
    right = np.array([float(row[f"probability {label}"]) for row, label in zip(rows, truth_of_all)])
    loss = -np.log(np.clip(right, 1e-7, 1))
    if positive:
        more = np.array([float(row[f"probability {positive}"]) for row in rows])
    else:
        more = np.array([row["prediction"] == label for row, label in zip(rows, truth_of_all)], float)
    return loss.reshape(-1, len(truth)), more.reshape(-1, len(truth))


def mean(_, values):
    return float(np.mean(values))


def mean_auc(truth, said):
    """`said`: a column a copy of the rows."""
    return float(np.mean([roc_auc_score(truth, column) for column in said.T]))


def scored(score, truth, ours, theirs):
    """The score, and by how much it differs from the one of training on no masked rows."""
    text = f"{score(truth, ours):.4f}"
    if ours is theirs:
        return text
    low, high = paired(score, truth, ours, theirs)
    return f"{text} ({low:+.4f} to {high:+.4f})"


def main():
    parser = parser_of(__doc__, [*tables.SETS, *texts.SETS, "fashion"])
    parser.add_argument("--rate", type=float, action="append", help="a share of masked rows; may be given again")
    parser.add_argument("--draws", type=int, default=4, help="masked copies of each test row")
    options = parser.parse_args()
    rates = [0.0, *(options.rate or [0.1, 0.25])]
    own_words = options.option
    for name, data, variance in asked_for(options):
        found = {rate: ([], []) for rate in rates}
        truths = []
        for seed in options.seeds:
            for part, (train, test) in enumerate(data.parts(seed)):
                truths.append(data.truth(test))
                for rate in rates:
                    words = [*own_words, "--set", f"regularise.masked_inputs={rate}"]
                    with tempfile.TemporaryDirectory() as folder:
                        rows = data.answer(train, test, words, seed, part, folder)
                    for kept, scores in zip(found[rate], scores_of(rows, truths[-1], data.positive, variance)):
                        kept.append(scores)
        truth = np.concatenate(truths)
        truth = truth == data.positive if data.positive else truth
        for rate in rates:
            line = f"{name}, {rate:g} masked:"
            for rows, copies in ("as they are", slice(0, 1)), ("half hidden", slice(1, None)):
                loss, more = ({each: np.concatenate(found[each][of], axis=1)[copies].T for each in {0.0, rate}}
                              for of in (0, 1))
                line += f"  {rows}: loss {scored(mean, truth, loss[rate], loss[0.0])}"
                if more[rate].size > 0:
                    what, score = ("AUC", mean_auc) if data.positive else ("accuracy", mean)
                    line += f" {what} {scored(score, truth, more[rate], more[0.0])}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
