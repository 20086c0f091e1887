"""Programs by others: which of them run with gpunn in the place of Keras, and what they use.

It imports gpunn, and `common` for what the machine is. What it runs are sources that lie elsewhere:
none of them is part of this project, only their list is.
"""
