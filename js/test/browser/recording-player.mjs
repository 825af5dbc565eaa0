// Replays recordings inside a browser. The peers are in the test outside, which gets requests to them by `next()` and answers
// them by `answer()`.

import { play } from '../play.mjs';

const PEERS = ['connect', 'listen', 'send', 'endOne', 'reset', 'state', 'bindUdp', 'sendDatagram', 'datagrams'];

class RecordingPlayer {
  #requests = [];
  #waiting;
  #answers = [];

  /** Replays a recording on the result of `api()`. The last request has the results. */
  async play(recording, isChromium, api) {
    const peers = Object.fromEntries(PEERS.map((name) => [name, (...args) => this.#request({ name, args: args.map(plain) })]));
    let results;
    try {
      const { sockets, runtime, end } = await api();
      results = await play(recording, { sockets, runtime }, peers, isChromium);
      await end();
    } catch (error) {
      results = [{ failed: `${error}` }];
    }
    this.#post({ results });
  }

  next() {
    if (this.#requests.length > 0) return this.#requests.shift();
    return new Promise((resolve) => { this.#waiting = resolve; });
  }

  answer(value) {
    this.#answers.shift()(value);
  }

  #request(request) {
    this.#post(request);
    return new Promise((resolve) => this.#answers.push(resolve));
  }

  #post(request) {
    if (!this.#waiting) return this.#requests.push(request);
    this.#waiting(request);
    this.#waiting = undefined;
  }
}

const plain = (value) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value);

export const player = new RecordingPlayer();
