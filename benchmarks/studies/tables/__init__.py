"""`gpunn train` on tables compared with other models: 24 public tables, three splits of each.

`sets` names the tables and fixes what is done with them, `scores` the metrics and tests. Both were
committed before any result existed.
"""
