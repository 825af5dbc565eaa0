// Elements: made, changed only where something is new, and kept in order without losing the focus.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with these attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children);
  return element;
}

/** Sets an attribute, or takes it away, unless it is so. */
export function set(element, name, value) {
  if (value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Says this, unless it is said. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A plot of two lines, to both sides of its middle; `draw(in, out)` takes their paths. */
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
      set(into, 'd', inPath);
      set(out, 'd', outPath);
    },
  };
}

/**
 * The children of an element for these rows, each with a key: what is there stays, what has gone goes. `make(row)` gives
 * `{ element, update(row) }`. Whoever had the focus keeps it, or what `next(element)` says gets it.
 */
export class Keyed {
  #parent;
  #make;
  #next;
  #known = new Map();

  constructor(parent, make, next) {
    this.#parent = parent;
    this.#make = make;
    this.#next = next;
  }

  update(rows, keyOf) {
    const focused = document.activeElement;
    const known = new Map();
    for (const row of rows) {
      const key = keyOf(row);
      const one = this.#known.get(key) ?? this.#make(row);
      this.#known.delete(key);
      known.set(key, one);
      one.update(row);
    }
    for (const { element } of this.#known.values()) {
      const hadFocus = element.contains(focused);
      const next = hadFocus && this.#next(element);
      element.remove();
      if (next) next.focus();
    }
    this.#known = known;
    let at = this.#parent.firstElementChild;
    for (const { element } of known.values()) {
      if (element === at) at = at.nextElementSibling;
      else this.#parent.insertBefore(element, at);
    }
    if (focused?.isConnected && document.activeElement !== focused && this.#parent.contains(focused)) focused.focus();
  }
}
