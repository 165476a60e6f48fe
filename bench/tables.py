"""Tables: Quern with its defaults against scikit-learn, XGBoost, LightGBM and CatBoost on the same splits, in one run.

    python bench/tables.py DATA [--only NAME] [--threads 2] [--seeds 3] [--folds 0] [--option WORD]...

DATA is the folder of tables (adult_train.csv.gz, german_credit.csv, …). Needs numpy, pandas, scikit-learn, xgboost, lightgbm
and catboost, all with their defaults. Adult is scored on its official test, California on a random fifth, the others by
5-fold (German credit 10-fold) stratified cross-validation, pooled over folds. Prints one line a data set and seed: AUC (or
RMSE) of each, and for AUC the paired bootstrap intervals of the differences to logistic regression, random forest, XGBoost
and LightGBM; after several seeds their mean, with the outermost ends of the intervals.
"""

import tempfile

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor
from common import answers, mean_line, paired, parser_of
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
    catboost = {"random_seed": seed, "thread_count": threads, "verbose": 0, "allow_writing_files": False}
    if classify:
        return {"logistic": prepared(LogisticRegression(max_iter=2000), True),
                "forest": prepared(RandomForestClassifier(300, random_state=seed, n_jobs=threads), False),
                "xgboost": prepared(XGBClassifier(random_state=seed, n_jobs=threads), False),
                "lightgbm": prepared(LGBMClassifier(random_state=seed, n_jobs=threads, verbose=-1), False),
                "catboost": prepared(CatBoostClassifier(**catboost), False)}
    return {"ridge": prepared(RidgeCV(), True),
            "forest": prepared(RandomForestRegressor(300, random_state=seed, n_jobs=threads), False),
            "xgboost": prepared(XGBRegressor(random_state=seed, n_jobs=threads), False),
            "lightgbm": prepared(LGBMRegressor(random_state=seed, n_jobs=threads, verbose=-1), False),
            "catboost": prepared(CatBoostRegressor(**catboost), False)}


def splits(table, target, how, seed):
    if isinstance(how, int):
        yield from StratifiedKFold(how, shuffle=True, random_state=seed).split(table, table[target])
    else:
        yield next(KFold(round(1 / how), shuffle=True, random_state=seed).split(table))


def chosen(options):
    """The data sets asked for: name, table, features, target, positive class, and what gives a seed's pairs of train and test."""
    for name, (file, target, positive, how, dropped) in SETS.items():
        if options.only and name not in options.only:
            continue
        table = pd.read_csv(options.data / file).drop(columns=dropped)

        def parts(seed, table=table, target=target, how=how):
            if isinstance(how, str):
                return [(table, pd.read_csv(options.data / how))]
            rows = [*splits(table, target, how, seed)][:options.folds or None]
            return [(table.iloc[train], table.iloc[test]) for train, test in rows]

        yield name, table, [column for column in table if column != target], target, positive, parts


def main():
    options = parser_of(__doc__, SETS).parse_args()
    for name, table, features, target, positive, parts in chosen(options):
        numbers = [column for column in features if pd.api.types.is_numeric_dtype(table[column])]
        words = [column for column in features if column not in numbers]
        said_scores, said_intervals = [], []
        for seed in options.seeds:
            answered, truth, seconds = {}, [], 0
            with tempfile.TemporaryDirectory() as folder:
                for train, test in parts(seed):
                    said = test[target] == positive if positive else test[target]
                    learnt = train[target] == positive if positive else train[target]
                    truth.append(said.to_numpy())
                    rows, took = answers(options, folder, train, test, target, seed)
                    seconds += took
                    column = f"probability {positive}" if positive else "prediction"
                    answered.setdefault("quern", []).append(np.array([float(row[column]) for row in rows]))
                    words_as_text = {column: str for column in words}
                    for peer, model in peers(positive is not None, numbers, words, seed, options.threads).items():
                        model.fit(train[features].astype(words_as_text), learnt)
                        rows = test[features].astype(words_as_text)
                        answered.setdefault(peer, []).append(
                            model.predict_proba(rows)[:, 1] if positive else model.predict(rows))
            truth = np.concatenate(truth)
            answered = {peer: np.concatenate(each) for peer, each in answered.items()}
            if positive:
                scores = {peer: roc_auc_score(truth, said) for peer, said in answered.items()}
                intervals = {peer: paired(roc_auc_score, truth, answered["quern"], answered[peer])
                             for peer in ("logistic", "forest", "xgboost", "lightgbm")}
                extra = f"accuracy {accuracy_score(truth, answered['quern'] >= .5):.4f}  " + "  ".join(
                    f"quern - {peer}: {low:+.4f} to {high:+.4f}" for peer, (low, high) in intervals.items())
            else:
                scores = {peer: float(np.sqrt(np.mean((said - truth) ** 2))) for peer, said in answered.items()}
                intervals = {}
                extra = f"quern / lightgbm {scores['quern'] / scores['lightgbm']:.4f}"
            line = "  ".join(f"{peer} {score:.4f}" for peer, score in scores.items())
            print(f"{name} seed {seed}: {'AUC' if positive else 'RMSE'}  {line}  {extra}  training {seconds:.0f} s",
                  flush=True)
            said_scores.append(scores)
            said_intervals.append(intervals)
        if len(said_scores) > 1:
            print(mean_line(name, "AUC" if positive else "RMSE", said_scores, said_intervals), flush=True)


if __name__ == "__main__":
    main()
