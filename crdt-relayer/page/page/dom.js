// Makes elements. Whatever is not an element becomes text: nothing here, or anywhere in the page,
// reads a string as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Appends elements and texts; `null` and `undefined` are nothing. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * An element.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] a function listens to the event of its name
 * @param {...unknown} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of a picture. @returns {SVGElement} */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Puts other content into an element. Who had the focus on a link has it on the same link again. */
export function replace(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  element.replaceChildren();
  append(element, children);
  if (focused === null) return;
  const links = [...element.querySelectorAll("a")];
  links.find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

/** Changes a text only if it is another one, so that a screen reader is not told of it again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
