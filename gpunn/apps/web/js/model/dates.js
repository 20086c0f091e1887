// Reads dates and times of day, as gpunn/layers/preprocessing/dates.py does, and turns them into
// numbers, as layers.DatetimeEncoder does.

/**
 * Days since 1970-01-01, null for a time of day alone; seconds since midnight, null for a date alone.
 * @typedef {{day: number | null, second: number | null}} Moment
 */

const LONGEST = 40; // characters
const DAY = 86_400_000; // milliseconds
const MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september",
  "october", "november", "december"];
const NUMBERS = new Map([
  ...MONTHS.flatMap((name, k) => /** @type {[string, number][]} */ ([[name.slice(0, 3), k + 1], [name, k + 1]])),
  ["sept", 9],
]);
const TIME = /(?:^|[T ]|, ?)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(?: ?([AaPp])\.?[Mm]\.?)? ?(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$/;
const YEAR_FIRST = /^(\d{4})([-/.])(\d{1,2})\2(\d{1,2})$/;
const YEAR_LAST = /^(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})$/;
const DAY_NAMED = /^(\d{1,2})[. -]{1,2}([A-Za-z]{3,9})\.?[, -]{1,2}(\d{4}|\d{2})$/;
const NAMED_DAY = /^([A-Za-z]{3,9})\.? (\d{1,2}),? (\d{4})$/;
const MONTH_FIRST = /^([A-Za-z]{3,9})\.?(?:-(\d{2})|[ -](\d{4}))$/; // of a year
const MONTH_LAST = /^(\d{4})-(\d{2})$/;
const QUARTER = /^(?:(\d{4})[ -]?[Qq]([1-4])|[Qq]([1-4])[ -](\d{4}))$/;

/**
 * @param {string} text
 * @param {boolean} dayFirst whether 03/04/2024 is in April
 * @returns {Moment | null} null for neither a date nor a time
 */
export function moment(text, dayFirst) {
  text = text.trim();
  if (text.length > LONGEST) return null;
  let second = null;
  const found = TIME.exec(text);
  if (found) {
    second = secondOf(found);
    if (second === null) return null;
    text = text.slice(0, found.index).trimEnd();
    if (!text) return { day: null, second };
  }
  const day = dayOf(text, dayFirst);
  return day === null ? null : { day, second };
}

/** @param {RegExpExecArray} found of `TIME` */
function secondOf([, hour, minute, second, half]) {
  let hours = Number(hour);
  if (half) {
    if (hours < 1 || hours > 12) return null;
    hours = (hours % 12) + (half.toLowerCase() === "p" ? 12 : 0);
  }
  const [minutes, seconds] = [Number(minute), Number(second ?? 0)];
  return hours < 24 && minutes < 60 && seconds < 60 ? 3600 * hours + 60 * minutes + seconds : null;
}

/**
 * @param {string} text
 * @param {boolean} dayFirst
 */
function dayOf(text, dayFirst) {
  let found;
  let [year, month, day] = ["", "", ""];
  if ((found = YEAR_FIRST.exec(text))) {
    [, year, , month, day] = found;
  } else if ((found = YEAR_LAST.exec(text))) {
    [, day, , month, year] = found;
    if (found[2] !== "." && !dayFirst) [day, month] = [month, day];
  } else if ((found = DAY_NAMED.exec(text))) {
    [, day, month, year] = found;
  } else if ((found = NAMED_DAY.exec(text))) {
    [, month, day, year] = found;
  } else if ((found = MONTH_FIRST.exec(text))) {
    [month, day, year] = [found[1], "1", found[2] ?? found[3]];
  } else if ((found = MONTH_LAST.exec(text))) {
    [year, month, day] = [found[1], found[2], "1"];
  } else if ((found = QUARTER.exec(text))) {
    [year, month, day] = [found[1] ?? found[4], String(3 * Number(found[2] ?? found[3]) - 2), "1"];
  } else {
    return null;
  }
  const number = /\d/.test(month) ? Number(month) : NUMBERS.get(month.toLowerCase()) ?? 0;
  if (year.length === 2) year = `${Number(year) < 69 ? 20 : 19}${year}`;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), number - 1, Number(day)); // unlike Date.UTC, years below 100 too
  const exists = Number(year) > 0 && date.getUTCMonth() === number - 1 && date.getUTCDate() === Number(day);
  return exists ? date.getTime() / DAY : null;
}

/** @type {{[feature: string]: (date: Date, moment: Moment) => number}} */
const FEATURES = {
  year: (date) => date.getUTCFullYear(),
  month: (date) => date.getUTCMonth() + 1,
  day: (date) => date.getUTCDate(),
  weekday: (date) => (date.getUTCDay() + 6) % 7, // 0 for Monday
  days: (_, { day }) => day ?? 0,
  hour: (_, { second }) => Math.floor((second ?? 0) / 3600),
  minutes: (_, { second }) => (second ?? 0) / 60,
};

/**
 * @param {Moment | null} moment null for a missing one
 * @param {[string, number, number][]} features names, and for a row the smallest number and how many
 *   there are, else 0
 * @returns {number[]}
 */
export function features(moment, features) {
  const date = new Date((moment?.day ?? 0) * DAY);
  return features.flatMap(([name, first, count]) => {
    const value = moment ? FEATURES[name](date, moment) : NaN;
    return count ? Array.from({ length: count }, (_, k) => (value === first + k ? 1 : 0)) : [value];
  });
}

/**
 * What the field of a column takes, and the ends of its range in training, as fields have them.
 * @typedef {"date" | "datetime" | "time"} Form
 * @typedef {{form: Form, low: string, high: string}} DateRange
 */

/** The part of an ISO time that a field has, and the milliseconds from one value to the next. */
const FIELDS = { date: [0, 10, DAY], datetime: [0, 16, 60_000], time: [11, 16, 60_000] };

/**
 * @param {string} value of a field
 * @param {Form} form
 * @returns {number} milliseconds since 1970
 */
const since = (value, form) =>
  Date.parse({ date: value, datetime: `${value}Z`, time: `1970-01-01T${value}Z` }[form]);

/**
 * @param {DateRange} range
 * @param {number} most
 * @returns {string[]} values from end to end, evenly spaced: all of them or as many as allowed
 */
export function between({ form, low, high }, most) {
  const [begin, end, step] = FIELDS[form];
  const [from, to] = [since(low, form), since(high, form)];
  const steps = Math.min(most - 1, Math.max(1, Math.round((to - from) / step)));
  return Array.from({ length: steps + 1 }, (_, i) =>
    new Date(from + Math.round(((to - from) * i) / steps / step) * step).toISOString().slice(begin, end));
}

/**
 * @param {DateRange} range
 * @param {string} value
 * @returns {number} where a value lies in the range: 0 to 1
 */
export function share({ form, low, high }, value) {
  const [from, to] = [since(low, form), since(high, form)];
  return (since(value, form) - from) / (to - from);
}
