// The numbers that numpy.random.Generator(PCG64(seed)) draws.

const MASK32 = 0xffffffffn;
const MASK64 = (1n << 64n) - 1n;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/**
 * NumPy's SeedSequence: the 32-bit words derived from a seed.
 * @param {bigint} seed
 * @param {number} count
 * @returns {bigint[]}
 */
function seedWords(seed, count) {
  /** @type {number[]} */
  const entropy = [];
  for (let rest = seed; rest > 0n || !entropy.length; rest >>= 32n)
    entropy.push(Number(rest & MASK32));
  let constant = 0x43b0d7e5;
  const hash = (/** @type {number} */ value) => {
    value = (value ^ constant) >>> 0;
    constant = Math.imul(constant, 0x931e8875) >>> 0;
    value = Math.imul(value, constant) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mix = (/** @type {number} */ x, /** @type {number} */ y) => {
    const value = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  const pool = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0));
  for (let from = 0; from < 4; from++)
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  for (const word of entropy.slice(4))
    for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word));
  constant = 0x8b51f9dd;
  const words = [];
  for (let i = 0; i < count; i++) {
    let value = (pool[i % 4] ^ constant) >>> 0;
    constant = Math.imul(constant, 0x58f38ded) >>> 0;
    value = Math.imul(value, constant) >>> 0;
    words.push(BigInt((value ^ (value >>> 16)) >>> 0));
  }
  return words;
}

/** The start of the ziggurat's tail, and the area of each of its layers. */
const TAIL = 3.6541528853610088;
const AREA = 0.004928673233974658;

/**
 * The 256 layers of the ziggurat under exp(-x^2 / 2) (Marsaglia and Tsang, 2000): for each, its
 * width per unit of a 52-bit draw, the draw below which a point is surely inside, and the curve's
 * height there.
 */
const LAYERS = (() => {
  const curve = (/** @type {number} */ x) => Math.exp(-0.5 * x * x);
  const base = AREA / curve(TAIL);
  const edges = new Float64Array(257);
  edges[256] = base;
  edges[255] = TAIL;
  for (let i = 254; i > 0; i--)
    edges[i] = Math.sqrt(-2 * Math.log(AREA / edges[i + 1] + curve(edges[i + 1])));
  edges[0] = 0;
  return Array.from({ length: 256 }, (_, i) => {
    const [inner, outer] = i ? [edges[i - 1], edges[i]] : [TAIL, base];
    return { width: outer / 2 ** 52, inside: Math.floor((inner / outer) * 2 ** 52), height: curve(edges[i]) };
  });
})();

/**
 * PCG64 (O'Neill, 2014), as NumPy seeds it.
 */
export class Generator {
  #state = 0n;
  #increment;

  /** @param {number|bigint} seed at least 0 */
  constructor(seed) {
    const words = seedWords(BigInt(seed), 8);
    const long = [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
    this.#increment = ((((long[2] << 64n) | long[3]) << 1n) | 1n) & MASK128;
    this.#step();
    this.#state = (this.#state + ((long[0] << 64n) | long[1])) & MASK128;
    this.#step();
  }

  #step() {
    this.#state = (this.#state * MULTIPLIER + this.#increment) & MASK128;
  }

  #word() {
    this.#step();
    const mixed = (this.#state >> 64n) ^ (this.#state & MASK64);
    const turn = this.#state >> 122n;
    return ((mixed >> turn) | (mixed << (64n - turn))) & MASK64;
  }

  /** @returns {bigint} as integers(0, 2**63): how gpunn draws an unspecified seed */
  seed() {
    return this.#word() >> 1n;
  }

  /** @returns {number} at least 0 and below 1 */
  random() {
    return Number(this.#word() >> 11n) / 2 ** 53;
  }

  /**
   * @param {number} low
   * @param {number} high
   */
  uniform(low, high) {
    return low + (high - low) * this.random();
  }

  /** @returns {number} as standard_normal(), except for the last bits of a double */
  normal() {
    for (;;) {
      const word = this.#word();
      const layer = Number(word & 255n);
      const magnitude = Number((word >> 9n) & 0xfffffffffffffn);
      const { width, inside, height } = LAYERS[layer];
      const x = (word & 256n ? -1 : 1) * magnitude * width;
      if (magnitude < inside) return x;
      if (layer) {
        const above = LAYERS[layer - 1].height;
        if ((above - height) * this.random() + height < Math.exp(-0.5 * x * x)) return x;
        continue;
      }
      for (;;) {
        const beyond = -Math.log1p(-this.random()) / TAIL;
        const y = -Math.log1p(-this.random());
        if (2 * y > beyond * beyond) return (word & (1n << 17n) ? -1 : 1) * (TAIL + beyond);
      }
    }
  }
}
