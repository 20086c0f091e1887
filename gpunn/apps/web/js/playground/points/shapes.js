// Datasets given by formulas: those of gpunn.datasets.toy, some more, and curves and surfaces.
import { Random } from "./random.js";

/**
 * @typedef {Object} Shape
 * @property {string} text displayed name
 * @property {"classes" | "numbers"} task
 * @property {1 | 2} inputs
 * @property {number} [most] maximum number of classes; 2 by default
 * @property {number} [rows] fixed number of points
 * @property {number} [noise] default noise; without it there is none
 * @property {(random: Random, row: number, classes: number, noise: number) => number[]} point
 *   x, perhaps a second x, and the class or number
 */

const TEN = [
  [0.1, 0.1, 0], [0.3, 0.4, 0], [0.1, 0.5, 0], [0.6, 0.9, 0], [0.4, 0.2, 0],
  [0.6, 0.3, 1], [0.5, 0.6, 1], [0.9, 0.2, 1], [0.4, 0.4, 1], [0.7, 0.6, 1], [0.3, 0.7, 1],
];

/**
 * @param {Random} random
 * @param {number} noise
 * @param {number} x
 * @param {number} y
 * @param {number} k
 */
const near = (random, noise, x, y, k) => [x + noise * random.normal(), y + noise * random.normal(), k];

/**
 * @param {(x: number) => number} f
 * @returns {Shape["point"]}
 */
const curve = (f) => (random, _row, _classes, noise) => {
  const x = random.uniform(-1, 1);
  return [x, f(x) + noise * random.normal()];
};

/**
 * @param {(x: number, y: number) => number} f
 * @returns {Shape["point"]}
 */
const surface = (f) => (random, _row, _classes, noise) => {
  const x = random.uniform(-1, 1);
  const y = random.uniform(-1, 1);
  return [x, y, f(x, y) + noise * random.normal()];
};

/** @type {{[name: string]: Shape}} */
export const SHAPES = {
  moons: {
    text: "Two moons", task: "classes", inputs: 2, noise: 0.1,
    point: (random, row, _classes, noise) => {
      const k = row % 2;
      const angle = random.uniform(0, Math.PI) + Math.PI * k;
      return near(random, noise, Math.cos(angle) + k, Math.sin(angle) + 0.5 * k, k);
    },
  },
  rings: {
    text: "Rings", task: "classes", inputs: 2, most: 6, noise: 0.08,
    point: (random, row, classes, noise) => {
      const k = row % classes;
      const angle = random.uniform(0, 2 * Math.PI);
      const radius = (k + 1) / classes;
      return near(random, noise, radius * Math.cos(angle), radius * Math.sin(angle), k);
    },
  },
  spirals: {
    text: "Spirals", task: "classes", inputs: 2, most: 6, noise: 0.03,
    point: (random, row, classes, noise) => {
      const k = row % classes;
      const radius = Math.sqrt(random.uniform(0.01, 1));
      const angle = 2 * Math.PI * (1.25 * radius + k / classes);
      return near(random, noise, radius * Math.cos(angle), radius * Math.sin(angle), k);
    },
  },
  blobs: {
    text: "Blobs", task: "classes", inputs: 2, most: 6, noise: 0.2,
    point: (random, row, classes, noise) => {
      const k = row % classes;
      const angle = (2 * Math.PI * k) / classes + 0.6;
      return near(random, noise, 0.7 * Math.cos(angle), 0.7 * Math.sin(angle), k);
    },
  },
  xor: {
    text: "XOR", task: "classes", inputs: 2, noise: 0.15,
    point: (random, row, _classes, noise) => {
      const [first, second] = [(row >> 1) & 1, row & 1];
      return near(random, noise, first, second, first ^ second);
    },
  },
  split: {
    text: "One class between two clusters of another", task: "classes", inputs: 2, noise: 0.1,
    point: (random, row, _classes, noise) => {
      const k = row % 2;
      const centre = k ? 0 : random.uniform() < 0.5 ? -1 : 1;
      const along = noise * random.normal();
      const across = 3 * noise * random.normal();
      return [centre + along + across, centre + along - across, k];
    },
  },
  separable: {
    text: "Linearly separable", task: "classes", inputs: 2, noise: 0.1,
    point: (random, row, _classes, noise) => {
      const k = row % 2;
      for (;;) {
        const [x, y] = [random.uniform(-1, 1), random.uniform(-1, 1)];
        const side = 0.8 * x + 0.6 * y - 0.1;
        if ((k ? side : -side) >= 0.1) return near(random, noise, x, y, k);
      }
    },
  },
  chessboard: {
    text: "Checkerboard", task: "classes", inputs: 2, noise: 0.02,
    point: (random, _row, _classes, noise) => {
      const [x, y] = [random.uniform(-1, 1), random.uniform(-1, 1)];
      return near(random, noise, x, y, (Math.floor(2 * x + 2) + Math.floor(2 * y + 2)) & 1);
    },
  },
  ten_points: {
    text: "The lectures' ten points", task: "classes", inputs: 2, rows: 10,
    point: (_random, row) => TEN[row],
  },
  eleven_points: {
    text: "The lectures' ten points and an eleventh", task: "classes", inputs: 2, rows: 11,
    point: (_random, row) => TEN[row],
  },
  sine: {
    text: "Sine (one input)", task: "numbers", inputs: 1, noise: 0.1,
    point: curve((x) => Math.sin(2 * Math.PI * x)),
  },
  parabola: {
    text: "Parabola (one input)", task: "numbers", inputs: 1, noise: 0.05,
    point: curve((x) => 2 * x * x - 1),
  },
  step: {
    text: "Step (one input)", task: "numbers", inputs: 1, noise: 0.05,
    point: curve((x) => (x > 0 ? 1 : -1)),
  },
  slope: {
    text: "Slope (two inputs)", task: "numbers", inputs: 2, noise: 0.05,
    point: surface((x, y) => 0.8 * x + 0.5 * y),
  },
  hills: {
    text: "Hills (two inputs)", task: "numbers", inputs: 2, noise: 0.05,
    point: surface((x, y) => 1.5 * Math.exp(-6 * ((x - 0.4) ** 2 + (y - 0.4) ** 2))
      - 1.5 * Math.exp(-6 * ((x + 0.4) ** 2 + (y + 0.4) ** 2))),
  },
  saddle: {
    text: "Saddle (two inputs)", task: "numbers", inputs: 2, noise: 0.05,
    point: surface((x, y) => 2 * x * y),
  },
};

/**
 * The points of a shape, in a random order.
 * @param {string} name
 * @param {{rows: number, noise: number, classes: number, seed: number}} wanted
 * @returns {number[][]}
 */
export function points(name, { rows, noise, classes, seed }) {
  const shape = SHAPES[name];
  const random = new Random(seed);
  const count = shape.rows ?? rows;
  const found = Array.from({ length: count }, (_, i) => shape.point(random, i, classes, noise));
  return shape.rows ? found : Array.from(random.order(count), (i) => found[i]);
}
