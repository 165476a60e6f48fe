"""Explanations: evaluations a second against Quern's own prediction, and wall time against shap around PyTorch.

    python bench/explain_speed.py RUN DATA.csv [--rows 8] [--threads 1] [--quern build/release/quern]

RUN is a run over columns of numbers and categories, DATA the table with the rows to explain. Prints these ratios:

* rows answered a second while explaining, over rows answered a second by `quern predict` of the same rows many times over;
* up to 12 columns: wall time of shap's KernelExplainer with every coalition enumerated (so that both are exact), around a
  PyTorch transformer with the run's layers, width, heads and columns in evaluation mode, over Quern's exact answer, on
  the same background;
* more columns: wall time of shap's KernelExplainer, with as many samples as it takes by itself, around that transformer,
  over Quern's for the same accuracy. Accuracy is that of both on the run's own answers: what a value scatters over seeds,
  as a share of the values' size. Quern's budget is the least of 2, 4, 8 … pairs of walks in every background row that
  scatters no more than shap.

Needs torch and shap for the last two. Rounds of the two are interleaved; the median counts.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time


def quern(args, *words):
    done = subprocess.run([args.quern, *map(str, words), "--json", "--quiet", "--threads", str(args.threads)],
                          capture_output=True, check=True)
    return json.loads(done.stdout)


def explain(args, row, *words):
    return quern(args, "explain", args.run, args.data, "--row", row, *words)


def share_of_prediction(args):
    """Rows answered a second: explaining, predicting."""
    lines = pathlib.Path(args.data).read_text(encoding="utf-8").splitlines()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        many = pathlib.Path(folder) / "many.csv"
        repeats = max(1, 40000 // (len(lines) - 1))
        many.write_text("\n".join([lines[0], *(lines[1:] * repeats)]) + "\n", encoding="utf-8")
        for row in range(1, args.rows + 1):
            predicted = quern(args, "predict", args.run, many, "-o", pathlib.Path(folder) / "out.csv")
            explained = explain(args, row, "--method", "permutation", "--max-evals", 1000)
            ratios.append(explained["rows_answered"] / explained["seconds"] / predicted["rows_per_second"])
            print(f"row {row}: {explained['rows_answered'] / explained['seconds']:.0f} rows a second explaining, "
                  f"{predicted['rows_per_second']:.0f} predicting")
    return statistics.median(ratios)


def make_peer(config, columns):
    """The run's transformers (one a fold) over one token a column, in PyTorch: random weights, which take as long as learnt
    ones. The run's ensemble of heads and its linear model are left out."""
    import torch
    trunk, head = config["quern"], config["encoder"]

    class Peer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            width = trunk["width"]
            self.embed = torch.nn.Parameter(torch.randn(columns, width))
            self.bias = torch.nn.Parameter(torch.randn(columns, width))
            layer = torch.nn.TransformerEncoderLayer(width, trunk["heads"], trunk["ffn_width"], batch_first=True,
                                                     norm_first=True)
            self.blocks = torch.nn.TransformerEncoder(layer, trunk["layers"], enable_nested_tensor=False)
            self.head = torch.nn.Sequential(torch.nn.Linear(columns * width, head["head_width"]), torch.nn.ReLU(),
                                            torch.nn.Linear(head["head_width"], head["outputs"]))

        def forward(self, x):
            return torch.softmax(self.head(self.blocks(x[..., None] * self.embed + self.bias).flatten(1)), 1)[:, :1]

    class Copies(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.copies = torch.nn.ModuleList(Peer() for _ in range(head["copies"]))

        def forward(self, x):
            return sum(copy(x) for copy in self.copies) / len(self.copies)

    return Copies().eval()


def around_peer(args, columns):
    """shap's KernelExplainer around the peer, on numbers drawn at random, and a way to draw a row."""
    import numpy
    import shap
    import torch
    torch.set_num_threads(args.threads)
    config = json.loads((pathlib.Path(args.run) / "config.json").read_text())
    background = len((pathlib.Path(args.run) / "background.csv").read_text().splitlines()) - 1
    draw = numpy.random.default_rng(1)
    peer = make_peer(config, columns)

    def answer(x):
        with torch.inference_mode():
            return numpy.concatenate([peer(torch.from_numpy(part).float()).numpy()[:, 0]
                                      for part in numpy.array_split(x, max(1, len(x) // 512))])

    return (shap.KernelExplainer(answer, draw.normal(size=(background, columns))),
            lambda: draw.normal(size=(1, columns)))


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def times_against_shap(args, columns):
    explainer, draw = around_peer(args, columns)
    ratios = []
    for row in range(1, args.rows + 1):
        theirs = seconds(lambda: explainer.shap_values(draw(), nsamples=2 ** columns, l1_reg=0, silent=True))
        ours = seconds(lambda: explain(args, row, "--method", "exact"))
        print(f"row {row}: shap {theirs:.2f} s, quern {ours:.2f} s (start of the program included)")
        ratios.append(theirs / ours)
    return statistics.median(ratios)


def around_run(args, folder, names):
    """shap's KernelExplainer around `quern predict`, cells as places in a list of each column's texts."""
    import csv
    import numpy
    import shap

    def rows_of(path):
        with open(path, encoding="utf-8", newline="") as file:
            return [[row[name] for name in names] for row in csv.DictReader(file)]

    background, data = rows_of(pathlib.Path(args.run) / "background.csv"), rows_of(args.data)
    texts = [sorted({row[i] for row in background + data[:args.rows]}) for i in range(len(names))]

    def coded(rows):
        return numpy.array([[texts[i].index(cell) for i, cell in enumerate(row)] for row in rows], dtype=float)

    def answer(x):
        table, out = folder / "rows.csv", folder / "answers.csv"
        with open(table, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([texts[i][int(place)] for i, place in enumerate(row)] for row in x)
        quern(args, "predict", args.run, table, "-o", out)
        with open(out, encoding="utf-8") as file:
            next(file)
            return numpy.array([float(line.rsplit(",", 1)[1]) for line in file])

    return shap.KernelExplainer(answer, coded(background)), coded(data[:args.rows])


def scatter(values):
    """Standard deviation over seeds (rows), as a share of the values' size."""
    import numpy
    values = numpy.array(values)
    return float(numpy.sqrt(values.var(axis=0, ddof=1).mean() / (values.mean(axis=0) ** 2).mean()))


def times_for_accuracy(args, names, seeds=5):
    import numpy
    peer, draw = around_peer(args, len(names))
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        explainer, rows = around_run(args, pathlib.Path(folder), names)
        for row in range(1, args.rows + 1):
            answers = []
            for seed in range(seeds):
                numpy.random.seed(seed)
                answers.append(explainer.shap_values(rows[row - 1:row], l1_reg=0, silent=True)[0])
            wanted, pairs, found = scatter(answers), 1, float("inf")
            while found > wanted:
                pairs *= 2
                budget = pairs * 2 * (len(names) - 1) + 2
                runs = [explain(args, row, "--method", "permutation", "--max-evals", budget, "--seed", seed)
                        for seed in range(1, seeds + 1)]
                found = scatter([[a["phi"] for a in sorted(run["attributions"], key=lambda a: a["name"])]
                                 for run in runs])
            theirs = seconds(lambda: peer.shap_values(draw(), l1_reg=0, silent=True))
            ours = seconds(lambda: explain(args, row, "--method", "permutation", "--max-evals", budget))
            print(f"row {row}: shap scatters {wanted:.4f} and takes {theirs:.2f} s; quern {found:.4f} with {budget} "
                  f"evaluations, {ours:.2f} s (start of the program included)", flush=True)
            ratios.append(theirs / ours)
    return statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quern", default="build/release/quern")
    args = parser.parse_args()
    print(f"of the rate of prediction: {share_of_prediction(args):.2f}")
    names = sorted(a["name"] for a in explain(args, 1, "--max-evals", 256, "--method", "kernel")["attributions"])
    if len(names) <= 12:
        print(f"times as fast as shap around PyTorch: {times_against_shap(args, len(names)):.1f}")
    else:
        print(f"times as fast as shap around PyTorch, for its accuracy: {times_for_accuracy(args, names):.1f}")


if __name__ == "__main__":
    main()
