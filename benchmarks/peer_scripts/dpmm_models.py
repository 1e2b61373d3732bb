"""dpmm's MST and AIM on a coded table. Runs in dpmm's own environment: numpy, pandas and dpmm only.

Arguments: mechanism, CSV of codes, domain JSON, epsilon, delta, CSV to write.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from dpmm.pipelines import AIMPipeline, MSTPipeline  # type: ignore[import-not-found]

# dpmm's defaults, but for the model size of AIM (80 MB takes hours) and the order of its workload, which is to be that of `aim`.
# One process: a pool for each round costs more than it gives on two cores.
PIPELINES = {
    "mst": (MSTPipeline, {}),
    "aim": (AIMPipeline, {"max_model_size": 8, "gen_kwargs": {"degree": 3}}),
}


def main(mechanism: str, csv: str, domain: str, epsilon: str, delta: str, out: str) -> None:
    sizes = {name: facts["size"] for name, facts in json.loads(Path(domain).read_text()).items()}
    table = pd.read_csv(csv)
    make, options = PIPELINES[mechanism]
    # The codes are the domain already, so nothing is binned and no budget goes into bins.
    pipeline = make(epsilon=float(epsilon), delta=float(delta), n_jobs=1, disable_processing=True, **options)
    pipeline.fit(table, domain=sizes)
    pipeline.generate(n_records=len(table))[list(sizes)].to_csv(out, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
