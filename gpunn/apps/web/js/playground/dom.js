// Elements of the page. Strings are always inserted as text, never parsed as HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Create an element with attributes, listeners (`onclick`) and children.
 * @param {string} tag
 * @param {{[name: string]: unknown}} [attributes] true sets an empty attribute, false and null none
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  fill(element, ...children);
  return element;
}

/**
 * @param {string} tag
 * @param {{[name: string]: unknown}} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any} an SVG element
 */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  fill(element, ...children);
  return element;
}

/**
 * @param {Element} element
 * @param {{[name: string]: unknown}} attributes
 */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (value === false || value === null || value === undefined) {
      element.removeAttribute(name);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/**
 * Replace the content of an element.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  const kept = children.flat().filter((c) => c !== null && c !== undefined && c !== false);
  element.replaceChildren(...kept.map((c) => (c instanceof Node ? c : String(c))));
}

/**
 * @param {string} id
 * @returns {any} the element with this id
 */
export function find(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element ${id}.`);
  return element;
}

let made = 0;

/**
 * Create a label for a control.
 * @param {string} text
 * @param {HTMLElement} control
 * @returns {HTMLElement}
 */
export function labelled(text, control) {
  control.id ||= `control-${++made}`;
  return make("div", { class: "field" }, make("label", { for: control.id }, text), control);
}

/**
 * @param {[value: string, text: string][]} options
 * @param {string} value
 * @param {(value: string) => void} changed
 * @returns {HTMLSelectElement}
 */
export function choice(options, value, changed) {
  const select = make("select", { onchange: () => changed(select.value) });
  for (const [name, text] of options) {
    select.append(make("option", { value: name, selected: name === value }, text));
  }
  return select;
}

/**
 * A number field: values are clipped to the bounds, and invalid input is reverted.
 * @param {number} value
 * @param {{least: number, most: number, whole?: boolean, step?: number | "any"}} bounds
 * @param {(value: number) => void} changed
 * @returns {HTMLInputElement}
 */
export function number(value, { least, most, whole = false, step = whole ? 1 : "any" }, changed) {
  let now = value;
  const input = make("input", {
    type: "number", inputmode: whole ? "numeric" : "decimal", min: least, max: most, step, value,
    onchange: () => {
      let wanted = input.value.trim() === "" ? NaN : Number(input.value);
      if (whole) wanted = Math.round(wanted);
      if (Number.isFinite(wanted)) {
        const kept = Math.min(most, Math.max(least, wanted));
        if (kept !== now) changed((now = kept));
      }
      input.value = String(now);
    },
  });
  return input;
}

/**
 * @param {boolean} value
 * @param {(value: boolean) => void} changed
 * @returns {HTMLInputElement}
 */
export function tick(value, changed) {
  const input = make("input", {
    type: "checkbox", checked: value, onchange: () => changed(input.checked),
  });
  return input;
}

/**
 * @param {number} count
 * @param {string} what
 * @returns {string} such as "1 row" or "2,000 rows"
 */
export function counted(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

/**
 * @param {number} value
 * @param {number} [digits] significant digits
 * @returns {string} a readable number, such as 0.0123, 1234 or 1.2e-7
 */
export function written(value, digits = 3) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(digits - 1).replaceAll("-", "−");
  const places = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(places, 6)).replace("-", "−");
}
