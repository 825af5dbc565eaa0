// Chrome's events: who is told.

/** One event, as `chrome.events.Event`. */
export class Event {
  #listeners = [];
  #changed;

  /** `changed` is called when the first listener comes and when the last goes. */
  constructor(changed = () => {}) {
    this.#changed = changed;
  }

  /** Adding a listener twice is adding it once; what is no function is not added. */
  addListener(listener) {
    if (typeof listener !== 'function' || this.#listeners.includes(listener)) return;
    // A new list each time: the one that is being told stays as it is.
    this.#listeners = [...this.#listeners, listener];
    if (this.#listeners.length === 1) this.#changed();
  }

  removeListener(listener) {
    if (!this.#listeners.includes(listener)) return;
    this.#listeners = this.#listeners.filter((known) => known !== listener);
    if (this.#listeners.length === 0) this.#changed();
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
   * Tells everybody; who throws keeps nobody from hearing it. Says whether somebody goes on with it
   * later.
   */
  dispatch(info) {
    let goesOn = false;
    for (const listener of this.#listeners) goesOn = guarded(listener, info) || goesOn;
    return goesOn;
  }
}

/**
 * Calls what is the app's own, and says whether that is a promise: it goes on later. What it throws is
 * told as if nobody had caught it.
 */
export function guarded(callback, ...values) {
  try {
    return typeof callback(...values)?.then === 'function';
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else setTimeout(() => { throw error; });
    return false;
  }
}
