# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403, F405
"""Losses: functions that training minimizes. Call them on arrays, or name them in ``compile``."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

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
            ".alignment": "CTC=ctc",
            ".crossentropy": (
                "BinaryCrossentropy=binary_crossentropy=bce=BCE "
                "CategoricalCrossentropy=categorical_crossentropy "
                "CategoricalGeneralizedCrossEntropy=categorical_generalized_cross_entropy "
                "SparseCategoricalCrossentropy=sparse_categorical_crossentropy"
            ),
            ".divergence": (
                "KLDivergence=kl_divergence=kld=KLD=kullback_leibler_divergence Poisson=poisson"
            ),
            ".elements": "ElementLoss",
            ".focal": (
                "BinaryFocalCrossentropy=binary_focal_crossentropy "
                "CategoricalFocalCrossentropy=categorical_focal_crossentropy"
            ),
            ".loss": "Loss deserialize get serialize",
            ".margin": (
                "CategoricalHinge=categorical_hinge Circle=circle Hinge=hinge "
                "PerceptronCriterion=perceptron_criterion SquaredHinge=squared_hinge"
            ),
            ".regions": "Dice=dice Tversky=tversky",
            ".regression": (
                "CosineSimilarity=cosine_similarity EuclideanDistance=euclidean_distance "
                "HalfSquaredError=half_squared_error Huber=huber LogCosh=log_cosh=logcosh "
                "MeanAbsoluteError=mean_absolute_error=mae=MAE "
                "MeanAbsolutePercentageError=mean_absolute_percentage_error=mape=MAPE "
                "MeanSquaredError=mean_squared_error=mse=MSE "
                "MeanSquaredLogarithmicError=mean_squared_logarithmic_error=msle=MSLE"
            ),
        },
        make=(".loss", "row_function"),
        kind="loss",
    )
