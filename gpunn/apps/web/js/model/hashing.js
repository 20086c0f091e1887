// Turns texts into numbers by hashing their words, as layers.HashingVectorizer does.

const WORD = /[\p{L}\p{N}_]+/gu;
const bytesOf = new TextEncoder();

/**
 * @param {string} text
 * @param {number} count of numbers
 * @param {string | null} norm by which they are divided: "l1", "l2" or none
 * @param {boolean} signed whether words have signs
 * @returns {number[]}
 */
export function hashedWords(text, count, norm, signed) {
  const row = new Array(count).fill(0);
  for (const [word] of text.toLowerCase().matchAll(WORD)) {
    const hash = murmurhash3(bytesOf.encode(word));
    row[Math.abs(hash) % count] += signed && hash < 0 ? -1 : 1;
  }
  if (norm === null) return row;
  const sum = row.reduce((all, value) => all + (norm === "l2" ? value * value : Math.abs(value)), 0);
  const by = (norm === "l2" ? Math.sqrt(sum) : sum) || 1;
  return row.map((value) => value / by);
}

/**
 * The 32-bit MurmurHash3 of A. Appleby, with seed 0.
 * @param {Uint8Array} data
 * @returns {number} signed
 */
function murmurhash3(data) {
  let state = 0;
  const whole = data.length - (data.length % 4);
  for (let k = 0; k < whole; k += 4) {
    state ^= scrambled(data[k] | (data[k + 1] << 8) | (data[k + 2] << 16) | (data[k + 3] << 24));
    state = (Math.imul(rotated(state, 13), 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let k = data.length - 1; k >= whole; k--) rest = (rest << 8) | data[k];
  state ^= scrambled(rest) ^ data.length;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return state ^ (state >>> 16);
}

/** @param {number} block */
const scrambled = (block) => Math.imul(rotated(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);

/**
 * @param {number} x
 * @param {number} by
 */
const rotated = (x, by) => (x << by) | (x >>> (32 - by));
