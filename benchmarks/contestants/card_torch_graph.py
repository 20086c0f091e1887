"""PyTorch with the step in a CUDA graph: see card_torch.py."""

import pathlib
import runpy

prepare = runpy.run_path(str(pathlib.Path(__file__).with_name("card_torch.py")))["prepare_graph"]
