// A picture from a file, as numbers; what cannot be one is refused in words.
import { edgeMedian } from "./preparing.js";

const MOST_BYTES = 50_000_000;
const MOST_PIXELS = 25_000_000; // as `gpunn predict` takes
const LONGEST = 1000; // pixels of a side: what is larger is scaled down first
const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];
export const ACCEPTED = KINDS.join(",");

/** @typedef {import("./preparing.js").Grey} Grey */

/**
 * @param {File} file
 * @param {boolean} asIs whether dark ink on light paper is left so
 * @returns {Promise<{picture: Grey, said: string}>} light ink on dark, and what was done to it
 */
export async function opened(file, asIs) {
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
    const picture = grey(whole);
    const light = !asIs && edgeMedian(picture) > 127;
    if (light) picture.values = Uint8Array.from(picture.values, (v) => 255 - v);
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
 * @returns {Grey} on white, in the weights that Pillow gives to red, green and blue
 */
function grey(image) {
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
  const values = Uint8Array.from({ length: width * height }, (_, i) =>
    (19595 * data[4 * i] + 38470 * data[4 * i + 1] + 7471 * data[4 * i + 2] + 32768) >> 16);
  return { height, width, values };
}
