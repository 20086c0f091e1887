# Below the docstring: written by `make exports` from the modules of this folder.
"""Layers, the building blocks of models."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .activation_layers import ELU, LeakyReLU, PReLU, ReLU, Softmax
    from .convolutional.convolution import Conv2D, Conv2DTranspose
    from .convolutional.images import UpSampling2D, ZeroPadding2D
    from .convolutional.pooling import (
        AveragePooling2D,
        GlobalAveragePooling2D,
        GlobalMaxPooling2D,
        MaxPooling2D,
    )
    from .core import Activation, Flatten, Input, InputLayer, Rescaling, Reshape
    from .dense import Dense
    from .group_normalization import GroupNormalization, UnitNormalization
    from .layer import Layer, deserialize, get, serialize
    from .merging import (
        Add,
        Average,
        Concatenate,
        Maximum,
        Minimum,
        Multiply,
        Subtract,
        add,
        average,
        concatenate,
        maximum,
        minimum,
        multiply,
        subtract,
    )
    from .noise import AlphaDropout, Dropout, GaussianDropout, GaussianNoise
    from .normalization import BatchNormalization, LayerNormalization, RMSNormalization
    from .operations import Lambda
    from .passing import ActivityRegularization, Identity, Permute, RepeatVector
    from .pictures.colors import RandomBrightness, RandomContrast
    from .pictures.geometry import RandomFlip, RandomRotation, RandomTranslation, RandomZoom
    from .pictures.sizes import CenterCrop, RandomCrop, Resizing
    from .preprocessing.datetimes import DatetimeEncoder
    from .preprocessing.discretization import Discretization
    from .preprocessing.encoding import CategoryEncoding
    from .preprocessing.hashed import Hashing
    from .preprocessing.hashing import HashingVectorizer
    from .preprocessing.imputation import MissingIndicator, SimpleImputer
    from .preprocessing.lookups import IntegerLookup, StringLookup
    from .preprocessing.normalization import Normalization
    from .preprocessing.text_vectorization import TextVectorization
    from .products import Dot, dot
    from .sequences.attention import AdditiveAttention, Attention
    from .sequences.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
    from .sequences.einsum_dense import EinsumDense
    from .sequences.embedding import Embedding, ReversibleEmbedding
    from .sequences.gated import GRU, LSTM, SimpleRNN
    from .sequences.masking import Masking
    from .sequences.multi_head import GroupQueryAttention, MultiHeadAttention
    from .sequences.recurrent import RNN
    from .sequences.wrappers import Bidirectional, TimeDistributed
    from .wrapping import InputSpec, Wrapper

    AvgPool2D = AveragePooling2D
    Convolution2D = Conv2D
    Convolution2DTranspose = Conv2DTranspose
    GlobalAvgPool2D = GlobalAveragePooling2D
    GlobalMaxPool2D = GlobalMaxPooling2D
    MaxPool2D = MaxPooling2D
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".activation_layers": "ELU LeakyReLU PReLU ReLU Softmax",
            ".convolutional.convolution": "Conv2D Conv2DTranspose",
            ".convolutional.images": "UpSampling2D ZeroPadding2D",
            ".convolutional.pooling": (
                "AveragePooling2D GlobalAveragePooling2D GlobalMaxPooling2D MaxPooling2D"
            ),
            ".core": "Activation Flatten Input InputLayer Rescaling Reshape",
            ".dense": "Dense",
            ".group_normalization": "GroupNormalization UnitNormalization",
            ".layer": "Layer deserialize get serialize",
            ".merging": (
                "Add Average Concatenate Maximum Minimum Multiply Subtract add average "
                "concatenate maximum minimum multiply subtract"
            ),
            ".noise": "AlphaDropout Dropout GaussianDropout GaussianNoise",
            ".normalization": "BatchNormalization LayerNormalization RMSNormalization",
            ".operations": "Lambda",
            ".passing": "ActivityRegularization Identity Permute RepeatVector",
            ".pictures.colors": "RandomBrightness RandomContrast",
            ".pictures.geometry": "RandomFlip RandomRotation RandomTranslation RandomZoom",
            ".pictures.sizes": "CenterCrop RandomCrop Resizing",
            ".preprocessing.datetimes": "DatetimeEncoder",
            ".preprocessing.discretization": "Discretization",
            ".preprocessing.encoding": "CategoryEncoding",
            ".preprocessing.hashed": "Hashing",
            ".preprocessing.hashing": "HashingVectorizer",
            ".preprocessing.imputation": "MissingIndicator SimpleImputer",
            ".preprocessing.lookups": "IntegerLookup StringLookup",
            ".preprocessing.normalization": "Normalization",
            ".preprocessing.text_vectorization": "TextVectorization",
            ".products": "Dot dot",
            ".sequences.attention": "AdditiveAttention Attention",
            ".sequences.cells": "GRUCell LSTMCell SimpleRNNCell StackedRNNCells",
            ".sequences.einsum_dense": "EinsumDense",
            ".sequences.embedding": "Embedding ReversibleEmbedding",
            ".sequences.gated": "GRU LSTM SimpleRNN",
            ".sequences.masking": "Masking",
            ".sequences.multi_head": "GroupQueryAttention MultiHeadAttention",
            ".sequences.recurrent": "RNN",
            ".sequences.wrappers": "Bidirectional TimeDistributed",
            ".wrapping": "InputSpec Wrapper",
        },
        {
            "AveragePooling2D": "AvgPool2D",
            "Conv2D": "Convolution2D",
            "Conv2DTranspose": "Convolution2DTranspose",
            "GlobalAveragePooling2D": "GlobalAvgPool2D",
            "GlobalMaxPooling2D": "GlobalMaxPool2D",
            "MaxPooling2D": "MaxPool2D",
        },
        kind="layer",
    )

__all__ = [
    "ELU", "GRU", "LSTM", "RNN", "Activation", "ActivityRegularization", "Add", "AdditiveAttention",
    "AlphaDropout", "Attention", "Average", "AveragePooling2D", "AvgPool2D", "BatchNormalization",
    "Bidirectional", "CategoryEncoding", "CenterCrop", "Concatenate", "Conv2D", "Conv2DTranspose",
    "Convolution2D", "Convolution2DTranspose", "DatetimeEncoder", "Dense", "Discretization", "Dot",
    "Dropout", "EinsumDense", "Embedding", "Flatten", "GRUCell", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling2D", "GlobalAvgPool2D", "GlobalMaxPool2D", "GlobalMaxPooling2D",
    "GroupNormalization", "GroupQueryAttention", "Hashing", "HashingVectorizer", "Identity",
    "Input", "InputLayer", "InputSpec", "IntegerLookup", "LSTMCell", "Lambda", "Layer",
    "LayerNormalization", "LeakyReLU", "Masking", "MaxPool2D", "MaxPooling2D", "Maximum", "Minimum",
    "MissingIndicator", "MultiHeadAttention", "Multiply", "Normalization", "PReLU", "Permute",
    "RMSNormalization", "RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip",
    "RandomRotation", "RandomTranslation", "RandomZoom", "ReLU", "RepeatVector", "Rescaling",
    "Reshape", "Resizing", "ReversibleEmbedding", "SimpleImputer", "SimpleRNN", "SimpleRNNCell",
    "Softmax", "StackedRNNCells", "StringLookup", "Subtract", "TextVectorization",
    "TimeDistributed", "UnitNormalization", "UpSampling2D", "Wrapper", "ZeroPadding2D", "add",
    "average", "concatenate", "deserialize", "dot", "get", "maximum", "minimum", "multiply",
    "serialize", "subtract",
]  # fmt: skip
