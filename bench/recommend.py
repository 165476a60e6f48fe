"""Recommendation: Quern with its defaults against RecBole's SASRec on the same log and the same held-out items, in one run.

    python bench/recommend.py DATA [--quern build/release/quern] [--time 5m] [--threads 2] [--seeds 3] [--recbole]

DATA is the folder that holds online_retail.csv.gz. Each user's last interaction is the test and the one before it validation;
all items are ranked and none is left out. Popularity and item-item come from Quern's own report of the same run. --recbole
trains SASRec with RecBole's defaults and full softmax for the same time; it needs the package recbole.
"""

import argparse
import contextlib
import gzip
import json
import pathlib
import shutil
import subprocess
import tempfile

from common import seeds


def quern(options, folder, seed):
    run = pathlib.Path(folder) / "run"
    shutil.rmtree(run, ignore_errors=True)
    done = subprocess.run([options.quern, "train", str(log_of(options)), "--task", "recommend", "--out", str(run), "--time",
                           options.time, "--threads", str(options.threads), "--seed", str(seed), "--json", "--quiet"],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def log_of(options):
    return pathlib.Path(options.data) / "online_retail.csv.gz"


def seconds(text):
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def recbole(options, folder, seed):
    """NDCG@10 of RecBole's SASRec over all items, seen ones included; epochs until the time is over."""
    import time

    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.trainer import Trainer
    from recbole.model.sequential_recommender import SASRec
    from recbole.utils import init_seed

    place = pathlib.Path(folder) / "retail"
    place.mkdir(exist_ok=True)
    with gzip.open(log_of(options), "rt") as lines, open(place / "retail.inter", "w") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        next(lines)
        for row, line in enumerate(lines):
            user, item, when = line.split(",")[:3]
            # Items of one order share a timestamp: the order of the file divides them, as in Quern.
            out.write(f"{user}\t{item}\t{int(when) * 1000000 + row}\n")
    torch.set_num_threads(options.threads)
    config = Config(model="SASRec", dataset="retail", config_dict={
        "data_path": str(folder), "seed": seed, "use_gpu": False, "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": 50, "train_neg_sample_args": None, "loss_type": "CE", "topk": [10], "metrics": ["NDCG", "Hit", "MRR"],
        "valid_metric": "NDCG@10", "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "repeatable": True, "show_progress": False, "checkpoint_dir": str(folder), "train_batch_size": 2048, "epochs": 1000})
    init_seed(seed, True)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = SASRec(config, train.dataset)
    trainer = Trainer(config, model)
    end = time.monotonic() + seconds(options.time)
    best, kept, epochs = -1.0, None, 0
    while time.monotonic() < end:
        trainer._train_epoch(train, epochs, show_progress=False)
        epochs += 1
        score = trainer.evaluate(valid, load_best_model=False)["ndcg@10"]
        if score > best:
            best, kept = score, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return float(trainer.evaluate(test, load_best_model=False)["ndcg@10"]), epochs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--quern", default="build/release/quern")
    parser.add_argument("--time", default="5m")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=seeds, default="1", help="so many, from 1 on; or from one to another, as 2-3")
    parser.add_argument("--recbole", action="store_true")
    options = parser.parse_args()
    options.data = pathlib.Path(options.data).resolve()
    if "/" in options.quern:
        options.quern = str(pathlib.Path(options.quern).resolve())
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            result = quern(options, folder, seed)
            shown = [f"quern {result['validation']['ndcg@10']:.4f}"]
            shown += [f"{one['name']} {one['ndcg@10']:.4f}" for one in result["baselines"]]
            print(f"seed {seed}, seen items left out: NDCG@10 ", "  ".join(shown), flush=True)
            shown = [f"quern {result['validation']['with_repeats']['ndcg@10']:.4f}"]
            shown += [f"{one['name']} {one['with_repeats']['ndcg@10']:.4f}" for one in result["baselines"]]
            if options.recbole:
                with contextlib.chdir(folder):  # RecBole leaves its logs where it runs
                    score, epochs = recbole(options, folder, seed)
                shown.append(f"RecBole's SASRec {score:.4f} ({epochs} epochs)")
            print(f"seed {seed}, all items ranked:     NDCG@10 ", "  ".join(shown), flush=True)


if __name__ == "__main__":
    main()
