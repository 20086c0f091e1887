"""`gpunn train` on tables compared with other models: 24 public tables, three splits of each.

    pip install -e '.[bench]'                             # in the source tree
    python -m benchmarks.studies.tables                   # resumes where it stopped
    python -m benchmarks.studies.tables --only wine --contestant linear --again
    python -m benchmarks.studies.tables --part final      # once, after the last change to gpunn
    pip install -e '.[bench-tables]'                      # then --contestant knows more of them
    python -m benchmarks.studies.tables --part final --split 0 --contestant CatBoost RealMLP

`sets` names the tables and fixes what is done with them, `scores` the metrics and tests; both were
committed before any result existed. `contestants` names the models, which `rivals` and `libraries`
have; `measure` runs them and writes each result at once into `benchmarks/results/tables.jsonl`,
`page` shows the results. `coverage` counts how often intervals hold the truth. `large` measures
time and memory on a table of a million rows: `launcher` runs a program, `boosting_program` is the
one that gpunn is compared with.
"""
