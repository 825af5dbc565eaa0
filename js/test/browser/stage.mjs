// Plays recordings inside a browser. It has no peers there: the test, outside, takes what is asked of them (`next`) and
// answers it.

import { play } from '../play.mjs';

const PEERS = ['connect', 'listen', 'send', 'endOne', 'reset', 'state'];

class Stage {
  #asked = [];
  #taker;
  #answers = [];

  /** Plays it on what `api()` gives; its end is told as the last thing that is asked. */
  async begin(recording, isChromium, api) {
    const peers = Object.fromEntries(PEERS.map((name) => [name, (...args) => this.#ask({ name, args: args.map(plain) })]));
    let came;
    try {
      const { sockets, runtime, end } = await api();
      came = await play(recording, { sockets, runtime }, peers, isChromium);
      await end();
    } catch (error) {
      came = [{ failed: `${error}` }];
    }
    this.#tell({ came });
  }

  next() {
    if (this.#asked.length > 0) return this.#asked.shift();
    return new Promise((resolve) => { this.#taker = resolve; });
  }

  answer(value) {
    this.#answers.shift()(value);
  }

  #ask(what) {
    this.#tell(what);
    return new Promise((resolve) => this.#answers.push(resolve));
  }

  #tell(what) {
    if (!this.#taker) return this.#asked.push(what);
    this.#taker(what);
    this.#taker = undefined;
  }
}

const plain = (value) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value);

export const stage = new Stage();
