"""The launches of a step's operations, from the tasks of an operation to its launch:

- `task_backend`: arrays, and tasks that are launched at once or traced;
- `tasks`: a task, and the dependencies between tasks; `kernel_source`: the available kernel parts;
- `modes`: the launch modes; `fuse` and `persistent`: how two of them combine tasks; `parts`:
  matrix products as parts of kernels;
- `roofline`: the predicted time of a step, by which a mode is chosen; `known_gpus`: the speed of
  GPUs; `measured_modes`: settings that overrule the prediction;
- `codegen`: the source of a kernel composed of parts; `expressions`: the source of a part for
  user code;
- `programs`: a step that is repeated, in one of the modes;
- `ring`: copies from the host that overlap with the steps; `parcel`: arrays that one copy takes;
- `protocols`: the interface of a GPU.

It imports the contract and the shared modules, but not CuPy.
"""
