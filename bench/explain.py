"""Error of Shapley estimates at equal evaluations against shap's KernelSHAP, and how often intervals hold the truth.

Games are models over a background of 20 rows, masked columns taken from it, each row a case: a random network, a random forest
(scikit-learn) and a quadratic under tanh, in turn, of 8 to 12 columns; the truth is the exact answer. The
interpreter needs numpy, shap and scikit-learn.
"""

import argparse
import os
import pathlib
import subprocess
import warnings

import numpy as np


def model_of(kind, columns, rng):
    """A function of rows (n, columns)."""
    if kind == 0:
        w1 = rng.normal(size=(columns, 16)) * 1.5 / np.sqrt(columns)
        b, w2 = rng.normal(size=16), rng.normal(size=16)
        return lambda x: 1 / (1 + np.exp(-(np.maximum(x @ w1 + b, 0) @ w2)))
    if kind == 1:
        from sklearn.ensemble import RandomForestRegressor

        x = rng.normal(size=(300, columns))
        y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + 0.3 * x[:, 3:].sum(1) + (x[:, 4] > 0) * x[:, 5]
        forest = RandomForestRegressor(20, max_depth=6, random_state=int(rng.integers(1 << 30)))
        return forest.fit(x, y).predict
    q, w = rng.normal(size=(columns, columns)) / columns, rng.normal(size=columns)
    return lambda x: np.tanh(0.7 * (x @ w) + ((x @ q) * x).sum(1))


def game_of(seed, columns):
    """For every background row, a case, the value of every coalition (cases, 2^columns), column i in bit i."""
    rng = np.random.default_rng(seed)
    model = model_of(seed % 3, columns, rng)
    background, row = rng.normal(size=(20, columns)), rng.normal(size=columns)
    masks = (np.arange(1 << columns)[:, None] >> np.arange(columns)) & 1
    values = []
    for part in np.array_split(masks, max(1, len(masks) // 512)):
        rows = np.where(part[:, None, :] == 1, row, background[None])
        values.append(model(rows.reshape(-1, columns)).reshape(len(part), -1).T)
    return np.concatenate(values, axis=1)


class Quern:
    """The program explain_games, asked over pipes."""

    def __init__(self):
        binary = pathlib.Path(os.environ["QUERN"]).parent / "bench/explain_games"
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, method, cases, evaluations, seed):
        players = cases.shape[1].bit_length() - 1
        self.process.stdin.write(f"{method} {players} {evaluations} {seed} {len(cases)}\n".encode() + cases.tobytes())
        self.process.stdin.flush()
        numbers = [float(x) for x in self.process.stdout.readline().split()]
        return np.array(numbers[:players]), np.array(numbers[players : 2 * players])


def shap_kernel(values, evaluations, seed):
    """shap's KernelExplainer without its selection of columns, which would only add error."""
    import shap

    players = len(values).bit_length() - 1
    bits = 1 << np.arange(players)
    explainer = shap.KernelExplainer(lambda x: values[x.astype(int) @ bits], np.zeros((1, players)))
    np.random.seed(seed)
    return explainer.shap_values(np.ones((1, players)), nsamples=evaluations, l1_reg=0, silent=True)[0]


METHODS = ("leverage", "permutation", "kernel")


def compare_errors(quern, games):
    """Prints the median ratio of root mean squared errors, at an eighth, a quarter and half of all coalitions."""
    ratios = {}
    for seed in range(games):
        columns = 8 + seed % 5
        cases = game_of(seed, columns)
        values = cases.mean(0)
        truth, _ = quern("exact", cases, 0, 0)
        error = lambda phi: np.sqrt(((phi - truth) ** 2).mean())
        for share in (8, 4, 2):
            evaluations = len(values) // share
            peer = error(shap_kernel(values, evaluations, seed))
            # shap does not count the coalitions of nobody and everybody.
            for method in METHODS:
                ours = error(quern(method, cases, evaluations + 2, seed)[0])
                ratios.setdefault((method, share), []).append(ours / peer)
    for method in METHODS:
        every = np.concatenate([r for (m, _), r in ratios.items() if m == method])
        parts = ", ".join(f"1/{s} of the coalitions {np.median(ratios[method, s]):.3f}" for s in (8, 4, 2))
        print(f"error of {method} / error of shap's KernelSHAP, median of {games} games: {np.median(every):.3f} ({parts})")


def cover(quern, games):
    """Prints the share of 95 % intervals that hold the truth."""
    for method, evaluations, whole in (("leverage", 150, True), ("kernel", 150, True), ("permutation", 300, True),
                                       ("permutation", 60, False), ("stratified", 900, True)):
        held = total = 0
        for seed in range(games):
            columns = 8 + seed % 2
            cases = game_of(10_000 + seed, columns)
            truth, _ = quern("exact", cases, 0, 0)
            phi, margins = quern(method, cases.mean(0, keepdims=True) if whole else cases, evaluations, seed)
            held += int((abs(phi - truth) <= margins).sum())
            total += columns
        how = "" if whole else " by background row"
        print(f"intervals of {method}{how} at {evaluations} evaluations hold the truth: {100 * held / total:.1f} % of {total} ({games} games)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", type=int, default=100, help="for the errors")
    parser.add_argument("--coverage-games", type=int, default=1000, help="for the intervals")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    quern = Quern()
    compare_errors(quern, arguments.games)
    cover(quern, arguments.coverage_games)


if __name__ == "__main__":
    main()
