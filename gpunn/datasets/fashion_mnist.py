"""Fashion-MNIST: 70,000 articles of clothing in the format of MNIST.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017. Zalando SE, MIT licence. The classes, from 0 to 9: T-shirt/top, trouser,
pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.
"""

from __future__ import annotations

import os

from gpunn.common.importing.lazy import offer

from .dataset import DataSet, Split, load, mnist_files
from .routes import DebianPackage, Mirror

__all__ = ["load_data"]
offer(__name__)

FASHION_MNIST = DataSet(
    title="Fashion-MNIST",
    key="fashion_mnist",
    folder="fashion-mnist",
    files=mnist_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    routes=(
        Mirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
        Mirror("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
        DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
    ),
)


def load_data(path: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load Fashion-MNIST from ``path``, else ``GPUNN_DATA``, the cache, mirrors, or Debian's
    package.

    Argument, result, checks and errors: as for `gpunn.datasets.mnist.load_data`.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    >>> x_train.shape, x_test.shape  # doctest: +SKIP
    ((60000, 28, 28), (10000, 28, 28))
    """
    return load(FASHION_MNIST, path)
