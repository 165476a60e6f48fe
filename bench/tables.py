"""Tables: Quern with its defaults against scikit-learn, XGBoost and LightGBM on the same splits, in one run.

    python bench/tables.py DATA [--quern build/release/quern] [--only NAME] [--time 4m] [--threads 2] [--seeds 1]
                           [--set KEY=VALUE]...

DATA is the folder of tables (adult_train.csv.gz, german_credit.csv, …). Needs numpy, pandas, scikit-learn, xgboost and
lightgbm. Adult is scored on its official test, California on a random fifth, the others by 5-fold (German credit 10-fold)
stratified cross-validation, pooled over folds. Prints one line a data set: AUC (or RMSE) of each, and for AUC the paired
bootstrap interval of the difference to the best peer.
"""

import argparse
import csv
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

SETS = {
    # name: (file, target, positive class or None, folds or a test file or a share, columns left out)
    "german": ("german_credit.csv", "class", "bad", 10, []),
    "pima": ("pima_diabetes.csv", "class", "tested_positive", 5, []),
    "breast": ("breast_cancer_wisconsin.csv", "diagnosis", "malignant", 5, []),
    "telco": ("telco_churn.csv", "Churn", "Yes", 5, ["customerID"]),
    "bank": ("bank_marketing.csv.gz", "y", "yes", 5, ["duration"]),
    "california": ("california_housing.csv.gz", "median_house_value", None, 0.2, []),
    "adult": ("adult_train.csv.gz", "income", ">50K", "adult_test.csv.gz", []),
}


def peers(classify, numbers, words, seed, threads):
    def prepared(model, scale):
        number = make_pipeline(SimpleImputer(), StandardScaler()) if scale else SimpleImputer()
        return make_pipeline(ColumnTransformer([
            ("numbers", number, numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), words)]), model)
    if classify:
        return {"logistic": prepared(LogisticRegression(max_iter=2000), True),
                "forest": prepared(RandomForestClassifier(300, random_state=seed, n_jobs=threads), False),
                "xgboost": prepared(XGBClassifier(random_state=seed, n_jobs=threads), False),
                "lightgbm": prepared(LGBMClassifier(random_state=seed, n_jobs=threads, verbose=-1), False)}
    return {"ridge": prepared(RidgeCV(), True),
            "forest": prepared(RandomForestRegressor(300, random_state=seed, n_jobs=threads), False),
            "xgboost": prepared(XGBRegressor(random_state=seed, n_jobs=threads), False),
            "lightgbm": prepared(LGBMRegressor(random_state=seed, n_jobs=threads, verbose=-1), False)}


def quern(options, folder, train, test, target, positive, seed):
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    run = folder / "run"
    subprocess.run(["rm", "-rf", run], check=True)
    common = ["--threads", str(options.threads), "--quiet"]
    begin = time.monotonic()
    subprocess.run([options.quern, "train", folder / "train.csv", "--target", target, "--out", run, "--seed", str(seed),
                    "--time", options.time, *common, *options.more], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    subprocess.run([options.quern, "predict", run, folder / "test.csv", "-o", folder / "out.csv", *common], check=True)
    column = f"probability {positive}" if positive else "prediction"
    with open(folder / "out.csv", encoding="utf-8") as rows:
        return np.array([float(row[column]) for row in csv.DictReader(rows)]), seconds


def splits(table, target, how, seed):
    if isinstance(how, int):
        yield from StratifiedKFold(how, shuffle=True, random_state=seed).split(table, table[target])
    else:
        yield next(KFold(round(1 / how), shuffle=True, random_state=seed).split(table))


def paired(truth, ours, theirs, draws=500):
    choose = np.random.default_rng(1)
    differences = []
    for _ in range(draws):
        at = choose.integers(0, len(truth), len(truth))
        if 0 < truth[at].sum() < len(at):
            differences.append(roc_auc_score(truth[at], ours[at]) - roc_auc_score(truth[at], theirs[at]))
    return np.percentile(differences, [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--time", default="4m")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a key of quern train, as section.key=value")
    options = parser.parse_args()
    options.more = [word for key in options.set for word in ("--set", key)]
    for name, (file, target, positive, how, dropped) in SETS.items():
        if options.only not in (None, name):
            continue
        table = pd.read_csv(options.data / file).drop(columns=dropped)
        test_table = pd.read_csv(options.data / how) if isinstance(how, str) else None
        features = [column for column in table if column != target]
        numbers = [column for column in features if pd.api.types.is_numeric_dtype(table[column])]
        words = [column for column in features if column not in numbers]
        for seed in range(1, options.seeds + 1):
            answers, truth, seconds = {}, [], 0
            parts = [(None, None)] if test_table is not None else splits(table, target, how, seed)
            with tempfile.TemporaryDirectory() as folder:
                for train_rows, test_rows in parts:
                    train = table if train_rows is None else table.iloc[train_rows]
                    test = test_table if train_rows is None else table.iloc[test_rows]
                    said = test[target] == positive if positive else test[target]
                    learnt = train[target] == positive if positive else train[target]
                    truth.append(said.to_numpy())
                    ours, took = quern(options, pathlib.Path(folder), train, test, target, positive, seed)
                    seconds += took
                    answers.setdefault("quern", []).append(ours)
                    words_as_text = {column: str for column in words}
                    for peer, model in peers(positive is not None, numbers, words, seed, options.threads).items():
                        model.fit(train[features].astype(words_as_text), learnt)
                        rows = test[features].astype(words_as_text)
                        answers.setdefault(peer, []).append(
                            model.predict_proba(rows)[:, 1] if positive else model.predict(rows))
            truth = np.concatenate(truth)
            answers = {peer: np.concatenate(parts) for peer, parts in answers.items()}
            if positive:
                scores = {peer: roc_auc_score(truth, said) for peer, said in answers.items()}
                best = max((peer for peer in scores if peer != "quern"), key=scores.get)
                low, high = paired(truth, answers["quern"], answers[best])
                extra = (f"accuracy {accuracy_score(truth, answers['quern'] >= .5):.4f}  "
                         f"quern - {best}: {low:+.4f} to {high:+.4f}")
            else:
                scores = {peer: float(np.sqrt(np.mean((said - truth) ** 2))) for peer, said in answers.items()}
                extra = f"quern / lightgbm {scores['quern'] / scores['lightgbm']:.4f}"
            line = "  ".join(f"{peer} {score:.4f}" for peer, score in scores.items())
            print(f"{name} seed {seed}: {'AUC' if positive else 'RMSE'}  {line}  {extra}  training {seconds:.0f} s",
                  flush=True)


if __name__ == "__main__":
    main()
