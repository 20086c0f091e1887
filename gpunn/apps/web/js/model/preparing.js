// Prepares a drawing as model input, as `gpunn predict` prepares images, within a few steps of 255
// (gpunn/apps/pictures does the same in Python).

const INK = 0.25; // fraction of the strongest ink: fainter ink does not count for the digit's outline
const FAINT = 24; // of 255: an image with fainter ink counts as empty
const BOX = 20; // longer side of a digit, in pixels of 28
const LONGEST = 280; // pixels: a larger image is scaled down first, which averages a photograph's noise
const PATCHES = 10; // of paper along the longer side; a stroke is narrower than three of them
const NOISE = 3; // ink fainter than this many standard deviations of the paper's noise is none
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

/**
 * @param {Planes} picture bytes
 * @returns {Planes} with dark and light exchanged
 */
export function inverted(picture) {
  return picture.map((plane) => ({ ...plane, values: Uint8Array.from(plane.values, (v) => 255 - v) }));
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
 * @param {Grey} picture
 * @returns {Grey} whose sides have at most `LONGEST` pixels
 */
function shrunk(picture) {
  const share = LONGEST / Math.max(picture.height, picture.width);
  if (share >= 1) return picture;
  const [height, width] = [picture.height, picture.width].map((n) => Math.max(1, rounded(n * share)));
  return resized(picture, height, width, "bilinear");
}

/**
 * Whether the ink of a digit is darker than its paper. Ink differs most from the paper at the edge.
 * @param {Grey} picture
 */
export function hasDarkInk(picture) {
  const page = shrunk(picture);
  const [paper, all] = [edgeMedian(page), Array.from(page.values)];
  const [low, high] = all.reduce(([least, most], v) => [Math.min(least, v), Math.max(most, v)], [255, 0]);
  return paper - low > high - paper;
}

/**
 * @param {Grey} page
 * @returns {Float64Array} by how much each pixel is lighter than the paper around it, beyond noise
 */
function inkOn(page) {
  const paper = paperOf(page);
  const ink = Float64Array.from(page.values, (v, i) => v - paper.values[i]);
  // Ink may cover half of the image, so the darker half tells the noise: of a normal
  // distribution, a quarter is 0.67 standard deviations below the mean, a twentieth 1.64.
  const sorted = ink.slice().sort();
  const [low, quarter] = [20, 4].map((n) => sorted[Math.floor(ink.length / n)]);
  const noise = (quarter - low) / 0.97;
  return ink.map((v) => {
    const over = v - (quarter + 0.67 * noise);
    return over > NOISE * noise ? over : 0;
  });
}

/**
 * @param {Grey} page
 * @returns {Grey} the lower quartile of each patch, opened: what is lighter than everything around
 *   it, within three patches, is ink
 */
function paperOf({ height, width, values }) {
  const [down, across] = [height, width].map((length) => {
    const count = Math.min(length, Math.max(1, rounded((PATCHES * length) / Math.max(height, width))));
    return Array.from({ length: count + 1 }, (_, i) => rounded((i * length) / count));
  });
  const patches = { height: down.length - 1, width: across.length - 1, values: new Uint8Array((down.length - 1) * (across.length - 1)) };
  for (let i = 0; i < patches.values.length; i++) {
    const [row, column] = [Math.floor(i / patches.width), i % patches.width];
    const patch = [];
    for (let y = down[row]; y < down[row + 1]; y++)
      for (let x = across[column]; x < across[column + 1]; x++) patch.push(values[y * width + x]);
    patches.values[i] = patch.sort((a, b) => a - b)[Math.floor(patch.length / 4)];
  }
  return resized(ofNeighbours(ofNeighbours(patches, Math.min), Math.max), height, width, "bilinear");
}

/**
 * @param {Grey} picture
 * @param {(...values: number[]) => number} choose
 * @returns {Grey} what it chooses from each pixel and the eight around it, within the edges
 */
function ofNeighbours({ height, width, values }, choose) {
  const found = Uint8Array.from(values, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    const near = [];
    for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y++)
      for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++) near.push(values[y * width + x]);
    return choose(...near);
  });
  return { height, width, values: found };
}

/**
 * @param {Grey} page
 * @param {Float64Array} ink from 0 to 255
 * @returns {boolean[]} where ink shows the digit's outline: not at single pixels, unless there are no others
 */
function withoutSpecks({ height, width }, ink) {
  const seen = Array.from(ink, (v) => v > INK * 255);
  const joined = seen.map((there, i) => {
    if (!there) return false;
    const [row, column] = [Math.floor(i / width), i % width];
    let around = 0;
    for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y++)
      for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++) around += Number(seen[y * width + x]);
    return around > 1;
  });
  return joined.includes(true) ? joined : seen;
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
  const page = shrunk(picture);
  const ink = inkOn(page);
  const strongest = ink.reduce((most, v) => Math.max(most, v), 0);
  if (strongest < FAINT) return null;
  ink.forEach((v, i) => (ink[i] = v * (255 / strongest)));
  let [top, left, bottom, right] = [page.height, page.width, 0, 0];
  withoutSpecks(page, ink).forEach((there, i) => {
    if (!there) return;
    const [row, column] = [Math.floor(i / page.width), i % page.width];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
    [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
  });
  const cropped = { height: bottom - top, width: right - left, values: new Uint8Array((bottom - top) * (right - left)) };
  for (let i = 0; i < cropped.values.length; i++) {
    const row = top + Math.floor(i / cropped.width);
    cropped.values[i] = rounded(ink[row * page.width + left + (i % cropped.width)]);
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
