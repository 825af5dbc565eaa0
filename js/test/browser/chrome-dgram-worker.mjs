import '../../extension.mjs';
import dgram from 'chrome-dgram';

import { echo, greet, sendNowhere } from './chrome-dgram-client.mjs';

Object.assign(globalThis, {
  echo: (port) => echo(dgram, port),
  greet: (port) => greet(dgram, port),
  sendNowhere: () => sendNowhere(dgram),
});
