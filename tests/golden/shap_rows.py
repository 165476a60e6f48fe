"""The values that quern/explain/shap_test.cc expects, from the shap package: prints Shapley values of three models of 6, 9 and 12
columns over a background of 16 rows, by its ExactExplainer."""

import numpy as np
import shap


def rows_of(columns):
    """The background (16, columns), and the row that is explained, in closed form."""
    i, c = np.arange(17)[:, None], np.arange(columns)[None]
    rows = ((i * 37 + c * 53 + i * c * 11) % 101) / 25 - 2
    return rows[:16], rows[16:]


def network(x):
    """Four rectified units under a sigmoid."""
    c = np.arange(x.shape[1])
    hidden = [np.maximum(0, x @ (((c * 7 + h * 5) % 11 - 5) / 6) + .3 * h) for h in range(4)]
    return 1 / (1 + np.exp(-(hidden[0] - .8 * hidden[1] + .6 * hidden[2] - .5 * hidden[3])))


def tree(x):
    """Three levels of cuts, each on a column of its own."""
    left = np.where(x[:, 1] > .2, np.where(x[:, 2] > 0, 5., 1), -2)
    right = np.where(x[:, 3] > -.5, 2., np.where(x[:, 4] > .1, -1., -4))
    return np.where(x[:, 0] > 0, left, right)


def products(x):
    """Neighbours multiplied, and a wave."""
    return (x[:, :-1] * x[:, 1:]).sum(1) + np.sin(x[:, 0] * x[:, -1])


for model, columns in ((network, 9), (tree, 6), (products, 12)):
    background, row = rows_of(columns)
    explainer = shap.ExactExplainer(model, shap.maskers.Independent(background, max_samples=16))
    answer = explainer(row)
    print(model.__name__, float(answer.base_values[0]), answer.values[0].tolist())
