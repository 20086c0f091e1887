// The end of a step: penalties, gradient clipping, the update, the counters.
import { checkNotNegative } from "./settings.js";

/** @typedef {import("./memory.js").Call} Call */

const PIECE = 65536; // values summed at a time
const PENALTIES = "penalties float32 BothPenalties SquarePenalty";

/**
 * Cut parameters into pieces: the start and end of each, and the indices of the first and last
 * (exclusive) piece of its parameter.
 * @param {{at: number, size: number}[]} places
 */
function cut(places) {
  /** @type {number[][]} */
  const pieces = [];
  for (const { at, size } of places) {
    const first = pieces.length;
    const last = first + Math.ceil(size / PIECE);
    for (let start = at; start < at + size; start += PIECE)
      pieces.push([start, Math.min(start + PIECE, at + size), first, last]);
  }
  return pieces;
}

/**
 * The calls that end a step, as a function of its rows.
 * @param {import("./memory.js").Room} room
 * @param {ReturnType<typeof import("./settings.js").optimizerOf>} optimizer
 * @param {{values: number, gradients: number, size: number, counters: number, layers: any[], places:
 *   {at: number, size: number}[], slots: number[], rates: number, totals: number, parameters: number}}
 *   network addresses of its arrays
 * @returns {(rows: number) => Call[]}
 */
export function stepEnds(room, optimizer, network) {
  const { values, gradients, size, counters, layers, places, slots, rates, totals, parameters } =
    network;
  /** @type {Call[]} */
  const update = [];
  const groups = room.doubles([0, size, 1, 1]);
  const { clipvalue, clipnorm, global_clipnorm: clipall } = optimizer.numbers;
  if (clipvalue) update.push(["clip_values float32", gradients, groups, 1, clipvalue]);
  else if (clipnorm || clipall) {
    const pieces = cut(places);
    if (!clipnorm) for (const piece of pieces) [piece[2], piece[3]] = [0, pieces.length];
    update.push(["clip_norms float32", gradients, room.integers(pieces.flat()), pieces.length,
      room.bytes(8 * pieces.length), clipnorm || clipall]);
  }
  update.push([`update float32 ${optimizer.functor()}`, values, gradients, ...slots, groups, 1,
    parameters, 1, counters, rates]);
  if (optimizer.byNorms) {
    const pieces = cut(places);
    update.push(["step_by_norms float32", values, slots[2], room.integers(pieces.flat()),
      pieces.length, room.bytes(8 * pieces.length), room.bytes(8 * pieces.length),
      room.doubles(pieces.map(() => 1)), 1, counters, rates]);
  }
  /** @type {number[][]} */
  const penalized = [];
  const factors = layers.flatMap(({ dense, settings }) => {
    const [l1, l2] = [settings.l1 ?? 0, settings.l2 ?? 0];
    checkNotNegative(l1, "l1");
    checkNotNegative(l2, "l2");
    if (!l1 && !l2) return [];
    const pieces = cut([{ at: dense.at.kernel, size: dense.parameters.kernel }]);
    penalized.push(...pieces);
    return pieces.flatMap(() => [l1, l2]);
  });
  const count = penalized.length;
  const table = count ? room.integers(penalized.flat()) : 0;
  const [numbers, sums] = [count ? room.doubles(factors) : 0, count ? room.bytes(8 * count) : 0];
  return (/** @type {number} */ rows) => {
    /** @type {Call[]} */
    const calls = count
      ? [[PENALTIES, values, gradients, table, numbers, count, sums, rows, totals]]
      : [];
    return [...calls, ...update, /** @type {Call} */ (["advance", counters, rows, totals])];
  };
}
