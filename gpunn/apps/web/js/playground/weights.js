// Files of weights, as Python's `save_weights` writes and `load_weights` reads them: a safetensors
// file with checksums (docs/file-format.md). What is read is checked, all of it.

/** @typedef {{kernel: Float32Array, bias: Float32Array, inputs: number, units: number}} Weights */

const KEY = "gpunn";
const VERSION = 2;
export const MOST_BYTES = 50_000_000; // of a file

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let i = 0; i < 8; i++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

/**
 * CRC-32, as of zip files.
 * @param {Uint8Array} bytes
 * @returns {number}
 */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}

/**
 * JSON as Python's `json.dumps` writes it, of texts, whole numbers, lists and objects.
 * @param {any} value
 * @returns {string}
 */
export function pythonJson(value) {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([k, v]) => `${pythonJson(k)}: ${pythonJson(v)}`).join(", ")}}`;
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** @param {Float32Array} values */
const bytesOf = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * @param {Weights[]} layers of a stack of Dense layers
 * @returns {Uint8Array} the file
 */
export function writeWeights(layers) {
  /** @type {{[name: string]: unknown}} */
  const weights = {};
  /** @type {{[name: string]: unknown}} */
  const header = {};
  /** @type {Uint8Array[]} */
  const parts = [];
  let offset = 0;
  layers.forEach(({ kernel, bias, inputs, units }, i) => {
    const layer = i ? `dense_${i}` : "dense";
    for (const [name, values, shape] of /** @type {[string, Float32Array, number[]][]} */ (
      [["kernel", kernel, [inputs, units]], ["bias", bias, [units]]])) {
      const place = `weights/${layer}/${name}`;
      const bytes = bytesOf(values);
      weights[`${layer}/${name}`] = { $tensor: place, dtype: "float32", shape, crc32: crc32(bytes) };
      header[place] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes.length] };
      offset += bytes.length;
      parts.push(bytes);
    }
  });
  const document = { kind: "weights", weights };
  const checksum = crc32(new TextEncoder().encode(pythonJson(document)));
  const envelope = pythonJson({ version: VERSION, crc32: checksum, document });
  let text = JSON.stringify({ __metadata__: { [KEY]: envelope }, ...header });
  text += " ".repeat(-new TextEncoder().encode(text).length & 7);
  const head = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + head.length + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
  file.set(head, 8);
  let at = 8 + head.length;
  for (const bytes of parts) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

/**
 * The Dense layers of a file of weights, a model or a checkpoint.
 * @param {Uint8Array} file
 * @returns {{layers: Weights[], activations: string[] | null}} activations of a model whose layers
 *   are Dense, one after another
 */
export function readWeights(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = file.length < 9 ? NaN : Number(view.getBigUint64(0, true));
  if (!(length <= file.length - 8) || file[8] !== 0x7b) {
    throw new Error("This is not one of gpunn's files, or a part of one.");
  }
  const header = parse(new TextDecoder("utf-8", { fatal: true }), file.subarray(8, 8 + length));
  const text = header.__metadata__?.[KEY];
  if (typeof text !== "string") throw new Error("This is a safetensors file, but not one of gpunn's.");
  const document = checked(text);
  const entries = Object.entries(document.weights ?? {});
  if (!entries.length) throw new Error("The file holds no weights.");
  /** @type {Map<string, {kernel?: [Float32Array, number[]], bias?: [Float32Array, number[]]}>} */
  const found = new Map();
  for (const [place, entry] of entries) {
    const cut = place.lastIndexOf("/");
    const [layer, name] = [place.slice(0, cut), place.slice(cut + 1)];
    if (name !== "kernel" && name !== "bias") {
      throw new Error(`The file has the weights “${place}”; only kernels and biases of Dense layers are read here.`);
    }
    const of = found.get(layer) ?? {};
    of[name] = tensor(entry, header, file.subarray(8 + length));
    found.set(layer, of);
  }
  const layers = [...found].map(([name, { kernel, bias }]) => {
    if (!kernel || kernel[1].length !== 2) throw new Error(`The layer “${name}” is not a Dense layer.`);
    const [inputs, units] = kernel[1];
    const values = bias ? bias[0] : new Float32Array(units);
    if (values.length !== units) throw new Error(`The bias of the layer “${name}” has another length than its units.`);
    return { kernel: kernel[0], bias: values, inputs, units };
  });
  layers.forEach((layer, i) => {
    if (i && layer.inputs !== layers[i - 1].units) {
      throw new Error(`The layers are not one behind another: ${layers[i - 1].units} outputs meet ${layer.inputs} inputs.`);
    }
  });
  return { layers, activations: activationsOf(document, layers.length) };
}

/**
 * @param {TextDecoder} decoder
 * @param {Uint8Array} bytes
 * @returns {any}
 */
function parse(decoder, bytes) {
  try {
    const value = JSON.parse(decoder.decode(bytes));
    if (value && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {
    // said below
  }
  throw new Error("The file's header is damaged.");
}

/**
 * @param {string} text of the envelope
 * @returns {any} the document, its checksum compared: of the very text that Python wrote
 */
function checked(text) {
  let envelope;
  try {
    envelope = JSON.parse(text);
  } catch {
    throw new Error("The file's description is damaged.");
  }
  const version = envelope?.version;
  if (Number.isInteger(version) && version > VERSION) {
    throw new Error(`A newer gpunn wrote this file (format ${version}; this page reads ${VERSION}).`);
  }
  if (version !== 1 && version !== VERSION) throw new Error("The file has a format that is none of gpunn's.");
  const { document } = envelope;
  if (!document || typeof document !== "object") throw new Error("The file's description is damaged.");
  if (version === VERSION) {
    const begin = text.indexOf('"document": ');
    const inside = text.slice(begin + '"document": '.length, text.lastIndexOf("}"));
    if (begin < 0 || crc32(new TextEncoder().encode(inside)) !== envelope.crc32) {
      throw new Error("The file's description is damaged (wrong checksum).");
    }
  }
  return document;
}

/**
 * @param {any} entry of the document
 * @param {any} header
 * @param {Uint8Array} data
 * @returns {[Float32Array, number[]]} values and shape
 */
function tensor(entry, header, data) {
  const name = String(entry?.$tensor);
  const place = Object.hasOwn(header, name) ? header[name] : null;
  const [from, to] = place?.data_offsets ?? [];
  const shape = place?.shape;
  const whole = Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  const size = whole ? shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1) : NaN;
  const fits = Number.isInteger(from) && from >= 0 && to <= data.length && to - from === 4 * size;
  if (place?.dtype !== "F32" || !fits || String(entry.shape) !== String(shape)) {
    throw new Error(`The tensor “${name}” is damaged, or not of float32.`);
  }
  const bytes = data.slice(from, to);
  if (entry.crc32 !== crc32(bytes)) throw new Error(`The values of “${name}” are damaged (wrong checksum).`);
  const values = new Float32Array(bytes.buffer);
  if (!values.every(Number.isFinite)) throw new Error(`“${name}” has values that are not finite.`);
  return [values, shape];
}

/**
 * @param {any} document
 * @param {number} count
 * @returns {string[] | null}
 */
function activationsOf(document, count) {
  const layers = document.config?.layers;
  if (!Array.isArray(layers)) return null;
  const found = layers.filter((layer) => layer?.class_name === "Dense").map((layer) => {
    const activation = layer.config?.activation;
    const name = typeof activation === "string" ? activation : activation?.class_name;
    return typeof name === "string" ? name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase() : "linear";
  });
  return found.length === count ? found : null;
}
