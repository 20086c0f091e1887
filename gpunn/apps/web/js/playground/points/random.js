// Pseudorandom numbers, reproducible by seed: for points, not for networks.

export class Random {
  /** @param {number} seed a whole number */
  constructor(seed) {
    // SFC32 (Doty-Humphrey, PractRand); the first numbers are discarded so that similar seeds diverge.
    this.a = seed >>> 0;
    this.b = 0x9e3779b9;
    this.c = 0x243f6a88;
    this.counter = 1;
    for (let i = 0; i < 15; i++) this.bits();
  }

  /** @returns {number} a whole number below 2^32 */
  bits() {
    const t = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + t | 0;
    return t >>> 0;
  }

  /**
   * @param {number} [low]
   * @param {number} [high]
   * @returns {number} from low to below high
   */
  uniform(low = 0, high = 1) {
    return low + (high - low) * (this.bits() / 2 ** 32);
  }

  /** @returns {number} normal, mean 0, deviation 1 (Box and Muller, 1958) */
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /**
   * @param {number} count
   * @returns {Int32Array} 0 to count - 1 in a random order
   */
  order(count) {
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(this.uniform(0, i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
