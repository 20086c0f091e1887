// The numbers that numpy.random.Generator(PCG64(seed)) draws, and the first weights made of them.

const MASK32 = 0xffffffffn;
const MASK64 = (1n << 64n) - 1n;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/**
 * NumPy's SeedSequence: 32-bit words that a seed stands for.
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

  /** @returns {bigint} what integers(0, 2**63) is: how gpunn draws a seed that nobody gave */
  seed() {
    return this.#word() >> 1n;
  }

  /** @returns {number} from 0 to below 1 */
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

  /** A normal number (Box and Muller, 1958): distributed as NumPy's, but not the same one. */
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.random()));
    return radius * Math.cos(2 * Math.PI * this.random());
  }
}

/** The deviation of a standard normal cut off at two deviations. */
const TRUNCATED = 0.87962566103423978;

/**
 * The first weights of a layer. Uniform ones are those of gpunn's initializer with this seed.
 * @param {{distribution: string, scale?: number, mode?: string, low?: number, high?: number, mean?:
 *   number, deviation?: number, value?: number}} how as `parts` names it
 * @param {number} inputs
 * @param {number} units
 * @param {number} seed
 * @returns {Float32Array} (inputs, units)
 */
export function firstWeights(how, inputs, units, seed) {
  const generator = new Generator(seed);
  const fan = { fan_in: inputs, fan_out: units, fan_avg: (inputs + units) / 2 };
  const mode = /** @type {keyof typeof fan} */ (how.mode ?? "fan_in");
  const variance = (how.scale ?? 1) / Math.max(1, fan[mode]);
  const scaled = how.mode !== undefined;
  const deviation = scaled ? Math.sqrt(variance) : how.deviation ?? 1;
  const limit = Math.sqrt(3 * variance);
  const [low, high] = scaled ? [-limit, limit] : [how.low ?? 0, how.high ?? 0];
  const cut = () => {
    for (;;) {
      const drawn = generator.normal();
      if (Math.abs(drawn) <= 2) return drawn;
    }
  };
  /** @type {Object<string, () => number>} */
  const draw = {
    constant: () => how.value ?? 0,
    uniform: () => generator.uniform(low, high),
    normal: () => (how.mean ?? 0) + deviation * generator.normal(),
    truncated: () => (how.mean ?? 0) + (deviation / (scaled ? TRUNCATED : 1)) * cut(),
  };
  if (!draw[how.distribution]) throw new Error(`There is no distribution "${how.distribution}".`);
  return Float32Array.from({ length: inputs * units }, draw[how.distribution]);
}
