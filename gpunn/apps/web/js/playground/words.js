// Descriptions of training problems: the findings and bounds of gpunn.callbacks.GradientMonitor, from
// one pass over the training points.

/** @typedef {import("./settings.js").Catalogue["bounds"]} Bounds */

/**
 * @typedef {Object} UnitState
 * @property {number} mean of its outputs
 * @property {boolean} dead whether its slope is 0 for every point
 * @property {number} saturated fraction of its outputs at a flat end
 */

/**
 * @param {Float32Array} outputs (rows, units) of one layer
 * @param {Float32Array} slopes of its activation at these outputs, (rows, units)
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
 * @param {UnitState[][]} layers the hidden layers; empty where the activation is not examined
 * @param {number[]} gradients root mean square of each layer's weight gradient
 * @param {boolean} finite
 * @param {Bounds} bounds
 * @returns {string[]} sentences
 */
export function findings(layers, gradients, finite, bounds) {
  if (!finite) {
    return ["The loss is no longer finite: the steps are too large. Reset with a smaller learning rate."];
  }
  /** @type {string[]} */
  const found = [];
  layers.forEach((units, i) => {
    const dead = units.map((u, j) => (u.dead ? j + 1 : 0)).filter(Boolean);
    if (dead.length) {
      found.push(`Layer ${i + 1}: ${units_(dead)} dead: ${dead.length > 1 ? "their slopes are" : "its slope is"} `
        + "0 at every point, so no weight changes there.");
    }
    const share = units.reduce((sum, u) => sum + u.saturated, 0) / units.length;
    if (share >= bounds.many) {
      found.push(`Layer ${i + 1} is saturated: ${Math.round(100 * share)}% of its outputs are at a flat end of the activation, `
        + "where it hardly learns.");
    }
  });
  const some = layers.flat().filter((u) => u.saturated >= bounds.many).length;
  if (some && !found.some((text) => text.includes("saturated"))) {
    found.push(`${some === 1 ? "One unit is" : `${some} units are`} saturated, but no layer as a whole.`);
  }
  const [first, last] = [gradients[0], gradients[gradients.length - 1]];
  if (gradients.length > 1 && first * bounds.far_apart < last) {
    found.push(`Vanishing gradients: the RMS gradient of layer 1 is ${first.toExponential(1)}, that of the last `
      + `layer ${last.toExponential(1)}.`);
  } else if (gradients.length > 1 && last * bounds.far_apart < first) {
    found.push(`Exploding gradients: the RMS gradient of layer 1 is ${first.toExponential(1)}, that of the last `
      + `layer ${last.toExponential(1)}.`);
  }
  return found;
}

/** @param {number[]} numbers */
function units_(numbers) {
  return numbers.length === 1 ? `unit ${numbers[0]} is`
    : `units ${numbers.slice(0, -1).join(", ")} and ${numbers[numbers.length - 1]} are`;
}
