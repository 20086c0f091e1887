"""Of parts of tensors, and of elements at places."""

from __future__ import annotations

import numpy as np
import torch

from gpunn import ops

from .case import called, case, floats, ints

PARTS = (
    np.s_[0], np.s_[-1], np.s_[1:], np.s_[:-1], np.s_[:, 0], np.s_[..., -1], np.s_[:, None],
    np.s_[None], np.s_[..., None], np.s_[1:2, ::2], np.s_[:, 1:3, -1], np.s_[0, ..., 0],
    np.s_[:], np.s_[...], np.s_[0, 1, 2], np.s_[2:2], np.s_[:, :0], np.s_[np.int64(1)], np.s_[5:],
    np.s_[-9:], np.s_[1:, None, 2],
)  # fmt: skip
for key in PARTS:
    theirs = lambda x, k=key: x[int(k) if isinstance(k, np.integer) else k]  # noqa: E731
    case("get_item", called("get_item", key), theirs, floats(3, 4, 5))
    case("get_item", lambda x, k=key: x[k] * 2, lambda x, f=theirs: f(x) * 2, ints(3, 4, 5))
case("get_item", lambda x: x[::-1], lambda x: x.flip(0), floats(3, 4))
case("get_item", lambda x: x[:, ::-2], lambda x: x.flip(1)[:, ::2], floats(3, 5))
case("get_item", lambda x: x[1:] - x[:-1], lambda x: x[1:] - x[:-1], floats(5))
case("get_item", lambda x: x[[0, 2, 2]], lambda x: x[[0, 2, 2]], floats(3, 4))
case("get_item", lambda x: x[:, np.array([1, -1])], lambda x: x[:, [1, 3]], floats(3, 4))
case("get_item", lambda x: x[[1, 0], 1:], lambda x: x[[1, 0], 1:], floats(3, 4))
case("get_item", lambda x, i: x[i], lambda x, i: x[i.long()], floats(3, 4), ints(5, low=-3, high=3))
case(
    "get_item",
    lambda x, i: x[:, i],
    lambda x, i: x[:, i.long()],
    floats(3, 4),
    ints(2, 2, low=0, high=4),
)

case("slice", called("slice", (1, 0), (2, 3)), lambda x: x[1:3, :3], floats(4, 5))
case("slice", called("slice", [0, 2], [-1, 2]), lambda x: x[:, 2:4], floats(4, 5))

for axis in (0, 1, -1):
    for places in ([2, 2, 0], [[0, 1], [1, 2]], 1, [-1], []):
        index = torch.tensor(places, dtype=torch.long)
        case(
            "take", called("take", np.array(places, np.int32), axis),
            lambda x, i=index, a=axis: taken(x, i, a), floats(3, 4),
        )  # fmt: skip


def taken(x: torch.Tensor, places: torch.Tensor, axis: int) -> torch.Tensor:
    axis = axis % x.ndim
    places = torch.where(places < 0, places + x.shape[axis], places)
    found = torch.index_select(x, axis, places.reshape(-1))
    return found.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


case("take", called("take", [5, 0]), lambda x: x.ravel()[[5, 0]], floats(3, 4))
case(
    "take",
    lambda x, i: ops.take(x, i, 0),
    lambda x, i: taken(x, i.long(), 0),
    floats(3, 4),
    ints(2, 3, low=-3, high=3),
)
case(
    "take",
    lambda x, i: ops.take(x, i, 1),
    lambda x, i: taken(x, i.long(), 1),
    floats(3, 4, 2),
    ints(5, low=0, high=4),
)
case("take", called("take", [1, 1], 0), lambda x: x[[1, 1]], ints(3, 4))

for axis, shape in ((1, (3, 2)), (0, (2, 4)), (-1, (3, 7)), (0, (0, 4))):
    case(
        "take_along_axis", lambda x, i, a=axis: ops.take_along_axis(x, i, a),
        lambda x, i, a=axis: torch.take_along_dim(x, i.long(), a),
        floats(3, 4), ints(*shape, low=0, high=3),
    )  # fmt: skip
case(
    "take_along_axis", ops.take_along_axis,
    lambda x, i: torch.take_along_dim(x, i.long()), floats(3, 4), ints(5, low=0, high=12),
)  # fmt: skip
case(
    "take_along_axis", lambda x, i: ops.take_along_axis(x, i, 1),
    lambda x, i: torch.take_along_dim(x, i.long() % 4, 1),
    floats(3, 4, 2), ints(3, 2, 2, low=-4, high=4),
)  # fmt: skip

one_hot = torch.nn.functional.one_hot
for x in (ints(5, low=0, high=4), ints(2, 3, low=0, high=4), ints(0, low=0, high=4)):
    case("one_hot", called("one_hot", 4), lambda x: one_hot(x.long(), 4).float(), x)
    case(
        "one_hot",
        called("one_hot", 4, axis=0),
        lambda x: one_hot(x.long(), 4).float().movedim(-1, 0),
        x,
    )
case(
    "one_hot",
    called("one_hot", 3, dtype="int32"),
    lambda x: one_hot(x.long(), 4)[..., :3],
    ints(9, low=0, high=4),
)
case(
    "one_hot",
    called("one_hot", 3),
    lambda x: one_hot(x.long() + 1, 4)[..., 1:].float(),
    ints(9, low=-1, high=3),
)

for start, part in (((1, 0), (2, 3)), ((0, 2), (4, 1)), ((3, 4), (1, 1))):
    x, new = floats(4, 5), floats(*part, seed=1)

    def put(x: torch.Tensor, new: torch.Tensor, start: tuple[int, ...] = start) -> torch.Tensor:
        key = tuple(slice(a, a + n) for a, n in zip(start, new.shape, strict=True))
        x = x.clone()
        x[key] = new
        return x

    case("slice_update", lambda x, new, s=start: ops.slice_update(x, s, new), put, x, new)

index = ints(6, 2, low=0, high=3)
wide = torch.tensor(index).long()
case(
    "scatter", lambda v: ops.scatter(index, v, (3, 3)),
    lambda v: torch.zeros(3, 3, dtype=v.dtype).index_put((wide[:, 0], wide[:, 1]), v, True),
    floats(6),
)  # fmt: skip
case(
    "scatter", lambda v: ops.scatter(index[:, :1], v, (3, 2)),
    lambda v: torch.zeros(3, 2, dtype=v.dtype).index_put((wide[:, 0],), v, True), floats(6, 2),
)  # fmt: skip
case(
    "scatter_update", lambda x, v: ops.scatter_update(x, [[0, 1], [2, -1]], v),
    lambda x, v: x.index_put((torch.tensor([0, 2]), torch.tensor([1, 2])), v), floats(3, 3),
    floats(2),
)  # fmt: skip
case(
    "scatter_update", lambda x, v: ops.scatter_update(x, [[2], [0]], v),
    lambda x, v: x.index_put((torch.tensor([2, 0]),), v), floats(3, 3), floats(2, 3, seed=1),
)  # fmt: skip
case(
    "scatter_update", lambda x, v: ops.scatter_update(x, [[1], [1], [1]], v),
    lambda x, v: torch.stack([x[0], v[2], x[2]]), floats(3), floats(3, seed=1),
)  # fmt: skip
case(
    "scatter_update", lambda x, v: ops.scatter_update(x, [[1], [1]], v, "add"),
    lambda x, v: torch.stack([x[0], x[1] + v[0] + v[1]]), floats(2), floats(2, seed=1),
)  # fmt: skip
segments = torch.tensor([0, 0, 2, 1, 2])
case(
    "segment_sum", called("segment_sum", [0, 0, 2, 1, 2]),
    lambda x: torch.zeros(3, 4, dtype=x.dtype).index_add(0, segments, x), floats(5, 4),
)  # fmt: skip
case(
    "segment_sum", lambda x, s: ops.segment_sum(x, s, 4),
    lambda x, s: torch.zeros(4, dtype=x.dtype).index_add(0, s.long(), x), floats(5), ints(5,
    low=0, high=4),
)  # fmt: skip
case(
    "segment_max", called("segment_max", [0, 0, 2, 1, 2]),
    lambda x: torch.stack([x[:2].amax(0), x[3], x[[2, 4]].amax(0)]), floats(5, 4),
)  # fmt: skip

rising = floats(6)
rising.sort()
for side in ("left", "right"):
    for sought in (floats(3, 4), rising[[0, 3, 3]]):
        case(
            "searchsorted", lambda s, v, side=side: ops.searchsorted(s, v, side),
            lambda s, v, side=side: torch.searchsorted(s, v, side=side), rising, sought,
        )  # fmt: skip
case("digitize", ops.digitize, lambda x, b: torch.bucketize(x, b, right=True), floats(9), rising)
case("isin", ops.isin, torch.isin, ints(3, 4), ints(3))
case(
    "isin",
    lambda a, b: ops.isin(a, b, invert=True),
    lambda a, b: ~torch.isin(a, b),
    ints(3),
    ints(2, 2),
)
case(
    "bincount",
    called("bincount", minlength=9),
    lambda x: torch.bincount(x, minlength=9),
    ints(20, low=0, high=6),
)
case(
    "bincount", lambda x, w: ops.bincount(x, w, 6), lambda x, w: torch.zeros(6,
    dtype=w.dtype).index_add(0, x.long(), w),
    ints(20, low=0, high=6), floats(20),
)  # fmt: skip
case(
    "argpartition",
    lambda x: ops.take_along_axis(x, ops.argpartition(x, 2), -1)[..., 2],
    lambda x: x.kthvalue(3).values,
    floats(3, 5),
)
case(
    "in_top_k", lambda t, p: ops.in_top_k(t, p, 2),
    lambda t, p: (torch.topk(p, 2).indices == t[:, None]).any(1), ints(7, low=0, high=4),
    floats(7, 4),
)  # fmt: skip
case(
    "multi_hot",
    called("multi_hot", 5),
    lambda x: one_hot(x.long(), 5).amax(1).float(),
    ints(4, 3, low=0, high=5),
)
case(
    "multi_hot",
    called("multi_hot", 5),
    lambda x: one_hot(x.long(), 5).amax(0).float(),
    ints(3, low=0, high=5),
)
case(
    "unravel_index",
    called("unravel_index", (3, 2, 4)),
    lambda x: tuple(torch.unravel_index(x, (3, 2, 4))),
    ints(9, low=0, high=24),
)
case(
    "select",
    lambda x: ops.select([x > 1, x > 0], [x * 2, x * 3], -1.0),
    lambda x: torch.where(x > 1, x * 2, torch.where(x > 0, x * 3, -1.0)),
    floats(9),
)
case(
    "trapezoid",
    called("trapezoid", dx=0.5, axis=0),
    lambda y: torch.trapezoid(y, dx=0.5, dim=0),
    floats(4, 3),
)
case("trapezoid", ops.trapezoid, torch.trapezoid, floats(3, 4), floats(4))

for key in (
    np.s_[[0, 1], [1, -1]], np.s_[0, [1, 2]], np.s_[..., [1, 2]], np.s_[1:, [1, 2]],
    np.s_[[0, 2], :, [1, 1]], np.s_[:, [[0], [1]], [1, 2, 4]],
    np.s_[[2, 0], ..., -1], np.s_[:, [0, 1], 1:3],
):  # fmt: skip
    case("get_item", called("get_item", key), lambda x, k=key: x[k], floats(3, 4, 5))
case(
    "get_item",
    lambda x, i: x[np.arange(3), i],
    lambda x, i: x[torch.arange(3), i.long()],
    floats(3, 4),
    ints(3, low=-4, high=4),
)
# NumPy has the places in front here, PyTorch does not.
case(
    "get_item",
    called("get_item", np.s_[0, :, [1, 1]]),
    lambda x: x[0, :, [1, 1]].T,
    floats(3, 4, 5),
)

# As many places, or as large a table, that these are no product with a matrix of 0 and 1.
for axis, shape, many in ((0, (3000, 2), (6, 7)), (1, (2, 2500, 3), (31,))):
    case(
        "take", lambda x, i, a=axis: ops.take(x, i, a),
        lambda x, i, a=axis: taken(x, i.long(), a),
        floats(*shape), ints(*many, low=-9, high=9),
    )  # fmt: skip
case(
    "take_along_axis", lambda x, i: ops.take_along_axis(x, i, 1),
    lambda x, i: torch.take_along_dim(x, i.long(), 1), floats(40, 50), ints(40, 5, low=0, high=50),
)  # fmt: skip
case(
    "scatter", lambda v: ops.scatter(index, v, (300, 300)),
    lambda v: torch.zeros(300, 300, dtype=v.dtype).index_put(
        (wide[:, 0] % 300, wide[:, 1] % 300), v, True
    ),
    floats(6),
)  # fmt: skip
case(
    "segment_sum", called("segment_sum", [0, 0, 2, 1, 2], 20000),
    lambda x: torch.zeros(20000, 4, dtype=x.dtype).index_add(0, segments, x), floats(5, 4),
)  # fmt: skip
