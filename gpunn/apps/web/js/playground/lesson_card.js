// The menu of lessons, and the text of the one that is shown.
import { fill, make } from "./dom.js";
import { LESSONS } from "./lessons.js";
import { lessonAddress } from "./settings.js";

/**
 * @param {HTMLElement} select
 * @param {string} name of the lesson that is shown, or empty
 */
export function lessonMenu(select, name) {
  const options = /** @type {[string, string][]} */ ([["", "no lesson"],
    ...Object.entries(LESSONS).map(([value, { title }]) => [value, title])]);
  fill(select, options.map(([value, text]) => make("option", { value, selected: value === name }, text)));
}

/**
 * @param {HTMLElement} place
 * @param {string} name of the lesson, or empty
 * @param {boolean} cured
 * @param {(address: string) => void} open
 */
export function lessonCard(place, name, cured, open) {
  place.hidden = name === "";
  if (!name) return fill(place);
  const lesson = LESSONS[name];
  const button = make("button", { type: "button", class: cured ? "" : "main", onclick: () => {
    open(lessonAddress(name, !cured));
    place.querySelector("button")?.focus();
  } }, cured ? "Show the symptom again" : lesson.button);
  const part = (/** @type {string} */ title, /** @type {string} */ text) =>
    make("div", {}, make("dt", {}, title), make("dd", {}, text));
  fill(place, make("header", {}, make("h2", { id: "title-lesson" }, lesson.title), button), make("dl", {},
    part(cured ? "Symptom, before the cure" : "Symptom", lesson.symptom),
    part("Diagnosis", lesson.diagnosis),
    part(cured ? "Cure, applied now" : "Cure", lesson.cure)));
}

/** @param {string} name */
export function unknownLesson(name) {
  return `There is no lesson “${name.slice(0, 60)}”. The lessons are ${Object.keys(LESSONS).join(", ")}.`;
}
