"""smartnoise-synth's MST and AIM on a coded table. Runs in an environment of its own, without this project.

Arguments: mechanism, CSV of codes, domain JSON, epsilon, delta, CSV to write.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from snsynth import Synthesizer  # type: ignore[import-not-found]
from snsynth.transform import LabelTransformer, TableTransformer  # type: ignore[import-not-found]

# The library's defaults, but for the model size of AIM (80 MB takes hours) and the order of its workload, which is to be that of `aim`.
OPTIONS: dict[str, dict[str, int]] = {"mst": {}, "aim": {"max_model_size": 8, "degree": 3}}


def main(mechanism: str, csv: str, domain: str, epsilon: str, delta: str, out: str) -> None:
    sizes = {name: int(facts["size"]) for name, facts in json.loads(Path(domain).read_text()).items()}
    table = pd.read_csv(csv)[list(sizes)]
    # Fitted on a table that has every declared level, so that no level is learned from the records.
    levels = np.arange(max(sizes.values()))
    labels = TableTransformer([LabelTransformer(nullable=False) for _ in sizes])
    labels.fit(pd.DataFrame({name: np.minimum(levels, size - 1) for name, size in sizes.items()}))
    synthesizer = Synthesizer.create(mechanism, epsilon=float(epsilon), delta=float(delta), **OPTIONS[mechanism])
    synthesizer.fit(table, transformer=labels, preprocessor_eps=0.0)
    synthesizer.sample(len(table)).to_csv(out, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
