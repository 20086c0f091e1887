// Every formula there is, by its kind: EACH_KIND(X) is X(Name) for each.
// Written by `make formulas` from the structs in kernels/formulas; do not edit.
#pragma once

#define EACH_ACTIVATION(X) \
    X(Silu) X(HardSilu) X(Gelu) X(GeluTanh) X(Mish) X(Linear) X(Step) X(OpenStep) X(Ramp) \
    X(Sigmoid) X(ShapedSigmoid) X(Tanh) X(Softsign) X(Gaussian) X(HardShrink) X(SoftShrink) \
    X(TanhShrink) X(Threshold) X(LogSigmoid) X(SparsePlus) X(Squareplus) X(Relu) X(LeakyRelu) \
    X(BoundedRelu) X(Elu) X(EluOf) X(Celu) X(Selu) X(Exponential) X(Softplus)

#define EACH_ROW_ACTIVATION(X) \
    X(Softmax) X(LogSoftmax)

#define EACH_LOSS(X) \
    X(BinaryCrossentropy) X(SigmoidCrossentropy) X(SigmoidCrossentropyKept) \
    X(CategoricalCrossentropy) X(SoftmaxCrossentropy) X(SoftmaxCrossentropyKept) X(KLDivergence) \
    X(Poisson) X(Hinge) X(SquaredHinge) X(PerceptronCriterion) X(CategoricalHinge) \
    X(MeanSquaredError) X(HalfSquaredError) X(EuclideanDistance) X(MeanAbsoluteError) \
    X(MeanAbsolutePercentageError) X(MeanSquaredLogarithmicError) X(Huber) X(LogCosh) \
    X(CosineSimilarity)

#define EACH_SCHEDULE(X) \
    X(CosineDecay) X(ConstantValue) X(ExponentialDecay) X(InverseTimeDecay) X(PolynomialDecay) \
    X(PiecewiseConstantDecay) X(CosineDecayRestarts) X(OneCycle)

#define EACH_OPTIMIZER(X) \
    X(Adadelta) X(Adagrad) X(Adam) X(AdamAmsgrad) X(Adamax) X(Ftrl) X(Lamb) X(Lion) X(RMSprop) \
    X(RMSpropMomentum) X(RMSpropCentered) X(RMSpropCenteredMomentum) X(SGD) X(SGDMomentum) \
    X(SGDMomentumNesterov) X(Nadam)

#define EACH_PENALTY(X) \
    X(SquarePenalty) X(BothPenalties)

#define EACH_CONSTRAINT(X) \
    X(NormLimits)

#define EACH_METRIC(X) \
    X(Accuracy) X(BinaryAccuracy) X(CategoricalAccuracy) X(SparseCategoricalAccuracy) X(TopK)

#define EACH_BINS(X) \
    X(Levels) X(Confusion)

#define EACH_MERGING(X) \
    X(Sum) X(Largest) X(Last)
