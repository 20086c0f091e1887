// Prepares a drawing as model input, as `gpunn predict` prepares images, within a few steps of 255
// (gpunn/apps/pictures does the same in Python).

const INK = 0.25; // fraction of the strongest ink: fainter ink does not count for the digit's outline
const FAINT = 24; // of 255: an image with fainter ink counts as empty
const BOX = 20; // longer side of a digit, in pixels of 28
const ONE = 2 ** 22; // scale of fixed-point weights, as in Pillow

/**
 * A grey image, row by row.
 * @typedef {{height: number, width: number, values: ArrayLike<number>}} Grey
 * An image: one plane for grey, or one each for red, green and blue.
 * @typedef {Grey[]} Planes
 */

/** @param {number} x at least 0; halves are rounded to even, as in Python */
function rounded(x) {
  const near = Math.round(x);
  return near - x === 0.5 && near % 2 ? near - 1 : near;
}

/** @param {number} x halves are rounded away from zero */
const awayFromZero = (x) => Math.trunc(x + (x < 0 ? -0.5 : 0.5));

/** @param {number} x */
const triangle = (x) => Math.max(0, 1 - Math.abs(x));

/** @param {number} x Keys' cubic, with a = -0.5 */
function cubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? ((-0.5 * far + 2.5) * far - 4) * far + 2 : 0;
}

/**
 * Resize the columns of an image of bytes.
 * @param {Grey} picture
 * @param {number} width of the result
 * @param {(x: number) => number} filter
 * @param {number} reach radius of the filter
 * @returns {Grey}
 */
function ofWidth({ height, width: before, values }, width, filter, reach) {
  const scale = before / width;
  const wide = Math.max(scale, 1);
  const found = new Uint8Array(height * width);
  for (let column = 0; column < width; column++) {
    const middle = (column + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach * wide + 0.5));
    const end = Math.min(before, Math.trunc(middle + reach * wide + 0.5));
    const shares = Array.from({ length: end - first }, (_, i) => filter((first + i - middle + 0.5) / wide));
    const all = shares.reduce((sum, share) => sum + share, 0);
    const weights = shares.map((share) => awayFromZero((share / all) * ONE));
    for (let row = 0; row < height; row++) {
      let sum = ONE / 2;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * values[row * before + first + i];
      found[row * width + column] = Math.min(255, Math.max(0, Math.floor(sum / ONE)));
    }
  }
  return { height, width, values: found };
}

/**
 * @param {Grey} picture
 * @returns {Grey} the transposed image
 */
function turned({ height, width, values }) {
  const found = Uint8Array.from(values, (_, i) => values[(i % height) * width + Math.floor(i / height)]);
  return { height: width, width: height, values: found };
}

/**
 * Resize an image of bytes as Pillow does: columns first, then rows.
 * @param {Grey} picture
 * @param {number} height
 * @param {number} width
 * @param {"bilinear" | "bicubic"} how
 * @returns {Grey}
 */
export function resized(picture, height, width, how) {
  /** @type {[(x: number) => number, number]} */
  const filter = how === "bicubic" ? [cubic, 2] : [triangle, 1];
  return turned(ofWidth(turned(ofWidth(picture, width, ...filter)), height, ...filter));
}

/** @param {Grey} picture */
export function edgeMedian({ height, width, values }) {
  const edge = [];
  for (let i = 0; i < width; i++) edge.push(values[i], values[(height - 1) * width + i]);
  for (let i = 0; i < height; i++) edge.push(values[i * width], values[i * width + width - 1]);
  edge.sort((a, b) => a - b);
  return (edge[edge.length / 2 - 1] + edge[edge.length / 2]) / 2;
}

/**
 * @param {Grey} picture
 * @returns {Grey} a square with the image in its middle, padded with its edge's median
 */
export function squared(picture) {
  const { height, width, values } = picture;
  if (height === width) return picture;
  const side = Math.max(height, width);
  const [top, left] = [Math.floor((side - height) / 2), Math.floor((side - width) / 2)];
  const found = new Uint8Array(side * side).fill(Math.trunc(edgeMedian(picture)));
  for (let i = 0; i < height * width; i++)
    found[(top + Math.floor(i / width)) * side + left + (i % width)] = values[i];
  return { height: side, width: side, values: found };
}

/**
 * Prepare an image, light on dark, like MNIST's: cropped to the ink, scaled into 20 x 20 of 28 x 28,
 * with its centre of mass in the middle.
 * @param {Grey} picture
 * @param {number} height of the result
 * @param {number} width
 * @returns {Grey | null} bytes; null for an image without ink
 */
export function asMnist(picture, height, width) {
  const under = edgeMedian(picture);
  const ink = Float64Array.from(picture.values, (v) => Math.max(v - under, 0));
  const strongest = ink.reduce((most, v) => Math.max(most, v), 0);
  if (strongest < FAINT) return null;
  let [top, left, bottom, right] = [picture.height, picture.width, 0, 0];
  ink.forEach((v, i) => {
    ink[i] = v * (255 / strongest);
    if (ink[i] <= INK * 255) return;
    const [row, column] = [Math.floor(i / picture.width), i % picture.width];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
    [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
  });
  const cropped = { height: bottom - top, width: right - left, values: new Uint8Array((bottom - top) * (right - left)) };
  for (let i = 0; i < cropped.values.length; i++) {
    const row = top + Math.floor(i / cropped.width);
    cropped.values[i] = rounded(ink[row * picture.width + left + (i % cropped.width)]);
  }
  const factor = (BOX * Math.min(height, width)) / 28 / Math.max(cropped.height, cropped.width);
  const [rows, columns] = [cropped.height, cropped.width].map((n) => Math.max(1, rounded(n * factor)));
  const small = resized(cropped, rows, columns, "bicubic");
  const most = Math.max(...Array.from(small.values), 1);
  const scaled = Array.from(small.values, (v) => Math.min(v * (255 / most), 255));
  let [mass, down, across] = [0, 0, 0];
  scaled.forEach((v, i) => {
    mass += v;
    down += v * Math.floor(i / columns);
    across += v * (i % columns);
  });
  const place = (/** @type {number} */ middle, /** @type {number} */ length, /** @type {number} */ size) =>
    Math.min(rounded(Math.max(size / 2 - middle, 0)), size - length);
  const [first, begin] = [place(down / mass, rows, height), place(across / mass, columns, width)];
  const values = new Uint8Array(height * width);
  scaled.forEach((v, i) => {
    values[(first + Math.floor(i / columns)) * width + begin + (i % columns)] = rounded(v);
  });
  return { height, width, values };
}
