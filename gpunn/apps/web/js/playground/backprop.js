// Backpropagation by hand, for one point: the inputs and outputs of each unit, and the gradients of the
// loss with respect to them.
/** @typedef {import("../engine.js").Network} Network */

/**
 * @typedef {Object} Passed
 * @property {Float32Array} inputs of the layer
 * @property {Float32Array} z x W + b
 * @property {Float32Array} outputs
 * @property {Float32Array | null} byOutput dL/da; null where loss and activation are computed together
 * @property {Float32Array | null} slope da/dz of each unit; null where its output depends
 *   on more than its own z
 * @property {Float32Array} byZ dL/dz
 * @property {boolean} normalize whether the batch is normalized between z and the activation
 */

/**
 * Pass one point forward and backward.
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
 * Write out the chain rule of one unit with its values.
 * @param {Passed[]} layers
 * @param {Network} network
 * @param {string[]} activations of the layers
 * @param {string} loss its name
 * @param {number} at layer
 * @param {number} unit
 * @param {(value: number) => string} written formats a value
 * @returns {string[]} lines of text
 */
export function chainRule(layers, network, activations, loss, at, unit, written) {
  const { inputs, z, outputs, byOutput, slope, byZ, normalize } = layers[at];
  const { kernel, bias, units } = network.layers[at];
  const last = at === layers.length - 1;
  const activation = activations[at];
  const lines = [];
  /** @param {number} v a value within a sum or a product */
  const inside = (v) => (v < 0 ? `(${written(v)})` : written(v));
  const terms = [...inputs].map((v, i) => `${inside(kernel[i * units + unit])} · ${inside(v)}`);
  lines.push(`z = Σ w x + b = ${shortened(terms).join(" + ")} + ${inside(bias[unit])} = ${written(z[unit])}`);
  const of = normalize ? "normalized z" : slope ? written(z[unit]) : last && !byOutput ? "z" : "all z";
  lines.push(`a = ${activation}(${of}) = ${written(outputs[unit])}`);
  const delta = byZ[unit];
  if (byOutput) {
    if (last) lines.push(`∂L/∂a = ${written(byOutput[unit])}, from the loss ${loss}`);
    else {
      const later = network.layers[at + 1];
      const parts = [...layers[at + 1].byZ].map((d, k) => `${inside(later.kernel[unit * later.units + k])} · ${inside(d)}`);
      lines.push(`∂L/∂a = Σ w ∂L/∂z of the next layer = ${shortened(parts).join(" + ")} = ${written(byOutput[unit])}`);
    }
    if (slope) {
      lines.push(`∂a/∂z = ${activation}′(${written(z[unit])}) = ${written(slope[unit])}`);
      lines.push(`∂L/∂z = ∂L/∂a · ∂a/∂z = ${inside(byOutput[unit])} · ${inside(slope[unit])} = ${written(delta)}`);
    } else {
      lines.push(`∂L/∂z = ${written(delta)}, ${normalize ? `through ${activation} and the normalization`
        : `each output of ${activation} depends on all z`}`);
    }
  } else {
    lines.push(`∂L/∂z = ${written(delta)}: ${loss} and ${activation} combined`);
  }
  lines.push(`∂L/∂w = ∂L/∂z · x, ∂L/∂b = ∂L/∂z = ${written(delta)}`);
  return lines;
}

/** @param {string[]} terms */
function shortened(terms) {
  return terms.length <= 6 ? terms : [...terms.slice(0, 3), "…", ...terms.slice(-2)];
}
