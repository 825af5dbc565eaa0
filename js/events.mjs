// Chrome's events.

/** One event, as `chrome.events.Event`. */
export class Event {
  #listeners = [];
  #onChange;

  /** `onChange` is called when the first listener is added and when the last one is removed. */
  constructor(onChange = () => {}) {
    this.#onChange = onChange;
  }

  /** Adds a listener once. Ignores values that are not functions. */
  addListener(listener) {
    if (typeof listener !== 'function' || this.#listeners.includes(listener)) return;
    // A new list, because `dispatch` may be iterating over the old one.
    this.#listeners = [...this.#listeners, listener];
    if (this.#listeners.length === 1) this.#onChange();
  }

  removeListener(listener) {
    if (!this.#listeners.includes(listener)) return;
    this.#listeners = this.#listeners.filter((known) => known !== listener);
    if (this.#listeners.length === 0) this.#onChange();
  }

  hasListener(listener) {
    if (typeof listener !== 'function') {
      throw new TypeError('Error processing argument at index 0, conversion failure from ');
    }
    return this.#listeners.includes(listener);
  }

  hasListeners() {
    return this.#listeners.length > 0;
  }

  /**
   * Calls all listeners, even if some throw. Returns whether one continues asynchronously.
   */
  dispatch(info) {
    let isAsync = false;
    for (const listener of this.#listeners) isAsync = callGuarded(listener, info) || isAsync;
    return isAsync;
  }
}

/**
 * Calls a function of the app. Returns whether it returns a promise, so that it continues asynchronously. Reports what it
 * throws as uncaught.
 */
export function callGuarded(callback, ...values) {
  try {
    return typeof callback(...values)?.then === 'function';
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else setTimeout(() => { throw error; });
    return false;
  }
}
