// Makes and updates elements. Updates touch only what has changed, so that the focus stays.

const SVG = 'http://www.w3.org/2000/svg';

/** Makes an element with these attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(...children);
  return element;
}

/** Sets an attribute, or removes it for `undefined` and `false`. */
export function setAttribute(element, name, value) {
  if (value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes a plot with a line above and one below its middle. `draw(inPath, outPath)` sets their paths. */
export function plot(width, height) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const [ground, out, into] = ['ground', 'out', 'in'].map((name) => {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('class', name);
    svg.append(path);
    return path;
  });
  ground.setAttribute('d', `M0 ${height / 2}H${width}`);
  return {
    svg,
    draw(inPath, outPath) {
      setAttribute(into, 'd', inPath);
      setAttribute(out, 'd', outPath);
    },
  };
}

/**
 * Keeps the children of an element in sync with a list of rows, which have keys. `make(row)` makes `{ element, update(row) }`.
 * If the focused element is removed, the element `nextFocus(element)` gets the focus.
 */
export class KeyedList {
  #parent;
  #make;
  #nextFocus;
  #children = new Map();

  constructor(parent, make, nextFocus) {
    this.#parent = parent;
    this.#make = make;
    this.#nextFocus = nextFocus;
  }

  update(rows, keyOf) {
    const focused = document.activeElement;
    const children = new Map();
    for (const row of rows) {
      const key = keyOf(row);
      const child = this.#children.get(key) ?? this.#make(row);
      this.#children.delete(key);
      children.set(key, child);
      child.update(row);
    }
    for (const { element } of this.#children.values()) {
      const hadFocus = element.contains(focused);
      const next = hadFocus && this.#nextFocus(element);
      element.remove();
      if (next) next.focus();
    }
    this.#children = children;
    let at = this.#parent.firstElementChild;
    for (const { element } of children.values()) {
      if (element === at) at = at.nextElementSibling;
      else this.#parent.insertBefore(element, at);
    }
    if (focused?.isConnected && document.activeElement !== focused && this.#parent.contains(focused)) focused.focus();
  }
}
