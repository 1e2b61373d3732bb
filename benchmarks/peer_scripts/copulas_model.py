"""Runs in an environment of its own: fit a Gaussian copula to a CSV of codes and write as many rows drawn from it."""

import sys

import numpy as np
import pandas as pd
from copulas.multivariate import GaussianMultivariate  # type: ignore[import-not-found]

csv, seed, out = sys.argv[1:]
np.random.seed(int(seed))
table = pd.read_csv(csv)
model = GaussianMultivariate()
model.fit(table)
model.sample(len(table)).to_csv(out, index=False)
