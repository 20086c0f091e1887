// gpunn files, as Python writes and reads them: safetensors files with checksums
// (docs/reference/file-format.md). All content that is read is checked.

/** @typedef {{values: Float32Array, shape: number[]}} Tensor */

const KEY = "gpunn";
const VERSION = 2;
export const MOST_BYTES = 50_000_000; // of a file

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let i = 0; i < 8; i++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

/**
 * CRC-32, as in zip files.
 * @param {Uint8Array} bytes
 * @returns {number}
 */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}

/**
 * JSON as Python's `json.dumps` writes it.
 * @param {any} value
 * @returns {string}
 */
export function pythonJson(value) {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([k, v]) => `${pythonJson(k)}: ${pythonJson(v)}`).join(", ")}}`;
  }
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-4) {
    return value.toExponential().replace(/e-(\d)$/, "e-0$1");
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** @param {Float32Array} values */
const bytesOf = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * @param {{[name: string]: unknown}} document everything except the weights
 * @param {Map<string, Tensor>} tensors by "layer/weight"
 * @returns {Uint8Array} the file
 */
export function writeFile(document, tensors) {
  /** @type {{[name: string]: unknown}} */
  const weights = {};
  /** @type {{[name: string]: unknown}} */
  const header = {};
  let offset = 0;
  for (const [name, { values, shape }] of tensors) {
    const place = `weights/${name}`;
    const bytes = bytesOf(values);
    weights[name] = { $tensor: place, dtype: "float32", shape, crc32: crc32(bytes) };
    header[place] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const whole = { ...document, weights };
  const checksum = crc32(new TextEncoder().encode(pythonJson(whole)));
  const envelope = pythonJson({ version: VERSION, crc32: checksum, document: whole });
  let text = JSON.stringify({ __metadata__: { [KEY]: envelope }, ...header });
  text += " ".repeat(-new TextEncoder().encode(text).length & 7);
  const head = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + head.length + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
  file.set(head, 8);
  let at = 8 + head.length;
  for (const { values } of tensors.values()) {
    file.set(bytesOf(values), at);
    at += values.byteLength;
  }
  return file;
}

/**
 * @param {Uint8Array} file
 * @returns {{document: any, weights: Map<string, Tensor>}} of a file of weights, a model or a checkpoint
 */
export function readFile(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = file.length < 9 ? NaN : Number(view.getBigUint64(0, true));
  if (!(length <= file.length - 8) || file[8] !== 0x7b) {
    throw new Error("This is not a gpunn file, or it is incomplete.");
  }
  const header = parse(new TextDecoder("utf-8", { fatal: true }), file.subarray(8, 8 + length));
  const text = header.__metadata__?.[KEY];
  if (typeof text !== "string") throw new Error("This is a safetensors file, but not a gpunn file.");
  const document = checked(text);
  const entries = Object.entries(document.weights ?? {});
  if (!entries.length) throw new Error("The file contains no weights.");
  const data = file.subarray(8 + length);
  return { document, weights: new Map(entries.map(([name, entry]) => [name, tensor(entry, header, data)])) };
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
    // reported below
  }
  throw new Error("The file's header is damaged.");
}

/**
 * @param {string} text of the envelope
 * @returns {any} the document, after comparing the checksum of the exact text that Python wrote
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
  if (version !== 1 && version !== VERSION) throw new Error("The file's format version is unknown.");
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
 * @returns {Tensor}
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
    throw new Error(`The tensor “${name}” is damaged, or not float32.`);
  }
  const bytes = data.slice(from, to);
  if (entry.crc32 !== crc32(bytes)) throw new Error(`The values of “${name}” are damaged (wrong checksum).`);
  const values = new Float32Array(bytes.buffer);
  if (!values.every(Number.isFinite)) throw new Error(`“${name}” has values that are not finite.`);
  return { values, shape };
}
