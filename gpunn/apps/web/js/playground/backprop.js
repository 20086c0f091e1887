// Backpropagation by hand, for one point: what each unit is given and gives, and how the loss
// depends on it.
/** @typedef {import("../engine.js").Network} Network */

/**
 * @typedef {Object} Passed
 * @property {Float32Array} inputs what the layer is given
 * @property {Float32Array} z x W + b
 * @property {Float32Array} outputs
 * @property {Float32Array | null} byOutput dL/da; null where loss and activation are one
 * @property {Float32Array | null} slope da/dz of each unit; null where its output does not depend
 *   on its own z alone
 * @property {Float32Array} byZ dL/dz
 * @property {boolean} normalize whether the batch is normalized between z and the activation
 */

/**
 * One point forward and backward.
 * @param {Network} network
 * @param {import("./slopes.js").Slopes} slopes
 * @param {import("./settings.js").Catalogue} catalogue
 * @param {{activation: string, normalize: boolean}[]} settings of the layers
 * @param {Float32Array} x of the point
 * @param {Float32Array} y
 * @returns {{layers: Passed[], loss: number}}
 */
export function passed(network, slopes, catalogue, settings, x, y) {
  const { outputs, gradients, sums, sumGradients, loss } = network.explain(x, y, 1);
  const { fuses } = catalogue.losses[network.settings.loss];
  const layers = settings.map(({ activation, normalize }, i) => {
    const fused = i === settings.length - 1 && fuses === activation && !normalize;
    const own = !normalize && !fused && !catalogue.activations[activation].rowwise;
    return {
      inputs: i ? outputs[i - 1] : x, z: sums[i], outputs: outputs[i], byZ: sumGradients[i], normalize,
      byOutput: fused ? null : gradients[i], slope: own ? slopes.of(activation, sums[i]) : null,
    };
  });
  return { layers, loss };
}

/**
 * The chain rule of one unit, in numbers.
 * @param {Passed[]} layers
 * @param {Network} network
 * @param {string[]} activations of the layers
 * @param {string} loss its name
 * @param {number} at layer
 * @param {number} unit
 * @param {(value: number) => string} written
 * @returns {string[]} lines of text
 */
export function chainRule(layers, network, activations, loss, at, unit, written) {
  const { inputs, z, outputs, byOutput, slope, byZ, normalize } = layers[at];
  const { kernel, bias, units } = network.layers[at];
  const last = at === layers.length - 1;
  const activation = activations[at];
  const lines = [];
  /** @param {number} v within a sum or a product */
  const inside = (v) => (v < 0 ? `(${written(v)})` : written(v));
  const terms = [...inputs].map((v, i) => `${inside(kernel[i * units + unit])} · ${inside(v)}`);
  lines.push(`z = Σ w x + b = ${shortened(terms).join(" + ")} + ${inside(bias[unit])} = ${written(z[unit])}`);
  const of = normalize ? "z, normalized" : slope ? written(z[unit]) : last && !byOutput ? "z" : "all z";
  lines.push(`a = ${activation}(${of}) = ${written(outputs[unit])}`);
  const delta = byZ[unit];
  if (byOutput) {
    if (last) lines.push(`∂L/∂a = ${written(byOutput[unit])}, of the loss ${loss}`);
    else {
      const later = network.layers[at + 1];
      const parts = [...layers[at + 1].byZ].map((d, k) => `${inside(later.kernel[unit * later.units + k])} · ${inside(d)}`);
      lines.push(`∂L/∂a = Σ w ∂L/∂z behind it = ${shortened(parts).join(" + ")} = ${written(byOutput[unit])}`);
    }
    if (slope) {
      lines.push(`∂a/∂z = ${activation}′(${written(z[unit])}) = ${written(slope[unit])}`);
      lines.push(`∂L/∂z = ∂L/∂a · ∂a/∂z = ${inside(byOutput[unit])} · ${inside(slope[unit])} = ${written(delta)}`);
    } else {
      lines.push(`∂L/∂z = ${written(delta)}, ${normalize ? `back through ${activation} and the normalization`
        : `each output of ${activation} depends on all z`}`);
    }
  } else {
    lines.push(`∂L/∂z = ${written(delta)}: ${loss} behind ${activation}, taken together`);
  }
  lines.push(`∂L/∂w = ∂L/∂z · x, ∂L/∂b = ∂L/∂z = ${written(delta)}`);
  return lines;
}

/** @param {string[]} terms */
function shortened(terms) {
  return terms.length <= 6 ? terms : [...terms.slice(0, 3), "…", ...terms.slice(-2)];
}
