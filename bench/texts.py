"""Labelled texts: Quern with its defaults against fastText and tf-idf linear models on the same splits, in one run.

    python bench/texts.py DATA [--only NAME] [--threads 2] [--seeds 3] [--folds 0] [--option WORD]...

DATA is the folder of labelled texts (sms_spam.csv, banking77_train.csv, …). Needs numpy, pandas, scikit-learn and fasttext.
SMS: repeats removed, 5-fold stratified cross-validation, pooled, F1 of spam; the others: accuracy on their official test.
The linear models see words and word pairs, of Chinese texts runs of 1 to 3 characters; fastText words and word pairs, of
Chinese texts characters. Prints one line a data set and seed, with the paired bootstrap interval of the difference to the
best peer; after several seeds their mean, and the outermost ends of the intervals where one peer was the best each time.
"""

import pathlib
import tempfile

import fasttext
import numpy as np
import pandas as pd
from common import answers, mean_line, paired, parser_of
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

SETS = {
    # name: (train, test or a number of folds, Chinese)
    "sms": ("sms_spam.csv", 5, False),
    "banking77": ("banking77_train.csv", "banking77_test.csv", False),
    "crosswoz": ("crosswoz_domain_train.csv", "crosswoz_domain_test.csv", True),
    "poems": ("poem_dynasty_zh_train.csv.gz", "poem_dynasty_zh_test.csv", True),
}


def linear_peers(chinese, seed):
    def on_terms(model):
        how = {"analyzer": "char", "ngram_range": (1, 3)} if chinese else {"ngram_range": (1, 2)}
        return make_pipeline(TfidfVectorizer(sublinear_tf=True, **how), model)
    return {"logistic": on_terms(LogisticRegression(C=10, max_iter=1000)),
            "svm": on_terms(LinearSVC(random_state=seed))}


def fasttext_answers(folder, train, test, chinese, seed, threads):
    def line(text):
        text = " ".join(text) if chinese else text.lower()
        return " ".join(text.split())
    file = pathlib.Path(folder) / "fasttext.txt"
    labels = {name: f"__label__{i}" for i, name in enumerate(sorted(train["label"].unique()))}
    names = {word: name for name, word in labels.items()}
    file.write_text("".join(f"{labels[label]} {line(text)}\n" for label, text in zip(train["label"], train["text"])),
                    encoding="utf-8")
    model = fasttext.train_supervised(str(file), lr=0.5, epoch=25, wordNgrams=2, seed=seed, thread=threads, verbose=0)
    # The wrapper's predict() does not work with NumPy 2.
    return np.array([names[model.f.predict(line(text) + "\n", 1, 0.0, "strict")[0][1]] for text in test["text"]])


def chosen(options):
    """The data sets asked for: name, whether it is cut in folds, whether it is Chinese, and what gives a seed's pairs of train and
    test."""
    for name, (file, how, chinese) in SETS.items():
        if options.only and name not in options.only:
            continue
        table = pd.read_csv(options.data / file).dropna()
        cut = isinstance(how, int)
        if cut:
            table = table.drop_duplicates("text").reset_index(drop=True)

        def parts(seed, table=table, how=how):
            if isinstance(how, str):
                return [(table, pd.read_csv(options.data / how).dropna())]
            folds = StratifiedKFold(how, shuffle=True, random_state=seed).split(table, table["label"])
            return [(table.iloc[train], table.iloc[test]) for train, test in folds][:options.folds or None]

        yield name, cut, chinese, parts


def main():
    options = parser_of(__doc__, SETS).parse_args()
    for name, cut, chinese, parts in chosen(options):
        score, measure = accuracy_score, "accuracy"
        if cut:
            measure = "F1"

            def score(truth, said):
                return f1_score(truth, said, pos_label="spam")
        said_scores, said_intervals = [], []
        for seed in options.seeds:
            said, truth, seconds = {}, [], 0
            with tempfile.TemporaryDirectory() as folder:
                for train, test in parts(seed):
                    truth.append(test["label"].to_numpy())
                    rows, took = answers(options, folder, train, test, "label", seed)
                    seconds += took
                    said.setdefault("quern", []).append(np.array([row["prediction"] for row in rows]))
                    said.setdefault("fasttext", []).append(
                        fasttext_answers(folder, train, test, chinese, seed, options.threads))
                    for peer, model in linear_peers(chinese, seed).items():
                        said.setdefault(peer, []).append(model.fit(train["text"], train["label"]).predict(test["text"]))
            truth = np.concatenate(truth)
            said = {peer: np.concatenate(each) for peer, each in said.items()}
            scores = {peer: score(truth, each) for peer, each in said.items()}
            best = max((peer for peer in scores if peer != "quern"), key=scores.get)
            low, high = paired(score, truth, said["quern"], said[best])
            line = "  ".join(f"{peer} {value:.4f}" for peer, value in scores.items())
            print(f"{name} seed {seed}: {measure}  {line}  quern - {best}: {low:+.4f} to {high:+.4f}  "
                  f"training {seconds:.0f} s", flush=True)
            said_scores.append(scores)
            said_intervals.append({best: (low, high)})
        if len(said_scores) > 1:
            print(mean_line(name, measure, said_scores, said_intervals), flush=True)


if __name__ == "__main__":
    main()
