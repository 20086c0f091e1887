"""How the operations of a step get to the card. From what an operation asks for to its launch:

- `task_backend`: arrays, and tasks that are launched at once or traced;
- `tasks`: a task, and what must wait for it; `kernel_source`: the parts of kernels there are;
- `modes`: the launch modes; `fuse` and `persistent`: tasks put together in two of them;
- `codegen`: the text of a kernel that is composed of parts; `expressions`: the text of a part for
  what a user has written;
- `programs`: a step that is repeated, in one of the modes;
- `protocols`: what a card must bring.

It imports the contract and what is shared, and no CuPy.
"""
