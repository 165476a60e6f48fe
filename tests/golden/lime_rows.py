"""The coefficients that quern/explain/near_test.cc expects, from the lime package: prints them with their errors over seeds."""

import numpy as np
from lime.lime_tabular import LimeTabularExplainer

i = np.arange(400)
rows = np.stack([i * 37 % 101 / 10, (i * 53 % 97 - 48) / 8, i * 29 % 3, (i * 71 % 89) ** 2 / 500], 1)


def model(x):
    return 1 / (1 + np.exp(-(.8 * (x[:, 0] - 5) - .5 * x[:, 1] + 1.5 * (x[:, 2] == 1) - .2 * x[:, 3])))


found, intercepts = [], []
for seed in range(20):
    explainer = LimeTabularExplainer(rows, mode="regression", categorical_features=[2], discretizer="quartile",
                                     feature_selection="none", random_state=seed)
    answer = explainer.explain_instance(np.array([8.5, -2, 1, 3.2]), model, num_features=4, num_samples=20000)
    found.append([dict(answer.as_map()[1])[column] for column in range(4)])
    intercepts.append(answer.intercept[1])
print(np.mean(found, 0).round(6).tolist(), (np.std(found, 0, ddof=1) / 20 ** .5).round(7).tolist(), np.mean(intercepts))
