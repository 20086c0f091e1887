// A picture from a file, as numbers; what cannot be one is refused in words.
import { edgeMedian } from "./preparing.js";

const MOST_BYTES = 50_000_000;
const MOST_PIXELS = 25_000_000; // as `gpunn predict` takes
const LONGEST = 1000; // pixels of a side: what is larger is scaled down first
const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];
export const ACCEPTED = KINDS.join(",");

/** @typedef {import("./preparing.js").Planes} Planes */

/**
 * @param {File} file
 * @param {number} channels 1, or 3 for red, green and blue
 * @param {boolean} asIs whether dark ink on light paper is left so
 * @returns {Promise<{picture: Planes, said: string}>} light ink on dark, and what was done to it
 */
export async function opened(file, channels, asIs) {
  if (!KINDS.includes(file.type)) throw new Error(`${file.name} is no picture: PNG, JPEG, GIF, WebP and BMP are.`);
  if (file.size > MOST_BYTES)
    throw new Error(`${file.name} is too large: pictures here have at most ${MOST_BYTES / 1e6} MB.`);
  const address = URL.createObjectURL(file);
  try {
    const image = await loaded(address, file.name);
    const { naturalWidth: wide, naturalHeight: high } = image;
    if (!(wide * high <= MOST_PIXELS && wide * high > 0)) {
      throw new Error(`${file.name} has ${wide.toLocaleString("en")} × ${high.toLocaleString("en")} pixels; `
        + `at most ${MOST_PIXELS.toLocaleString("en")} are read here. Scale it down.`);
    }
    // An element shows what there is of half a picture; this does not, but in Firefox.
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
 * @returns {Promise<HTMLImageElement>} its size is known; it is not decoded yet
 */
function loaded(address, name) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`${name} is damaged, or no picture that this browser reads.`));
    image.src = address;
  });
}

/**
 * @param {ImageBitmap} image
 * @param {number} channels
 * @returns {Planes} on white; grey in the weights that Pillow gives to red, green and blue
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
