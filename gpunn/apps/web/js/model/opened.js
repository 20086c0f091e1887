// Reads an image file as numbers; invalid files raise an error.
import { edgeMedian } from "./preparing.js";

const MOST_BYTES = 50_000_000;
const MOST_PIXELS = 25_000_000; // as in `gpunn predict`
const LONGEST = 1000; // maximum side in pixels: larger images are scaled down first
const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];
export const ACCEPTED = KINDS.join(",");

/** @typedef {import("./preparing.js").Planes} Planes */

/**
 * @param {File} file
 * @param {number} channels 1, or 3 for red, green and blue
 * @param {boolean} asIs whether to leave dark ink on light paper unchanged
 * @returns {Promise<{picture: Planes, said: string}>} light ink on dark, and a note on what was done
 */
export async function opened(file, channels, asIs) {
  if (!KINDS.includes(file.type)) throw new Error(`${file.name} is not a supported image: use PNG, JPEG, GIF, WebP or BMP.`);
  if (file.size > MOST_BYTES)
    throw new Error(`${file.name} is too large: the limit is ${MOST_BYTES / 1e6} MB.`);
  const address = URL.createObjectURL(file);
  try {
    const image = await loaded(address, file.name);
    const { naturalWidth: wide, naturalHeight: high } = image;
    if (!(wide * high <= MOST_PIXELS && wide * high > 0)) {
      throw new Error(`${file.name} has ${wide.toLocaleString("en")} × ${high.toLocaleString("en")} pixels; `
        + `the limit is ${MOST_PIXELS.toLocaleString("en")}. Scale it down.`);
    }
    // An element shows part of a truncated image; this raises an error instead, except in Firefox.
    const whole = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} is damaged.`); });
    const picture = planes(whole, channels);
    const light = !asIs && edgeMedian(picture[0]) > 127;
    if (light) for (const one of picture) one.values = Uint8Array.from(one.values, (v) => 255 - v);
    return { picture, said: `${file.name}: ${wide} × ${high}${light ? ", inverted" : ""}.` };
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * @param {string} address
 * @param {string} name
 * @returns {Promise<HTMLImageElement>} with its size, not decoded yet
 */
function loaded(address, name) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`${name} is damaged, or not an image that this browser can read.`));
    image.src = address;
  });
}

/**
 * @param {ImageBitmap} image
 * @param {number} channels
 * @returns {Planes} on white; grey with Pillow's weights of red, green and blue
 */
function planes(image, channels) {
  const scale = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  const width = (canvas.width = Math.max(1, Math.round(image.width * scale)));
  const height = (canvas.height = Math.max(1, Math.round(image.height * scale)));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const weights = channels === 1 ? [[19595, 38470, 7471]] : [[65536, 0, 0], [0, 65536, 0], [0, 0, 65536]];
  return weights.map(([r, g, b]) => ({
    height, width, values: Uint8Array.from({ length: width * height }, (_, i) =>
      (r * data[4 * i] + g * data[4 * i + 1] + b * data[4 * i + 2] + 32768) >> 16),
  }));
}
