// The same network, data and training as a Python script.

/** @typedef {import("./training.js").Training} Training */
/** @typedef {import("./settings.js").Settings} Settings */

const WIDTH = 96;

/**
 * @param {Training} training
 * @param {Settings} settings
 * @returns {string}
 */
export function pythonScript(training, settings) {
  const { catalogue, data, network, output, sets } = training;
  const whole = network.steps % training.stepsPerEpoch === 0;
  const repeats = whole && training.startSteps === 0;
  const epochs = network.steps / training.stepsPerEpoch;
  const weights = repeats ? training.start : training.weights();
  const normalized = settings.layers.some((layer) => layer.normalize);
  const parts = ["weights", "biases", ...(normalized ? ["gamma", "beta, moving mean and variance"] : [])];
  const optimizer = catalogue.optimizers[settings.optimizer.name];
  const chosen = Object.entries(settings.optimizer.settings)
    .map(([name, value]) => `${name}=${optimizer.flags.includes(name) ? (value ? "True" : "False") : value}`);
  const layers = [...settings.layers, { units: output.units, activation: output.activation }];
  const lines = [
    '"""A network from gpunn\'s playground: the same points, initial weights and order of points."""',
    "",
    "import numpy as np",
    "",
    "import gpunn",
    "from gpunn import layers, regularizers",
    "",
    ...array("x", sets.train.x, data.inputs),
    ...array("y", sets.train.y, output.units),
    ...(data.test.length ? [
      ...array("x_test", sets.test.x, data.inputs), ...array("y_test", sets.test.y, output.units),
    ] : []),
    "",
    "model = gpunn.Sequential([",
    `    layers.Input((${data.inputs},)),`,
    ...layers.flatMap(layerLines),
    "])",
    `gpunn.utils.set_random_seed(${settings.seed})  # for the order of points, and for dropout`,
    `model.compile(gpunn.optimizers.${settings.optimizer.name}(${chosen.join(", ")}), "${output.loss}")`,
    "",
    `start = [  # ${parts.join(", ")} of each layer`,
    ...weights.flatMap(({ kernel, bias, normalization: n }) => [
      ...numbers(kernel, "    np.array([", `], "float32").reshape(-1, ${bias.length}),`),
      ...[bias, ...(n ? [n.gamma, n.beta, n.mean, n.variance] : [])]
        .flatMap((array) => numbers(array, "    np.array([", '], "float32"),')),
    ]),
    "]",
    "model.set_weights(start)",
    "",
  ];
  if (repeats) {
    if (epochs) lines.push(`model.fit(x, y, batch_size=${training.batch}, epochs=${epochs}, verbose=0)`);
  } else {
    lines.push("# These are the page's current weights: " + (whole
      ? "something was changed by hand during training." : "training stopped within an epoch."));
  }
  lines.push('print("training", model.evaluate(x, y, verbose=0))');
  if (data.test.length) lines.push('print("test", model.evaluate(x_test, y_test, verbose=0))');
  return lines.join("\n") + "\n";
}

/**
 * @param {{units: number, activation: string} & Partial<import("./settings.js").LayerChoice>} layer
 * @returns {string[]}
 */
function layerLines({ units, activation, normalize, dropout, l1, l2 }) {
  const penalty = l1 && l2 ? `L1L2(${l1}, ${l2})` : l1 ? `L1(${l1})` : l2 ? `L2(${l2})` : "";
  const more = penalty ? `, kernel_regularizer=regularizers.${penalty}` : "";
  return [
    `    layers.Dense(${units}${normalize ? "" : `, "${activation}"`}${more}),`,
    ...(normalize ? ["    layers.BatchNormalization(),", `    layers.Activation("${activation}"),`] : []),
    ...(dropout ? [`    layers.Dropout(${dropout}),`] : []),
  ];
}

/**
 * @param {string} name
 * @param {Float32Array} values
 * @param {number} columns
 */
function array(name, values, columns) {
  return numbers(values, `${name} = np.array([`, `], "float32").reshape(-1, ${columns})`);
}

/**
 * @param {Float32Array} values
 * @param {string} before
 * @param {string} after
 * @returns {string[]} lines
 */
function numbers(values, before, after) {
  const texts = Array.from(values, shortest);
  const whole = before + texts.join(", ") + after;
  if (whole.length <= WIDTH) return [whole];
  const indent = " ".repeat(before.length - before.trimStart().length);
  const lines = [before];
  let line = indent + "   ";
  for (const text of texts) {
    if (line.length + text.length + 2 > WIDTH) {
      lines.push(line);
      line = indent + "   ";
    }
    line += ` ${text},`;
  }
  return [...lines, line, indent + after];
}

/**
 * @param {number} value of float32
 * @returns {string} the shortest text that parses to the same number
 */
export function shortest(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "np.nan" : value > 0 ? "np.inf" : "-np.inf";
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}
