# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403, F405
"""Layers, the building blocks of models."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .activation_layers import *
    from .convolutional.convolution import *
    from .convolutional.images import *
    from .convolutional.pooling import *
    from .convolutional.separate import *
    from .convolutional.transposed import *
    from .convolutional.volumes import *
    from .core import *
    from .dense import *
    from .layer import *
    from .merging import *
    from .noise import *
    from .normalization import *
    from .operations import *
    from .passing import *
    from .pictures.colors import *
    from .pictures.geometry import *
    from .pictures.points import *
    from .pictures.sizes import *
    from .pictures.windows import *
    from .preprocessing.datetimes import *
    from .preprocessing.discretization import *
    from .preprocessing.encoding import *
    from .preprocessing.hashing import *
    from .preprocessing.imputation import *
    from .preprocessing.lookups import *
    from .preprocessing.normalization import *
    from .preprocessing.text_vectorization import *
    from .products import *
    from .sequences.attention import *
    from .sequences.cells import *
    from .sequences.convolutional_lstm import *
    from .sequences.einsum_dense import *
    from .sequences.embedding import *
    from .sequences.gated import *
    from .sequences.multi_head import *
    from .sequences.recurrent import *
    from .sequences.wrappers import *
    from .wrapping import *

    AvgPool1D = AveragePooling1D
    AvgPool2D = AveragePooling2D
    AvgPool3D = AveragePooling3D
    Convolution1D = Conv1D
    Convolution1DTranspose = Conv1DTranspose
    Convolution2D = Conv2D
    Convolution2DTranspose = Conv2DTranspose
    Convolution3D = Conv3D
    Convolution3DTranspose = Conv3DTranspose
    GlobalAvgPool1D = GlobalAveragePooling1D
    GlobalAvgPool2D = GlobalAveragePooling2D
    GlobalAvgPool3D = GlobalAveragePooling3D
    GlobalMaxPool1D = GlobalMaxPooling1D
    GlobalMaxPool2D = GlobalMaxPooling2D
    GlobalMaxPool3D = GlobalMaxPooling3D
    MaxPool1D = MaxPooling1D
    MaxPool2D = MaxPooling2D
    MaxPool3D = MaxPooling3D
    SeparableConvolution1D = SeparableConv1D
    SeparableConvolution2D = SeparableConv2D
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".activation_layers": "ELU LeakyReLU PReLU ReLU Softmax",
            ".convolutional.convolution": "Conv1D=Convolution1D Conv2D=Convolution2D",
            ".convolutional.images": (
                "Cropping1D Cropping2D UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D"
            ),
            ".convolutional.pooling": (
                "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveMaxPooling1D "
                "AdaptiveMaxPooling2D AveragePooling1D=AvgPool1D AveragePooling2D=AvgPool2D "
                "GlobalAveragePooling1D=GlobalAvgPool1D GlobalAveragePooling2D=GlobalAvgPool2D "
                "GlobalMaxPooling1D=GlobalMaxPool1D GlobalMaxPooling2D=GlobalMaxPool2D "
                "MaxPooling1D=MaxPool1D MaxPooling2D=MaxPool2D"
            ),
            ".convolutional.separate": (
                "DepthwiseConv1D DepthwiseConv2D SeparableConv1D=SeparableConvolution1D "
                "SeparableConv2D=SeparableConvolution2D"
            ),
            ".convolutional.transposed": (
                "Conv1DTranspose=Convolution1DTranspose Conv2DTranspose=Convolution2DTranspose"
            ),
            ".convolutional.volumes": (
                "AdaptiveAveragePooling3D AdaptiveMaxPooling3D AveragePooling3D=AvgPool3D "
                "Conv3D=Convolution3D Conv3DTranspose=Convolution3DTranspose Cropping3D "
                "GlobalAveragePooling3D=GlobalAvgPool3D GlobalMaxPooling3D=GlobalMaxPool3D "
                "MaxPooling3D=MaxPool3D UpSampling3D ZeroPadding3D"
            ),
            ".core": "Activation Flatten Input InputLayer Rescaling Reshape",
            ".dense": "Dense",
            ".layer": "Layer deserialize get serialize",
            ".merging": (
                "Add Average Concatenate Maximum Minimum Multiply Subtract add average "
                "concatenate maximum minimum multiply subtract"
            ),
            ".noise": (
                "AlphaDropout Dropout GaussianDropout GaussianNoise SpatialDropout1D "
                "SpatialDropout2D SpatialDropout3D"
            ),
            ".normalization": (
                "BatchNormalization GroupNormalization LayerNormalization RMSNormalization "
                "UnitNormalization"
            ),
            ".operations": "Lambda",
            ".passing": "ActivityRegularization Identity Permute RepeatVector",
            ".pictures.colors": "AutoContrast Equalization RandomBrightness RandomContrast",
            ".pictures.geometry": (
                "RandomFlip RandomRotation RandomShear RandomTranslation RandomZoom"
            ),
            ".pictures.points": (
                "RandomColorDegeneration RandomColorJitter RandomGrayscale RandomHue RandomInvert "
                "RandomPosterization RandomSaturation Solarization"
            ),
            ".pictures.sizes": "CenterCrop RandomCrop Resizing",
            ".pictures.windows": "CutMix MixUp RandomErasing RandomGaussianBlur RandomSharpness",
            ".preprocessing.datetimes": "DatetimeEncoder",
            ".preprocessing.discretization": "Discretization",
            ".preprocessing.encoding": "CategoryEncoding",
            ".preprocessing.hashing": "HashedCrossing Hashing HashingVectorizer",
            ".preprocessing.imputation": "MissingIndicator SimpleImputer",
            ".preprocessing.lookups": "IntegerLookup StringLookup",
            ".preprocessing.normalization": "Normalization",
            ".preprocessing.text_vectorization": "TextVectorization",
            ".products": "Dot dot",
            ".sequences.attention": "AdditiveAttention Attention",
            ".sequences.cells": "GRUCell LSTMCell SimpleRNNCell StackedRNNCells",
            ".sequences.convolutional_lstm": "ConvLSTM1D ConvLSTM2D ConvLSTM3D",
            ".sequences.einsum_dense": "EinsumDense",
            ".sequences.embedding": "Embedding Masking ReversibleEmbedding",
            ".sequences.gated": "GRU LSTM SimpleRNN",
            ".sequences.multi_head": "GroupQueryAttention MultiHeadAttention",
            ".sequences.recurrent": "RNN",
            ".sequences.wrappers": "Bidirectional TimeDistributed",
            ".wrapping": "InputSpec SpectralNormalization Wrapper",
        },
        kind="layer",
    )
