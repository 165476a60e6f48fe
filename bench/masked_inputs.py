"""Training on masked inputs: what it costs on rows as they are, and what it gives on rows that hiding makes.

    python bench/masked_inputs.py DATA [--only NAME] [--rate 0.1 --rate 0.25] [--draws 4] [--threads 2] [--seeds 1] [--folds 0]
        [--option WORD]...

DATA, its splits and what is needed are those of tables.py. For each share of masked rows (regularise.masked_inputs) a model
is trained and held against the one trained with none: on the test rows, and on copies of them in which each column is hidden
by a chance of one half, as `quern explain` hides it: all hidden columns of a copy have the values of one training row. Prints
AUC and log loss (of numbers: the mean squared error by the variance), pooled over folds and seeds, with the paired bootstrap
interval, over rows, of each difference to training on no masked rows.
"""

import tempfile

import numpy as np
import pandas as pd
from common import answers, paired, parser_of
from sklearn.metrics import roc_auc_score
from tables import SETS, chosen


def masked(test, train, features, draws, seed):
    """`draws` copies of the test rows, one after another, each column hidden by a chance of one half."""
    random = np.random.default_rng(seed)
    copies = []
    for _ in range(draws):
        lenders = train[features].iloc[random.integers(0, len(train), len(test))].set_index(test.index)
        copies.append(test[features].where(random.random((len(test), len(features))) < .5, lenders))
    return pd.concat(copies)


def losses(said, truth, positive, variance):
    if not positive:
        return (said - truth) ** 2 / variance
    said = np.clip(said, 1e-7, 1 - 1e-7)
    return -np.log(np.where(truth, said, 1 - said))


def mean_loss(_, loss):
    return float(np.mean(loss))


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
    parser = parser_of(__doc__, SETS)
    parser.add_argument("--rate", type=float, action="append", help="a share of masked rows; may be given again")
    parser.add_argument("--draws", type=int, default=4, help="masked copies of each test row")
    options = parser.parse_args()
    rates = [0.0, *(options.rate or [0.1, 0.25])]
    own_words = options.option
    for name, table, features, target, positive, parts in chosen(options):
        variance = 1 if positive else table[target].var()
        said = {rate: [] for rate in rates}  # each (copies + 1, rows): the rows as they are, then masked
        truths = []
        for seed in range(1, options.seeds + 1):
            for part, (train, test) in enumerate(parts(seed)):
                truths.append((test[target] == positive if positive else test[target]).to_numpy())
                asked = pd.concat([test[features], masked(test, train, features, options.draws, 1000 * seed + part)])
                column = f"probability {positive}" if positive else "prediction"
                for rate in rates:
                    options.option = [*own_words, "--set", f"regularise.masked_inputs={rate}"]
                    with tempfile.TemporaryDirectory() as folder:
                        rows, _ = answers(options, folder, train, asked, target, seed)
                    said[rate].append(np.array([float(row[column]) for row in rows]).reshape(-1, len(test)))
        truth = np.concatenate(truths)
        said = {rate: np.concatenate(each, axis=1) for rate, each in said.items()}
        loss = {rate: losses(each, truth, positive, variance) for rate, each in said.items()}
        for rate in rates:
            line = f"{name}, {rate:g} masked:"
            for what, copies in ("as they are", slice(0, 1)), ("half hidden", slice(1, None)):
                mean = {each: loss[each][copies].mean(axis=0) for each in {0.0, rate}}
                line += f"  {what}: loss {scored(mean_loss, truth, mean[rate], mean[0.0])}"
                if positive:
                    rows = {each: said[each][copies].T for each in {0.0, rate}}
                    line += f" AUC {scored(mean_auc, truth, rows[rate], rows[0.0])}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
