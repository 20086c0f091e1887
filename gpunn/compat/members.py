"""Attributes of Keras's and PyTorch's objects that gpunn's lack, and what to do instead."""

from __future__ import annotations

from .absent import advice_in

_STEPS = "fit, evaluate and predict compile steps; a train_step(data) of your own replaces theirs"
_KERAS_2 = "nor has Keras 3: "
_PYTORCH = "which is PyTorch's: "

# By kinds of objects: the names, and the rest of the sentence "gpunn has no ...".
ABSENT: dict[str, dict[str, str]] = {
    "layer model": {
        "quantize quantized_build quantized_call quantization_mode "
        "get_quantization_layer_structure variable_serialization_spec": (
            "weights of few bits; keep Keras for this model"
        ),
        "enable_lora lora_enabled lora_rank": (
            "adaptation of low rank; freeze the layer (trainable = False), and add to its result "
            "that of two Dense layers in a row, of few units and of as many as the layer has"
        ),
        "rematerialized_call": (
            "recomputation of activations; smaller batches with gradient_accumulation_steps of an "
            "optimizer take less memory"
        ),
        "input_dtype": "such attribute; compute_dtype is float32 or float64",
        "add_metric": (
            f"add_metric, {_KERAS_2}make a metric in __init__, and call its update_state in call"
        ),
        "add_update updates": f"lists of updates, {_KERAS_2}assign to a weight in call",
        "compute_output_spec symbolic_call": "other call on a KerasTensor; write layer(x)",
        "path": "paths of layers; weights have a path, and layers a name",
        "eval train": (
            f"mode, {_PYTORCH}fit trains, predict and evaluate do not, and a call "
            "takes training="
        ),
        "to cuda cpu": (
            f"move between devices, {_PYTORCH}Model(..., backend='cupy') or 'numpy' "
            "chooses, and gpunn.device('gpu:0')"
        ),
        "state_dict load_state_dict": (
            f"dictionary of weights, {_PYTORCH}get_weights, "
            "set_weights, save_weights and load_weights"
        ),
        "zero_grad": f"gradients to clear, {_PYTORCH}each step has its own",
        "children modules named_modules": f"modules, {_PYTORCH}layers has those of a model",
    },
    "layer": {
        "kernel bias embeddings": (
            "such weight yet; call the layer, or its build(input_shape), first"
        ),
        "get_initial_state": "states before a call; initial_state=None begins with zeros",
        "states": "states of both directions; those of forward_layer and backward_layer",
        "get_dropout_mask reset_dropout_mask get_recurrent_dropout_mask "
        "reset_recurrent_dropout_mask": "masks outside a step, which draws its own",
        "inner_loop": "loops of cells to call; the layer is called on whole sequences",
        "finalize_state update_state reset_state": (
            "state to change piece by piece; adapt(data) learns it from all of the data"
        ),
        "load_assets save_assets": "files of a layer; model.save(path) keeps vocabularies",
        "get_random_transformation transform_images transform_labels transform_bounding_boxes "
        "transform_segmentation_masks transform_single_image transform_single_label "
        "transform_single_bounding_box transform_single_segmentation_mask get_transformed_x_y "
        "get_shifted_bbox get_clipped_bbox": (
            "pieces of random pictures; call the layer on pictures, with training=True; it changes "
            "nothing else"
        ),
        "convert_weight output_dtype output_dense normalized_weights": (
            "such attribute of Keras's own code; weights and get_config() tell what a layer is "
            "made of"
        ),
    },
    "model": {
        "make_train_function make_test_function make_predict_function train_function "
        "test_function predict_function": f"functions of steps; {_STEPS}",
        "jit_compile": f"switch for compilers; {_STEPS}",
        "stateless_compute_loss": "loss apart from its model; call a loss on y and y_pred",
        "compute_mask supports_masking": "masks of a whole model; its layers have them",
        "fit_generator": f"fit_generator, {_KERAS_2}fit takes generators",
        "predict_generator": f"predict_generator, {_KERAS_2}predict takes generators",
        "evaluate_generator": f"evaluate_generator, {_KERAS_2}evaluate takes generators",
        "predict_classes": f"predict_classes, {_KERAS_2}use predict(x).argmax(-1)",
        "predict_proba": f"predict_proba, {_KERAS_2}predict(x) has the probabilities",
        "reset_states": f"reset_states, {_KERAS_2}reset_state() of a stateful layer does it",
    },
    "optimizer": {
        "get_weights weights": f"lists of weights, {_KERAS_2}variables has the state",
        "add_optimizer_variables add_variable_from_reference add_variable add_slot": (
            "variables to add later; slots=('m',) of the class names those that update gets"
        ),
        "assign assign_add assign_sub": "assignments; a variable has them: v.assign(x)",
        "lr": f"lr, {_KERAS_2}learning_rate is the rate",
        "get_gradients get_updates": f"graphs of updates, {_KERAS_2}use a GradientTape",
        "lr_adjust transpose_last_axis zeropower_via_newtonschulz5": (
            "pieces of the update to call; apply_gradients does all of it"
        ),
        "zero_grad step": (
            f"step of that kind, {_PYTORCH}fit, or a GradientTape and "
            "apply_gradients"
        ),
    },
    "initializer": {
        "clone": "method for copies; type(it).from_config(it.get_config()) makes one",
    },
    "callback": {
        "get_monitor_value": "such method; logs of on_epoch_end has the figures",
        "summary": "summaries to write; a callback of your own may write others",
    },
    "metric": {
        "interpolate_pr_auc": "other method for areas; result() has the area",
    },
}


def table() -> str:
    """Return the rows of `docs/reference/keras.md` about attributes."""
    rows = ["| of | attributes | gpunn has no |", "| --- | --- | --- |"]
    for kinds, entries in ABSENT.items():
        for names, reason in entries.items():
            listed = ", ".join(f"`{name}`" for name in names.split())
            rows.append(f"| {kinds.replace(' ', ', ')} | {listed} | {reason} |")
    return "\n".join(rows) + "\n"


def advice_of(kind: str, name: str) -> str | None:
    """Return what to do without an attribute of objects of this kind that Keras's have.

    >>> advice_of("model", "predict_proba")
    'gpunn has no predict_proba, nor has Keras 3: predict(x) has the probabilities.'
    """
    known = (entries for kinds, entries in ABSENT.items() if kind in kinds.split())
    return next(filter(None, (advice_in(entries, name) for entries in known)), None)
