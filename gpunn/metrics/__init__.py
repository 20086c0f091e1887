# Below the docstring: written by `make exports` from the modules of this folder.
"""Metrics: figures reported about training and evaluation."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .accuracy import (
        Accuracy,
        BinaryAccuracy,
        CategoricalAccuracy,
        SparseCategoricalAccuracy,
        SparseTopKCategoricalAccuracy,
        TopKCategoricalAccuracy,
    )
    from .auc import AUC
    from .confusion import ConfusionMatrix
    from .counts import (
        F1Score,
        FalseNegatives,
        FalsePositives,
        FBetaScore,
        Precision,
        Recall,
        TrueNegatives,
        TruePositives,
    )
    from .functions import classification_report, confusion_matrix, roc_auc, roc_curve
    from .losses import (
        BinaryCrossentropy,
        CategoricalCrossentropy,
        CategoricalHinge,
        CosineSimilarity,
        EuclideanDistance,
        HalfSquaredError,
        Hinge,
        Huber,
        KLDivergence,
        LogCoshError,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredError,
        MeanSquaredLogarithmicError,
        PerceptronCriterion,
        Poisson,
        RootMeanSquaredError,
        SparseCategoricalCrossentropy,
        SquaredHinge,
    )
    from .metric import Mean, MeanMetricWrapper, MeanOfRows, Metric
    from .operating_points import (
        PrecisionAtRecall,
        RecallAtPrecision,
        SensitivityAtSpecificity,
        SpecificityAtSensitivity,
    )
    from .regression import R2Score
    from .row_functions import (
        BCE,
        KLD,
        MAE,
        MAPE,
        MSE,
        MSLE,
        bce,
        binary_accuracy,
        binary_crossentropy,
        categorical_accuracy,
        categorical_crossentropy,
        categorical_hinge,
        deserialize,
        get,
        hinge,
        huber,
        kl_divergence,
        kld,
        kullback_leibler_divergence,
        log_cosh,
        logcosh,
        mae,
        mape,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_error,
        mean_squared_logarithmic_error,
        mse,
        msle,
        poisson,
        serialize,
        sparse_categorical_accuracy,
        sparse_categorical_crossentropy,
        sparse_top_k_categorical_accuracy,
        squared_hinge,
        top_k_categorical_accuracy,
    )
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".accuracy": (
                "Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy "
                "SparseTopKCategoricalAccuracy TopKCategoricalAccuracy"
            ),
            ".auc": "AUC",
            ".confusion": "ConfusionMatrix",
            ".counts": (
                "F1Score FalseNegatives FalsePositives FBetaScore Precision Recall TrueNegatives "
                "TruePositives"
            ),
            ".functions": "classification_report confusion_matrix roc_auc roc_curve",
            ".losses": (
                "BinaryCrossentropy CategoricalCrossentropy CategoricalHinge CosineSimilarity "
                "EuclideanDistance HalfSquaredError Hinge Huber KLDivergence LogCoshError "
                "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
                "MeanSquaredLogarithmicError PerceptronCriterion Poisson RootMeanSquaredError "
                "SparseCategoricalCrossentropy SquaredHinge"
            ),
            ".metric": "Mean MeanMetricWrapper MeanOfRows Metric",
            ".operating_points": (
                "PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity "
                "SpecificityAtSensitivity"
            ),
            ".regression": "R2Score",
            ".row_functions": (
                "BCE KLD MAE MAPE MSE MSLE bce binary_accuracy binary_crossentropy "
                "categorical_accuracy categorical_crossentropy categorical_hinge deserialize get "
                "hinge huber kl_divergence kld kullback_leibler_divergence log_cosh logcosh mae "
                "mape mean_absolute_error mean_absolute_percentage_error mean_squared_error "
                "mean_squared_logarithmic_error mse msle poisson serialize "
                "sparse_categorical_accuracy sparse_categorical_crossentropy "
                "sparse_top_k_categorical_accuracy squared_hinge top_k_categorical_accuracy"
            ),
        },
        kind="metric",
    )

__all__ = [
    "AUC", "BCE", "KLD", "MAE", "MAPE", "MSE", "MSLE", "Accuracy", "BinaryAccuracy",
    "BinaryCrossentropy", "CategoricalAccuracy", "CategoricalCrossentropy", "CategoricalHinge",
    "ConfusionMatrix", "CosineSimilarity", "EuclideanDistance", "F1Score", "FBetaScore",
    "FalseNegatives", "FalsePositives", "HalfSquaredError", "Hinge", "Huber", "KLDivergence",
    "LogCoshError", "Mean", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanMetricWrapper",
    "MeanOfRows", "MeanSquaredError", "MeanSquaredLogarithmicError", "Metric",
    "PerceptronCriterion", "Poisson", "Precision", "PrecisionAtRecall", "R2Score", "Recall",
    "RecallAtPrecision", "RootMeanSquaredError", "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity", "SquaredHinge", "TopKCategoricalAccuracy", "TrueNegatives",
    "TruePositives", "bce", "binary_accuracy", "binary_crossentropy", "categorical_accuracy",
    "categorical_crossentropy", "categorical_hinge", "classification_report", "confusion_matrix",
    "deserialize", "get", "hinge", "huber", "kl_divergence", "kld", "kullback_leibler_divergence",
    "log_cosh", "logcosh", "mae", "mape", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "mse", "msle", "poisson", "roc_auc",
    "roc_curve", "serialize", "sparse_categorical_accuracy", "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy", "squared_hinge", "top_k_categorical_accuracy",
]
