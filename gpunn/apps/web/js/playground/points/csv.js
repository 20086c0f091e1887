// Reads tables from text: detects the separator and the kinds of columns, and makes points from them.
import { counted } from "../dom.js";

export const MOST_TEXT = 4_000_000; // characters
export const MOST_ROWS = 2000; // that are used
export const MOST_CLASSES = 6;
const MOST_COLUMNS = 500;
const MOST_CATEGORIES = 10; // columns of whole numbers with at most this many values are classes
const NUMBERS = 0.9; // fraction of numeric cells that makes a column numeric

/**
 * @typedef {Object} Table
 * @property {string[]} names of the columns
 * @property {string[][]} rows
 * @property {boolean} comma whether numbers may have a decimal comma
 * @property {number[]} numeric numeric columns, except for missing values and a few strings
 */

/**
 * @param {string} text
 * @param {string[]} missing strings that mark a missing value, in lower case
 * @returns {Table}
 */
export function readTable(text, missing) {
  if (text.length > MOST_TEXT) {
    throw new Error(`The table has ${text.length.toLocaleString("en")} characters; the limit `
      + `is ${MOST_TEXT.toLocaleString("en")}. Use fewer rows.`);
  }
  if (text.includes("\0")) throw new Error("This is not text, so it is not a CSV file.");
  text = text.replace(/^\ufeff/, "");
  const first = text.slice(0, text.search(/[\r\n]|$/));
  const separators = ["\t", ";", ",", "|"];
  const counts = separators.map((s) => first.split(s).length);
  const separator = separators[counts.indexOf(Math.max(...counts))];
  const lines = cells(text, separator).filter((row) => row.some((cell) => cell !== ""));
  if (lines.length < 2) throw new Error("The table has fewer than two non-empty lines.");
  const width = lines[0].length;
  if (width < 2) throw new Error("The table has a single column; it needs inputs and a target.");
  if (width > MOST_COLUMNS) throw new Error(`The table has ${width} columns; the limit is ${MOST_COLUMNS}.`);
  const odd = lines.findIndex((row) => row.length !== width);
  if (odd >= 0) {
    throw new Error(`Line ${odd + 1} of the table has ${lines[odd].length} cells, but the first has ${width}.`);
  }
  const comma = separator !== ",";
  const headless = lines[0].every((cell) => asNumber(cell, comma) !== null);
  const names = headless ? lines[0].map((_, i) => `column ${i + 1}`)
    : lines[0].map((name, i) => name || `column ${i + 1}`);
  const gaps = new Set(missing);
  const rows = (headless ? lines : lines.slice(1))
    .map((row) => row.map((cell) => (gaps.has(cell.toLowerCase()) ? "" : cell)));
  if (rows.length < 2) throw new Error("The table has a single row below its header; at least two are needed.");
  const numeric = names.map((_, i) => i).filter((i) => {
    const given = rows.filter((row) => row[i] !== "");
    const numbers = given.filter((row) => asNumber(row[i], comma) !== null).length;
    return numbers > 0 && numbers >= NUMBERS * given.length;
  });
  return { names, rows, comma, numeric };
}

/**
 * @param {string} text
 * @param {string} separator
 * @returns {string[][]} trimmed; quotes around cells are handled as in CSV
 */
function cells(text, separator) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (c === '"' && cell.trim() === "") {
      cell = "";
      quoted = true;
    } else if (c === separator || c === "\n" || c === "\r") {
      row.push(cell.trim());
      cell = "";
      if (c !== separator) {
        rows.push(row);
        row = [];
      }
    } else cell += c;
  }
  if (quoted) throw new Error('The table has an unclosed quotation mark (").');
  row.push(cell.trim());
  rows.push(row);
  return rows;
}

/**
 * @param {string} cell
 * @param {boolean} comma
 * @returns {number | null}
 */
function asNumber(cell, comma) {
  const plain = comma && /^[+-]?\d{1,3}(\.\d{3})+,\d+$/.test(cell) ? cell.replaceAll(".", "") : cell;
  const text = comma && /^[^.]*,[^.,]*$/.test(plain) ? plain.replace(",", ".") : plain;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

/**
 * Choose the initial columns: the target is the last column of repeating strings, else the last
 * numeric one; the inputs are the first two other numeric ones.
 * @param {Table} table
 * @returns {{inputs: number[], answer: number}}
 */
export function suggested(table) {
  const words = table.names.map((_, i) => i).filter((i) => {
    const given = table.rows.map((row) => row[i]).filter((cell) => cell !== "");
    const values = new Set(given).size;
    return !table.numeric.includes(i) && values > 0 && (values <= MOST_CLASSES || 2 * values <= given.length);
  });
  const answer = [...table.numeric.slice(1), ...words].pop() ?? table.names.length - 1;
  const inputs = table.numeric.filter((i) => i !== answer).slice(0, 2);
  if (!inputs.length) throw new Error("The table has no numeric column to learn from.");
  return { inputs, answer };
}

/**
 * Make points from a table, with inputs and numeric targets scaled to mean 0 and deviation 1.
 * @param {Table} table
 * @param {{inputs: number[], answer: number}} columns
 * @returns {{task: "classes" | "numbers", points: number[][], classes: string[], names: string[],
 *   scales: {mean: number, deviation: number}[], notes: string[]}} notes report what was skipped
 */
export function tablePoints(table, { inputs, answer }) {
  /** @type {string[]} */
  const notes = [];
  const wanted = new Set(inputs);
  if (wanted.size !== inputs.length || wanted.has(answer)) {
    throw new Error("The axes and the target must be different columns.");
  }
  let rows = table.rows.filter((row) => [...inputs, answer].every((i) => row[i] !== ""));
  if (rows.length < table.rows.length) {
    notes.push(`${counted(table.rows.length - rows.length, "row")} with missing values skipped.`);
  }
  for (const i of [...inputs, answer].filter((column) => table.numeric.includes(column))) {
    const odd = rows.filter((row) => asNumber(row[i], table.comma) === null);
    if (odd.length) {
      notes.push(`${counted(odd.length, "row")} skipped where “${table.names[i].slice(0, 40)}” is not a number, `
        + `such as “${odd[0][i].slice(0, 40)}”.`);
      rows = rows.filter((row) => asNumber(row[i], table.comma) !== null);
    }
  }
  const values = new Set(rows.map((row) => row[answer]));
  const numbers = table.numeric.includes(answer);
  const whole = numbers && [...values].every((cell) => Number.isInteger(asNumber(cell, table.comma)));
  const task = !numbers || (whole && values.size <= MOST_CATEGORIES) ? "classes" : "numbers";
  const counts = new Map();
  for (const row of rows) counts.set(row[answer], (counts.get(row[answer]) ?? 0) + 1);
  let classes = task === "classes" ? [...counts.keys()] : [];
  if (task === "classes") {
    if (classes.length < 2) throw new Error(`All rows have the same target, “${classes[0] ?? ""}”.`);
    classes.sort((a, b) => counts.get(b) - counts.get(a));
    if (classes.length > MOST_CLASSES) {
      notes.push(`The ${MOST_CLASSES} largest of ${classes.length} classes were used.`);
      classes = classes.slice(0, MOST_CLASSES);
      rows = rows.filter((row) => classes.includes(row[answer]));
    }
    classes.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  }
  if (rows.length > MOST_ROWS) {
    notes.push(`${MOST_ROWS.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows were used, evenly spaced.`);
    rows = Array.from({ length: MOST_ROWS }, (_, i) => rows[Math.floor((i * rows.length) / MOST_ROWS)]);
  }
  if (rows.length < 2) throw new Error("Fewer than two rows are complete.");
  const scaled = [...inputs, ...(task === "numbers" ? [answer] : [])];
  const columns = scaled.map((i) => rows.map((row) => /** @type {number} */ (asNumber(row[i], table.comma))));
  const scales = columns.map(scaleOf);
  const points = rows.map((row, r) => [
    ...columns.map((column, i) => (column[r] - scales[i].mean) / scales[i].deviation),
    ...(task === "classes" ? [classes.indexOf(row[answer])] : []),
  ]);
  return { task, points, classes, names: [...inputs, answer].map((i) => table.names[i]), scales, notes };
}

/**
 * @param {number[]} values
 * @returns {{mean: number, deviation: number}} deviation 1 if all values are equal
 */
function scaleOf(values) {
  const mean = values.reduce((sum, v) => sum + v / values.length, 0);
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2 / values.length, 0);
  return { mean, deviation: Math.sqrt(variance) || 1 };
}
