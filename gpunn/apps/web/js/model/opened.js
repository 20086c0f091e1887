// Reads an image file as numbers; invalid files raise an error.
import { edgeMedian, hasDarkInk, inverted } from "./preparing.js";

const MOST_BYTES = 50_000_000;
const MOST_PIXELS = 25_000_000; // as in `gpunn predict`
const LONGEST = 1000; // maximum side in pixels: larger images are scaled down first
const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];
const GREY = [19595, 38470, 7471]; // Pillow's weights of red, green and blue, in 2 ** 16
export const ACCEPTED = KINDS.join(",");

/** @typedef {import("./preparing.js").Planes} Planes */

/**
 * @param {File} file
 * @param {number} channels 1, or 3 for red, green and blue
 * @param {"digit" | "light paper" | "none"} inverts what to invert: a digit in dark ink, any image
 *   on light paper, or none
 * @returns {Promise<{picture: Planes, said: string}>} light ink on dark, and a note on what was done
 */
export async function opened(file, channels, inverts) {
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
    const picture = planes(whole, channels, inverts === "digit");
    const dark = inverts === "digit" ? hasDarkInk(picture[0]) : inverts === "light paper" && edgeMedian(picture[0]) > 127;
    return { picture: dark ? inverted(picture) : picture, said: `${file.name}: ${wide} × ${high}${dark ? ", inverted" : ""}.` };
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
 * @param {boolean} isDigit then it is placed on black, if all of it is light
 * @returns {Planes} on white; grey with Pillow's weights of red, green and blue
 */
function planes(image, channels, isDigit) {
  const scale = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  const width = (canvas.width = Math.max(1, Math.round(image.width * scale)));
  const height = (canvas.height = Math.max(1, Math.round(image.height * scale)));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  context.fillStyle = isDigit && isLight(context.getImageData(0, 0, width, height).data) ? "black" : "white";
  context.globalCompositeOperation = "destination-over";
  context.fillRect(0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const weights = channels === 1 ? [GREY] : [[65536, 0, 0], [0, 65536, 0], [0, 0, 65536]];
  return weights.map((shares) => ({
    height, width, values: Uint8Array.from({ length: width * height }, (_, i) => mixed(data, i, shares)),
  }));
}

/**
 * @param {ArrayLike<number>} data red, green, blue and alpha of each pixel
 * @param {number} i the pixel
 * @param {number[]} shares of red, green and blue, in 2 ** 16
 */
function mixed(data, i, [r, g, b]) {
  return (r * data[4 * i] + g * data[4 * i + 1] + b * data[4 * i + 2] + 32768) >> 16;
}

/**
 * Whether nothing in an image with transparency is dark: on white it would vanish.
 * @param {ArrayLike<number>} data red, green, blue and alpha of each pixel
 */
function isLight(data) {
  let found = false;
  for (let i = 0; i < data.length / 4; i++) {
    if (data[4 * i + 3] <= 127) continue;
    if (mixed(data, i, GREY) <= 127) return false;
    found = true;
  }
  return found;
}
