// What is wrong with how a network learns, in words: the findings and bounds of
// gpunn.callbacks.GradientMonitor, of one pass over the points that are learned from.

/** @typedef {import("./settings.js").Catalogue["bounds"]} Bounds */

/**
 * @typedef {Object} UnitState
 * @property {number} mean of its outputs
 * @property {boolean} dead its slope is 0 for every point
 * @property {number} saturated share of its outputs at a flat end
 */

/**
 * @param {Float32Array} outputs (rows, units) of one layer
 * @param {Float32Array} slopes of its activation there, (rows, units)
 * @param {number} units
 * @param {number | null} steepest the largest slope of an activation with two flat ends
 * @param {Bounds} bounds
 * @returns {UnitState[]}
 */
export function unitStates(outputs, slopes, units, steepest, bounds) {
  const rows = outputs.length / units;
  return Array.from({ length: units }, (_, unit) => {
    let sum = 0;
    let flat = 0;
    let zero = 0;
    for (let row = 0; row < rows; row++) {
      const at = row * units + unit;
      sum += outputs[at];
      if (slopes[at] === 0) zero++;
      if (steepest !== null && Math.abs(slopes[at]) < bounds.flat * steepest) flat++;
    }
    return { mean: sum / rows, dead: steepest === null && zero === rows, saturated: flat / rows };
  });
}

/**
 * @param {UnitState[][]} layers those in between, and null where the activation has no flat places
 * @param {number[]} gradients root mean square of each layer's gradient by its weights
 * @param {boolean} finite
 * @param {Bounds} bounds
 * @returns {string[]} sentences
 */
export function findings(layers, gradients, finite, bounds) {
  if (!finite) {
    return ["The loss is not a number any more: the steps are too long. Begin anew with a smaller learning rate."];
  }
  /** @type {string[]} */
  const found = [];
  layers.forEach((units, i) => {
    const dead = units.map((u, j) => (u.dead ? j + 1 : 0)).filter(Boolean);
    if (dead.length) {
      found.push(`Layer ${i + 1}: ${units_(dead)} dead: ${dead.length > 1 ? "they give" : "it gives"} `
        + "no slope for any point, so nothing changes there.");
    }
    const share = units.reduce((sum, u) => sum + u.saturated, 0) / units.length;
    if (share >= bounds.many) {
      found.push(`Layer ${i + 1} is saturated: ${Math.round(100 * share)}% of its outputs are at a flat end, `
        + "where it hardly learns.");
    }
  });
  const some = layers.flat().filter((u) => u.saturated >= bounds.many).length;
  if (some && !found.some((text) => text.includes("saturated"))) {
    found.push(`${some === 1 ? "One unit is" : `${some} units are`} saturated, no layer as a whole.`);
  }
  const [first, last] = [gradients[0], gradients[gradients.length - 1]];
  if (gradients.length > 1 && first * bounds.far_apart < last) {
    found.push(`Vanishing gradients: a weight of layer 1 gets ${first.toExponential(1)} on average, one of the `
      + `last ${last.toExponential(1)}.`);
  } else if (gradients.length > 1 && last * bounds.far_apart < first) {
    found.push(`Exploding gradients: a weight of layer 1 gets ${first.toExponential(1)} on average, one of the `
      + `last ${last.toExponential(1)}.`);
  }
  return found;
}

/** @param {number[]} numbers */
function units_(numbers) {
  return numbers.length === 1 ? `unit ${numbers[0]} is`
    : `units ${numbers.slice(0, -1).join(", ")} and ${numbers[numbers.length - 1]} are`;
}
