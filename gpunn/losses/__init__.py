# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403, F405
"""Losses: functions that training minimizes. Call them on arrays, or name them in ``compile``."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

__all__ = [
    "BCE", "CTC", "KLD", "MAE", "MAPE", "MSE", "MSLE", "BinaryCrossentropy",
    "BinaryFocalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy", "CategoricalHinge", "Circle", "CosineSimilarity", "Dice",
    "ElementLoss", "EuclideanDistance", "HalfSquaredError", "Hinge", "Huber", "KLDivergence",
    "LogCosh", "Loss", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "PerceptronCriterion", "Poisson",
    "SparseCategoricalCrossentropy", "SquaredHinge", "Tversky", "bce", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy", "categorical_hinge", "circle", "cosine_similarity",
    "ctc", "deserialize", "dice", "euclidean_distance", "get", "half_squared_error", "hinge",
    "huber", "kl_divergence", "kld", "kullback_leibler_divergence", "log_cosh", "logcosh", "mae",
    "mape", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "mse", "msle", "perceptron_criterion", "poisson", "serialize",
    "sparse_categorical_crossentropy", "squared_hinge", "tversky",
]

if TYPE_CHECKING:
    from .alignment import *
    from .crossentropy import *
    from .divergence import *
    from .elements import *
    from .focal import *
    from .loss import *
    from .loss import row_function
    from .margin import *
    from .regions import *
    from .regression import *

    binary_crossentropy = bce = BCE = row_function(BinaryCrossentropy)
    binary_focal_crossentropy = row_function(BinaryFocalCrossentropy)
    ctc = row_function(CTC)
    categorical_crossentropy = row_function(CategoricalCrossentropy)
    categorical_focal_crossentropy = row_function(CategoricalFocalCrossentropy)
    categorical_generalized_cross_entropy = row_function(CategoricalGeneralizedCrossEntropy)
    categorical_hinge = row_function(CategoricalHinge)
    circle = row_function(Circle)
    cosine_similarity = row_function(CosineSimilarity)
    dice = row_function(Dice)
    euclidean_distance = row_function(EuclideanDistance)
    half_squared_error = row_function(HalfSquaredError)
    hinge = row_function(Hinge)
    huber = row_function(Huber)
    kl_divergence = kld = KLD = kullback_leibler_divergence = row_function(KLDivergence)
    log_cosh = logcosh = row_function(LogCosh)
    mean_absolute_error = mae = MAE = row_function(MeanAbsoluteError)
    mean_absolute_percentage_error = mape = MAPE = row_function(MeanAbsolutePercentageError)
    mean_squared_error = mse = MSE = row_function(MeanSquaredError)
    mean_squared_logarithmic_error = msle = MSLE = row_function(MeanSquaredLogarithmicError)
    perceptron_criterion = row_function(PerceptronCriterion)
    poisson = row_function(Poisson)
    sparse_categorical_crossentropy = row_function(SparseCategoricalCrossentropy)
    squared_hinge = row_function(SquaredHinge)
    tversky = row_function(Tversky)
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".alignment": "CTC",
            ".crossentropy": (
                "BinaryCrossentropy=bce=BCE CategoricalCrossentropy "
                "CategoricalGeneralizedCrossEntropy SparseCategoricalCrossentropy"
            ),
            ".divergence": "KLDivergence=kld=KLD=kullback_leibler_divergence Poisson",
            ".elements": "ElementLoss",
            ".focal": "BinaryFocalCrossentropy CategoricalFocalCrossentropy",
            ".loss": "Loss deserialize get row_function serialize",
            ".margin": "CategoricalHinge Circle Hinge PerceptronCriterion SquaredHinge",
            ".regions": "Dice Tversky",
            ".regression": (
                "CosineSimilarity EuclideanDistance HalfSquaredError Huber LogCosh=logcosh "
                "MeanAbsoluteError=mae=MAE MeanAbsolutePercentageError=mape=MAPE "
                "MeanSquaredError=mse=MSE MeanSquaredLogarithmicError=msle=MSLE"
            ),
        },
        make="row_function",
        kind="loss",
    )
