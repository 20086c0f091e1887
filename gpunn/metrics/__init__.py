# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403
"""Metrics: figures reported about training and evaluation."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .accuracy import *
    from .auc import *
    from .counts import *
    from .focal import *
    from .functions import *
    from .iou import *
    from .losses import *
    from .means import *
    from .metric import *
    from .regression import *
    from .row_functions import *
    from .sums import *
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".accuracy": (
                "Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy "
                "SparseTopKCategoricalAccuracy TopKCategoricalAccuracy"
            ),
            ".auc": (
                "AUC PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity "
                "SpecificityAtSensitivity"
            ),
            ".counts": (
                "F1Score FalseNegatives FalsePositives FBetaScore Precision Recall TrueNegatives "
                "TruePositives"
            ),
            ".focal": "binary_focal_crossentropy categorical_focal_crossentropy",
            ".functions": "classification_report confusion_matrix roc_auc roc_curve",
            ".iou": "BinaryIoU ConfusionMatrix IoU MeanIoU OneHotIoU OneHotMeanIoU",
            ".losses": (
                "BinaryCrossentropy CategoricalCrossentropy CategoricalHinge CosineSimilarity "
                "EuclideanDistance HalfSquaredError Hinge Huber KLDivergence LogCoshError "
                "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
                "MeanSquaredLogarithmicError PerceptronCriterion Poisson RootMeanSquaredError "
                "SparseCategoricalCrossentropy SquaredHinge"
            ),
            ".means": "Mean MeanMetricWrapper MeanOfRows",
            ".metric": "Metric",
            ".regression": "ConcordanceCorrelation PearsonCorrelation R2Score",
            ".row_functions": (
                "BCE KLD MAE MAPE MSE MSLE bce binary_accuracy binary_crossentropy "
                "categorical_accuracy categorical_crossentropy categorical_hinge "
                "concordance_correlation deserialize get hinge huber kl_divergence kld "
                "kullback_leibler_divergence log_cosh logcosh mae mape mean_absolute_error "
                "mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error "
                "mse msle pearson_correlation poisson serialize sparse_categorical_accuracy "
                "sparse_categorical_crossentropy sparse_top_k_categorical_accuracy squared_hinge "
                "top_k_categorical_accuracy"
            ),
            ".sums": "Sum",
        },
        kind="metric",
    )
