// Colours and marks: six colours that people with any colour vision can distinguish (Okabe and Ito),
// each with its own mark, so that no information depends on colour alone.

/** @typedef {[red: number, green: number, blue: number]} Colour */

/** @type {Colour[]} */
export const CLASSES = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0],
];
export const MARKS = ["circle", "square", "triangle", "diamond", "star", "cross"];
/** @type {Colour} */
const LOW = CLASSES[0];
/** @type {Colour} */
const HIGH = CLASSES[1];

/** @returns {{paper: Colour, ink: Colour}} of the page in its current theme, light or dark */
export function ofPage() {
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(style.getPropertyValue(name).trim().slice(i, i + 2), 16));
    return /** @type {Colour} */ ([r, g, b]);
  };
  return { paper: read("--paper"), ink: read("--ink") };
}

/** @param {Colour} colour */
export const css = ([r, g, b], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

/**
 * @param {Colour} from
 * @param {Colour} to
 * @param {number} share
 * @returns {Colour}
 */
export function mixed(from, to, share) {
  const [r, g, b] = from;
  return [Math.round(r + (to[0] - r) * share), Math.round(g + (to[1] - g) * share), Math.round(b + (to[2] - b) * share)];
}

/**
 * @param {number} value from -1 to 1; values outside are clipped
 * @param {Colour} paper at 0
 * @returns {Colour}
 */
export function ofValue(value, paper) {
  const size = Math.min(1, Math.abs(value) || 0);
  return mixed(paper, value < 0 ? LOW : HIGH, 0.9 * size);
}

/**
 * @param {ArrayLike<number>} shares of the classes
 * @param {Colour} paper
 * @returns {Colour} paler where less certain
 */
export function ofShares(shares, paper) {
  /** @type {Colour} */
  const sum = [0, 0, 0];
  let most = 0;
  for (let k = 0; k < shares.length; k++) {
    for (let i = 0; i < 3; i++) sum[i] += shares[k] * CLASSES[k][i];
    most = Math.max(most, shares[k]);
  }
  const certain = (most - 1 / shares.length) / (1 - 1 / shares.length);
  return mixed(paper, sum, 0.12 + 0.5 * certain);
}

/**
 * Begin a path in the shape of a mark.
 * @param {CanvasRenderingContext2D} context
 * @param {string} mark
 * @param {number} x
 * @param {number} y
 * @param {number} r
 */
export function trace(context, mark, x, y, r) {
  context.beginPath();
  if (mark === "circle") context.arc(x, y, r, 0, 2 * Math.PI);
  else if (mark === "square") context.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else if (mark === "cross") {
    const t = r / 2.6;
    const corners = [[-t, -r], [t, -r], [t, -t], [r, -t], [r, t], [t, t], [t, r], [-t, r], [-t, t], [-r, t],
      [-r, -t], [-t, -t]];
    corners.forEach(([dx, dy]) => context.lineTo(x + dx, y + dy));
  } else {
    const [corners, inner] = mark === "triangle" ? [3, 0] : mark === "diamond" ? [4, 0] : [5, 0.45];
    const count = inner ? 2 * corners : corners;
    for (let i = 0; i < count; i++) {
      const angle = (2 * Math.PI * i) / count - Math.PI / 2;
      const far = 1.25 * r * (inner && i % 2 ? inner : 1);
      context.lineTo(x + far * Math.cos(angle), y + far * Math.sin(angle));
    }
  }
  context.closePath();
}
