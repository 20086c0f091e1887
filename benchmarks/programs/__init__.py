"""Third-party programs: which of them run with gpunn instead of Keras, and which names they use.

It imports gpunn, and `common` for the description of the machine. The sources that it runs are not
part of this project; only their list is.
"""
