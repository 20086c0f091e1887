# Below the docstring: written by `make exports` from the modules of this folder.
"""Losses: functions that training minimizes. Call them on arrays, or name them in ``compile``."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .crossentropy import (
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
    )
    from .divergence import KLDivergence, Poisson
    from .elements import ElementLoss
    from .loss import Loss, deserialize, get, row_function, serialize
    from .margin import CategoricalHinge, Hinge, PerceptronCriterion, SquaredHinge
    from .regression import (
        CosineSimilarity,
        EuclideanDistance,
        HalfSquaredError,
        Huber,
        LogCosh,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredError,
        MeanSquaredLogarithmicError,
    )

    binary_crossentropy = bce = BCE = row_function(BinaryCrossentropy)
    categorical_crossentropy = row_function(CategoricalCrossentropy)
    categorical_hinge = row_function(CategoricalHinge)
    cosine_similarity = row_function(CosineSimilarity)
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
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".crossentropy": (
                "BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy"
            ),
            ".divergence": "KLDivergence Poisson",
            ".elements": "ElementLoss",
            ".loss": "Loss deserialize get row_function serialize",
            ".margin": "CategoricalHinge Hinge PerceptronCriterion SquaredHinge",
            ".regression": (
                "CosineSimilarity EuclideanDistance HalfSquaredError Huber LogCosh "
                "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
                "MeanSquaredLogarithmicError"
            ),
        },
        {
            "BinaryCrossentropy": "BCE bce binary_crossentropy",
            "CategoricalCrossentropy": "categorical_crossentropy",
            "CategoricalHinge": "categorical_hinge",
            "CosineSimilarity": "cosine_similarity",
            "EuclideanDistance": "euclidean_distance",
            "HalfSquaredError": "half_squared_error",
            "Hinge": "hinge",
            "Huber": "huber",
            "KLDivergence": "KLD kl_divergence kld kullback_leibler_divergence",
            "LogCosh": "log_cosh logcosh",
            "MeanAbsoluteError": "MAE mae mean_absolute_error",
            "MeanAbsolutePercentageError": "MAPE mape mean_absolute_percentage_error",
            "MeanSquaredError": "MSE mean_squared_error mse",
            "MeanSquaredLogarithmicError": "MSLE mean_squared_logarithmic_error msle",
            "PerceptronCriterion": "perceptron_criterion",
            "Poisson": "poisson",
            "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
            "SquaredHinge": "squared_hinge",
        },
        make="row_function",
        kind="loss",
    )

__all__ = [
    "BCE", "KLD", "MAE", "MAPE", "MSE", "MSLE", "BinaryCrossentropy", "CategoricalCrossentropy",
    "CategoricalHinge", "CosineSimilarity", "ElementLoss", "EuclideanDistance", "HalfSquaredError",
    "Hinge", "Huber", "KLDivergence", "LogCosh", "Loss", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError",
    "PerceptronCriterion", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge", "bce",
    "binary_crossentropy", "categorical_crossentropy", "categorical_hinge", "cosine_similarity",
    "deserialize", "euclidean_distance", "get", "half_squared_error", "hinge", "huber",
    "kl_divergence", "kld", "kullback_leibler_divergence", "log_cosh", "logcosh", "mae", "mape",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "mse", "msle", "perceptron_criterion", "poisson", "serialize",
    "sparse_categorical_crossentropy", "squared_hinge",
]
